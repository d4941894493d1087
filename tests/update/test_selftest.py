"""A release is tried in a process of its own: what is wrong with it is said, and takes nothing with it."""

from pathlib import Path

import msgspec
import pytest

from tests.tiny_release import make_release
from tianti.errors import IntegrityError, PackageError, RunError, UpdateError
from tianti.package import Golden, bind, write_package, write_release
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
    with pytest.raises(PackageError, match="manifest"):
        self_test(release.folder, Tier.EDGE)


def test_that_no_process_can_be_started_is_not_the_releases_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_release(tmp_path).folder
    monkeypatch.setattr("sys.executable", str(tmp_path / "nothing"))
    with pytest.raises(UpdateError, match="cannot be started"):
        self_test(folder, Tier.DEVICE)
    monkeypatch.setattr("sys.frozen", True, raising=False)
    with pytest.raises(UpdateError, match=r"set sys\.executable"):
        self_test(folder, Tier.DEVICE)


def test_other_outputs_than_those_it_was_published_with_fail(tmp_path: Path) -> None:
    folder = _with_goldens(tmp_path, Golden(text="lamp", label="lights", top={"lights": 8.2}))
    with pytest.raises(IntegrityError, match="golden 1"):
        self_test(folder, Tier.DEVICE)


def test_control_an_output_within_the_tolerance_passes(tmp_path: Path) -> None:
    self_test(_with_goldens(tmp_path, Golden(text="lamp", label="lights", top={"lights": 8.04})), Tier.DEVICE)


def _with_goldens(tmp_path: Path, *goldens: Golden) -> Path:
    """A release, right in every hash, whose device package says this of itself."""
    made = make_release(tmp_path / "first")
    package, record = made.package(Tier.DEVICE), made.record
    again = write_package(
        tmp_path / "package",
        name="tiny-device",
        version="1",
        labels=package.manifest.labels,
        max_length=8,
        model=package.model_path,
        tokenizer_json=package.tokenizer_path.read_text(encoding="utf-8"),
        goldens=list(goldens),
        card="A test's model.",
        architecture="Bag",
        lineage={},
    )
    ids = {**record.packages, Tier.DEVICE: again.id}
    certificate = msgspec.structs.replace(record.certificate, bound=bind(ids, record.heads))
    folders = {tier: made.folder / "packages" / tier for tier in ids} | {Tier.DEVICE: again.folder}
    changed = msgspec.structs.replace(record, packages=ids, certificate=certificate)
    return write_release(tmp_path / "second", changed, folders).folder
