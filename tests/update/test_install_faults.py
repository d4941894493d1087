"""Liars, cut lines and bombs: what is installed is what was signed, and what is not is gone."""

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.update.crashes import Recorder
from tests.update.offered import Blobs, Offered, put_offered, two_releases
from tests.update.test_install import check
from tests.update.web import ok, serving
from tianti.errors import IntegrityError, UpdateError
from tianti.package import Shipment
from tianti.package.packed import FRAME_BYTES, pack, unpack
from tianti.package.shipment import Compressed, ShippedPatch
from tianti.spec import Tier
from tianti.store import sha256_bytes
from tianti.update.home import release_folder
from tianti.update.install import download_bytes, install, installed
from tianti.update.source import HttpSource

DEVICE = Tier.DEVICE
MODEL = "packages/device/onnx/model.onnx"


@pytest.fixture(scope="module", params=[False, True], ids=["raw", "packed"])
def offered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Offered, Offered]:
    return two_releases(tmp_path_factory.mktemp("offered"), packed=request.param)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[Offered, Offered]:
    return two_releases(tmp_path_factory.mktemp("raw"))


def needed(offered: Offered) -> dict[str, str]:
    """The place of each blob that a device needs, by file."""
    return {name: offered.blob(name) for name, file in offered.shipment.files.items() if file.tier in (None, DEVICE)}


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.suffix in (".part", ".tmp")]


def flips(content: bytes, seed: str) -> Iterator[bytes]:
    """The content with one bit of a byte turned, 64 times."""
    chance = random.Random(seed)
    for _ in range(64):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        yield bytes(damaged)


def unpacked(offered: Offered, name: str, blob: bytes) -> bytes:
    file = offered.shipment.files[name]
    try:
        return b"".join(unpack(blob, file.size_bytes)) if file.sha256 in offered.shipment.compressed else blob
    except IntegrityError:
        return b""


def test_a_blob_with_a_wrong_byte_is_refused(tmp_path: Path, offered: tuple[Offered, Offered]) -> None:
    _, new = offered
    for name, place in needed(new).items():
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        for damaged in flips(new.files[place], name):
            if unpacked(new, name, damaged) == (new.release.folder / name).read_bytes():
                continue  # a bit of zstd's that means nothing
            source = Blobs({**new.files, place: damaged})
            with pytest.raises(IntegrityError):
                install(folder, new.shipment, source, tier=DEVICE, have=(), disk=Recorder())
            assert installed(folder, new.shipment.release) is None and left(folder) == []
        check(install(folder, new.shipment, new.source(), tier=DEVICE, have=()), new)  # the control: the true one


def test_a_patch_with_a_wrong_byte_is_of_no_use_and_the_file_comes_whole(
    tmp_path: Path, raw: tuple[Offered, Offered]
) -> None:
    old, new = raw
    before = put_offered(tmp_path, old)
    patches = {place: content for place, content in new.files.items() if place.startswith("blobs/patch/")}
    patches = {place: patches[place] for place in patches if place.split("/")[2] in _device_hashes(new)}
    assert {place.rpartition(".")[2] for place in patches} == {"sub", "pfx"}
    after = put_offered(tmp_path, new)
    for place, content in patches.items():
        for damaged in flips(content, place):
            _forget(after, place.split("/")[2], new)
            source = Blobs({**new.files, place: damaged})
            check(install(tmp_path, new.shipment, source, tier=DEVICE, have=[before], disk=Recorder()), new)
            assert [asked.startswith("blobs/patch/") for asked, _ in source.asked] == [True, False]


def _device_hashes(offered: Offered) -> set[str]:
    return {offered.shipment.files[name].sha256 for name in needed(offered)}


def _forget(folder: Path, sha256: str, offered: Offered) -> None:
    """Take away the files of this hash, and none else: that is what the next install brings."""
    for name in needed(offered):
        if offered.shipment.files[name].sha256 == sha256:
            (folder / name).unlink()


def test_a_well_named_patch_to_something_else_is_of_no_use(tmp_path: Path, raw: tuple[Offered, Offered]) -> None:
    old, new = raw
    before = put_offered(tmp_path, old)
    lying, source = _with_patch(new, old, pack(b"another file" * 20, prefix=_model(old)))
    check(install(tmp_path, lying, source, tier=DEVICE, have=[before]), new)
    assert _asked_for_model(source, new) == ["patch", "whole"]


def test_a_patch_that_is_a_bomb_is_of_no_use(tmp_path: Path, raw: tuple[Offered, Offered]) -> None:
    old, new = raw
    before = put_offered(tmp_path, old)
    bomb = pack(bytes(FRAME_BYTES))
    assert len(bomb) < len(_model(new)) < FRAME_BYTES / 1000
    lying, source = _with_patch(new, old, bomb)
    check(install(tmp_path, lying, source, tier=DEVICE, have=[before]), new)
    assert _asked_for_model(source, new) == ["patch", "whole"]


def _asked_for_model(source: Blobs, new: Offered) -> list[str]:
    sha256 = new.shipment.files[MODEL].sha256
    return ["patch" if "/patch/" in place else "whole" for place, _ in source.asked if sha256 in place]


def _model(offered: Offered) -> bytes:
    return (offered.release.folder / MODEL).read_bytes()


def _with_patch(new: Offered, old: Offered, content: bytes) -> tuple[Shipment, Blobs]:
    """The release with another patch for its model."""
    model, base = new.shipment.files[MODEL].sha256, old.shipment.files[MODEL].sha256
    patch = ShippedPatch(base, "pfx", sha256_bytes(content), len(content))
    shipment = msgspec.structs.replace(new.shipment, patches={**new.shipment.patches, model: (patch,)})
    return shipment, Blobs({**new.files, f"blobs/patch/{model}/{base}.pfx": content})


def test_a_blob_that_is_a_bomb_is_refused(tmp_path: Path, raw: tuple[Offered, Offered]) -> None:
    _, new = raw
    model, bomb = new.shipment.files[MODEL].sha256, pack(bytes(16 * FRAME_BYTES))
    shipment = msgspec.structs.replace(new.shipment, compressed={model: Compressed(len(bomb))})
    source = Blobs({**new.files, new.blob(MODEL): bomb})
    with pytest.raises(IntegrityError, match="expected a frame of"):
        install(tmp_path, shipment, source, tier=DEVICE, have=())
    assert left(tmp_path) == []


class Endless(Blobs):
    """A source that never stops."""

    def _pieces(self, content: bytes) -> Iterator[bytes]:
        while True:
            self.given += self.piece
            yield bytes(self.piece)


def test_a_source_that_never_stops_is_left(tmp_path: Path, offered: tuple[Offered, Offered]) -> None:
    _, new = offered
    source = Endless(new.files)
    with pytest.raises(IntegrityError, match="got more"):
        install(tmp_path, new.shipment, source, tier=DEVICE, have=())
    assert source.given < 1 << 20 and left(tmp_path) == []


def test_a_blob_that_is_cut_short_is_not_installed_and_gone_on_with(
    tmp_path: Path, offered: tuple[Offered, Offered]
) -> None:
    _, new = offered
    for name, place in needed(new).items():
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        content = new.files[place]
        short = len(content) // 2
        with pytest.raises(UpdateError, match=f"got {short}; the next check goes on"):
            install(folder, new.shipment, Blobs({**new.files, place: content[:short]}), tier=DEVICE, have=())
        assert installed(folder, new.shipment.release) is None
        source = new.source()
        check(install(folder, new.shipment, source, tier=DEVICE, have=()), new)
        assert (place, short) in source.asked


def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path: Path, offered: tuple[Offered, Offered]) -> None:
    _, new = offered
    size, given, requests = download_bytes(new.shipment, DEVICE, ()), 0, 0
    for _ in range(100):
        source = Blobs(new.files, piece=10, break_after=50)
        try:
            after = install(tmp_path, new.shipment, source, tier=DEVICE, have=())
        except UpdateError:
            continue
        finally:
            given, requests = given + source.given, requests + len(source.asked)
        break
    check(after, new)
    assert given == size and requests > size / 100  # no byte came twice


def test_what_came_before_a_break_and_was_damaged_is_fetched_anew(
    tmp_path: Path, offered: tuple[Offered, Offered]
) -> None:
    _, new = offered
    part = release_folder(tmp_path, new.shipment.release) / (MODEL + ".part")
    part.parent.mkdir(parents=True)
    for damage in (bytes(100), bytes(10_000)):
        part.write_bytes(damage)
        source = new.source()
        check(install(tmp_path, new.shipment, source, tier=DEVICE, have=()), new)
        assert (new.blob(MODEL), 0) in source.asked
        (part.parent / "model.onnx").unlink()


def test_an_old_file_that_was_damaged_is_not_patched(tmp_path: Path, raw: tuple[Offered, Offered]) -> None:
    old, new = raw
    before = put_offered(tmp_path, old)
    model = before / MODEL
    model.write_bytes(bytes(model.stat().st_size))
    (before / "packages/device/config.json").write_bytes(b"{}")  # the same in both releases, so copied
    source = new.source()
    check(install(tmp_path, new.shipment, source, tier=DEVICE, have=[before]), new)
    assert {place for place, _ in source.asked if "/patch/" not in place} == {
        new.blob(MODEL),
        new.blob("packages/device/config.json"),
    }


def test_a_line_that_breaks_during_a_patch_does_not_cost_the_whole_file(
    tmp_path: Path, raw: tuple[Offered, Offered]
) -> None:
    old, new = raw
    before = put_offered(tmp_path, old)
    with pytest.raises(UpdateError, match="cut off"):
        install(tmp_path, new.shipment, Blobs(new.files, piece=10, break_after=20), tier=DEVICE, have=[before])
    source = new.source()
    check(install(tmp_path, new.shipment, source, tier=DEVICE, have=[before]), new)
    assert all("/patch/" in place for place, _ in source.asked) and source.asked[0][1] == 20


def test_patches_that_the_repository_lost_are_done_without(tmp_path: Path, raw: tuple[Offered, Offered]) -> None:
    old, new = raw
    before = put_offered(tmp_path, old)
    whole = {place: content for place, content in new.files.items() if "/patch/" not in place}
    check(install(tmp_path, new.shipment, Blobs(whole), tier=DEVICE, have=[before]), new)
    unknown = {
        new: tuple(msgspec.structs.replace(patch, codec="xor") for patch in found)
        for new, found in new.shipment.patches.items()
    }
    shipment = msgspec.structs.replace(new.shipment, patches=unknown)
    assert download_bytes(shipment, DEVICE, [before]) > download_bytes(new.shipment, DEVICE, [before])


@pytest.mark.parametrize("ranges", [True, False])
def test_over_http_a_download_goes_on_by_range(tmp_path: Path, raw: tuple[Offered, Offered], ranges: bool) -> None:
    _, new = raw
    sent = []

    def reply(head: bytes) -> Iterator[bytes]:
        content = new.files[head.split()[1].decode().removeprefix("/repository/")]
        start = int(head.partition(b"Range: bytes=")[2].partition(b"-")[0] or 0) if ranges else 0
        said = f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}"
        whole = ok(content[start:], said, status="206 Partial Content") if start else ok(content)
        length = len(content) - start
        given = length if length < 300 or (not ranges and len(sent) > 3) else 300
        sent.append(given)
        yield whole[: len(whole) - length + given]
        if given < length:
            yield b""

    with serving(reply) as web:
        for _ in range(100):
            source = HttpSource(web.url)
            try:
                check(install(tmp_path, new.shipment, source, tier=DEVICE, have=()), new)
                break
            except UpdateError:
                continue
            finally:
                source.close()
    again = sum(sent) - download_bytes(new.shipment, DEVICE, ())
    assert len(sent) > 7 and (again == 0) is ranges
