"""A release is tried in a process of its own: what is wrong with it is said, and takes nothing with it."""

from pathlib import Path

import pytest

from tests.tiny_release import make_release
from tianti.errors import IntegrityError, RunError
from tianti.spec import Tier
from tianti.update.selftest import self_test


def test_a_good_release_passes_for_each_tier(tmp_path: Path) -> None:
    release = make_release(tmp_path)
    self_test(release.folder, Tier.DEVICE)
    self_test(release.folder, Tier.CLOUD)


def test_a_model_that_gives_no_numbers_fails(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="expected numbers"):
        self_test(make_release(tmp_path, broken=Tier.DEVICE).folder, Tier.DEVICE)


def test_a_file_that_was_damaged_since_fails(tmp_path: Path) -> None:
    release = make_release(tmp_path)
    model = release.package(Tier.DEVICE).model_path
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(IntegrityError, match="expected sha256"):
        self_test(release.folder, Tier.DEVICE)


@pytest.mark.parametrize(
    ("limits", "told"), [({"timeout_s": 0.05}, "within 0.05 s"), ({"memory_bytes": 30 << 20}, "failed")]
)
def test_it_has_no_more_time_and_memory_than_it_is_given(tmp_path: Path, limits: dict[str, float], told: str) -> None:
    with pytest.raises(RunError, match=told):
        self_test(make_release(tmp_path).folder, Tier.DEVICE, **limits)


def test_a_tier_that_is_not_there_fails(tmp_path: Path) -> None:
    release = make_release(tmp_path)
    for path in (release.folder / "packages" / "edge").glob("*.json"):
        path.unlink()
    with pytest.raises(RunError, match="manifest"):
        self_test(release.folder, Tier.EDGE)
