"""A release comes to a device by the cheapest way, whole or not at all, whatever its source gives."""

from pathlib import Path

import pytest

from tests.update.offered import Offered, put_offered, two_releases
from tianti.errors import StoreError
from tianti.package import read_release, verify_package
from tianti.spec import Tier
from tianti.update.home import release_folder
from tianti.update.install import collect, download_bytes, install, installed
from tianti.update.selftest import self_test

DEVICE = Tier.DEVICE


@pytest.fixture(scope="module", params=[False, True], ids=["raw", "packed"])
def offered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Offered, Offered]:
    return two_releases(tmp_path_factory.mktemp("offered"), packed=request.param)


def check(folder: Path, offered: Offered) -> None:
    """The release is there: every file that a device needs, and no other."""
    release = read_release(folder)
    verify_package(release.package(DEVICE))
    assert release.id == offered.shipment.release
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    needed = {name for name, file in offered.shipment.files.items() if file.tier in (None, DEVICE)}
    assert files == needed | {"shipment.json"}


def test_the_first_release_is_fetched_whole(tmp_path: Path, offered: tuple[Offered, Offered]) -> None:
    _, new = offered
    source, told = new.source(), []
    folder = install(tmp_path, new.shipment, source, tier=DEVICE, have=(), progress=lambda *seen: told.append(seen))
    check(folder, new)
    assert installed(tmp_path, new.shipment.release) == new.shipment
    size = download_bytes(new.shipment, DEVICE, ())
    assert source.given == size and told[-1] == (size, size)
    self_test(folder, DEVICE)


def test_the_next_one_is_made_of_patches_and_of_what_is_there(tmp_path: Path, offered: tuple[Offered, Offered]) -> None:
    old, new = offered
    before, source = put_offered(tmp_path, old), new.source()
    check(install(tmp_path, new.shipment, source, tier=DEVICE, have=[before]), new)
    assert len(source.asked) == 5 and all(path.startswith("blobs/patch/") for path, _ in source.asked)
    assert source.given == download_bytes(new.shipment, DEVICE, [before])
    assert source.given < download_bytes(new.shipment, DEVICE, ()) / 2  # the control: without the old one
    check(before, old)


def test_what_is_installed_is_not_fetched_again_and_a_damaged_file_is(
    tmp_path: Path, offered: tuple[Offered, Offered]
) -> None:
    _, new = offered
    folder, source = put_offered(tmp_path, new), new.source()
    install(tmp_path, new.shipment, source, tier=DEVICE, have=())
    assert source.asked == []
    (folder / "release.json").write_bytes(b"{}")
    install(tmp_path, new.shipment, source, tier=DEVICE, have=())
    check(folder, new)
    assert source.asked == [(new.blob("release.json"), 0)]


def test_a_release_that_lacks_a_file_is_not_installed(tmp_path: Path, offered: tuple[Offered, Offered]) -> None:
    _, new = offered
    source = new.source()
    del source.files[new.blob("packages/device/tokenizer.json")]
    with pytest.raises(Exception, match="blobs/"):
        install(tmp_path, new.shipment, source, tier=DEVICE, have=())
    assert installed(tmp_path, new.shipment.release) is None
    assert release_folder(tmp_path, new.shipment.release).is_dir()  # the control: it had begun


def test_what_is_not_kept_goes(tmp_path: Path, offered: tuple[Offered, Offered]) -> None:
    old, new = offered
    before, after = put_offered(tmp_path, old), put_offered(tmp_path, new)
    collect(tmp_path, {new.shipment.release})
    assert not before.exists() and installed(tmp_path, old.shipment.release) is None
    check(after, new)
    collect(tmp_path, {new.shipment.release})


def test_space_is_checked_before(
    tmp_path: Path, offered: tuple[Offered, Offered], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, new = offered
    source, free = new.source(), [1 << 20]
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free[0]}))
    with pytest.raises(StoreError, match=r"expected \d+ free bytes, got 1048576"):
        install(tmp_path, new.shipment, source, tier=DEVICE, have=())
    assert source.asked == []
    free[0] += 1 << 13
    check(install(tmp_path, new.shipment, source, tier=DEVICE, have=()), new)
