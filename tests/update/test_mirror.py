"""A mirror: what it offers was verified, each file is fetched once, and nothing comes through that was not signed."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.publisher import CHANNEL, NOW_S, PRODUCT, Blob, make_shipment, make_signers, publish
from tianti.errors import AbsentError, IntegrityError, UpdateError
from tianti.package import Shipment
from tianti.package.packed import pack
from tianti.package.shipment import Compressed, ShippedPatch
from tianti.release.edits import add_shipment, rotate_root, set_rollout
from tianti.release.repository import Repository, create, renew, seal, to_bytes
from tianti.store import sha256_bytes
from tianti.update.contract import Polled, Source
from tianti.update.metadata import TufClient
from tianti.update.mirror import Mirror
from tianti.update.source import FolderSource
from tianti.update.state import UpdateState


class Upstream(FolderSource):
    """A repository's folder that counts what is asked for, and may be cut off, or lie about a path."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: Counter[str] = Counter()
        self.cut_off = False
        self.lies: dict[str, bytes] = {}

    def poll(self, etag: str | None) -> Polled:
        self._reach()
        return super().poll(etag)

    def stream(self, path: str, start: int = 0) -> Iterator[bytes]:
        self._reach()
        self.asked[path] += 1
        if path in self.lies:
            yield self.lies[path][start:]
        else:
            yield from super().stream(path, start)

    def _reach(self) -> None:
        if self.cut_off:
            raise UpdateError("the line is cut")


class Site:
    """A publisher, its folder, and a mirror of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.signers = make_signers()
        self.repository = create(self.signers, NOW_S)
        self.root = to_bytes(self.repository.root)
        self.folder, self.mirrored = tmp_path / "repository", tmp_path / "mirror"
        self.shipment, blobs = make_shipment(1)
        self.roll(self.shipment, blobs)
        self.upstream = Upstream(self.folder)
        self.now_s = float(NOW_S)
        self.mirror = self.open()

    def open(self) -> Mirror:
        return Mirror(self.mirrored, self.root, lambda: self.upstream, lambda: self.now_s)

    def roll(self, shipment: Shipment, blobs: list[Blob]) -> None:
        statement = {
            "schema": "tianti.rollout/1",
            "product": PRODUCT,
            "channel": CHANNEL,
            "release": shipment.release,
            "counter": shipment.counter,
            "salt": shipment.release[:16],
            "rings": [{"ppm": 1_000_000}],
        }
        self.repository = add_shipment(self.repository, shipment, self.signers, NOW_S)
        self.repository = seal(set_rollout(self.repository, statement, self.signers, NOW_S), self.signers, NOW_S)
        publish(self.folder, self.repository, [shipment], blobs)

    def change(self, repository: Repository) -> None:
        self.repository = repository
        publish(self.folder, repository)

    def device(self, folder: Path, source: Source | None = None) -> TufClient:
        """A device's client behind the mirror."""
        return TufClient(folder, self.root, source or self.mirror.source(), PRODUCT, CHANNEL, UpdateState())

    def offered(self) -> dict[str, bytes]:
        paths = [path for name in ("metadata", "targets", "blobs") for path in (self.mirrored / name).rglob("*.*")]
        return {str(path.relative_to(self.mirrored)): path.read_bytes() for path in paths}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def blob(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"


def take(site: Site, path: str) -> bytes:
    return b"".join(site.mirror.source().stream(path))


def test_a_device_behind_a_mirror_comes_to_the_same_release(site: Site, tmp_path: Path) -> None:
    assert site.mirror.refresh()
    for number in range(3):
        device = site.device(tmp_path / str(number))
        said = device.refresh(NOW_S)
        assert device.shipment(said.rollout.release) == site.shipment
        for file in site.shipment.files.values():
            assert sha256_bytes(take(site, blob(file.sha256))) == file.sha256
    blobs = [blob(file.sha256) for file in site.shipment.files.values()]
    assert [site.upstream.asked[path] for path in blobs] == [1] * len(blobs)
    assert all(count == 1 for path, count in site.upstream.asked.items() if path.startswith("targets/"))


def test_nothing_new_is_one_poll(site: Site) -> None:
    site.mirror.refresh()
    before = site.upstream.asked.copy()
    assert not site.mirror.refresh()
    assert not site.open().refresh()  # nor does it forget when it is started again
    assert site.upstream.asked - before == Counter({"metadata/timestamp.json": 2})
    site.now_s += 23 * 3600
    assert not site.mirror.refresh()
    site.now_s -= 24 * 3600  # by a clock that was wrong
    assert site.mirror.refresh()


def test_cut_off_it_gives_out_what_it_has(site: Site, tmp_path: Path) -> None:
    site.mirror.refresh()
    first_file = next(iter(site.shipment.files.values())).sha256
    take(site, blob(first_file))
    site.upstream.cut_off = True
    with pytest.raises(UpdateError, match="cut"):
        site.mirror.refresh()
    with pytest.raises(UpdateError, match="cut"):
        site.device(tmp_path / "d", site.upstream).refresh(NOW_S)
    assert site.device(tmp_path / "e").refresh(NOW_S).rollout.release == site.shipment.release
    assert sha256_bytes(take(site, blob(first_file))) == first_file


@pytest.mark.parametrize("role", ["timestamp", "2.snapshot", "2.targets", "2.models", "2.rollout"])
def test_metadata_that_are_not_right_are_never_offered(site: Site, role: str) -> None:
    site.mirror.refresh()
    before = site.offered()
    site.roll(*make_shipment(2))
    site.change(seal(renew(site.repository, "targets", site.signers, NOW_S), site.signers, NOW_S))
    names = [path.name for path in (site.folder / "metadata").iterdir()]
    name = max(each for each in names if each.endswith(f"{role.partition('.')[2] or role}.json"))
    right = (site.folder / "metadata" / name).read_bytes()
    for at in range(0, len(right), max(1, len(right) // 16)):
        site.upstream.lies[f"metadata/{name}"] = right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :]
        with pytest.raises(UpdateError):
            site.mirror.refresh()
        assert site.offered() == before
    site.upstream.lies.clear()
    assert site.mirror.refresh()


def test_an_older_timestamp_is_not_offered_again(site: Site) -> None:
    site.mirror.refresh()
    old = (site.folder / "metadata" / "timestamp.json").read_bytes()
    site.roll(*make_shipment(2))
    site.mirror.refresh()
    site.upstream.lies["metadata/timestamp.json"] = old
    for forgotten in ("", "tuf"):
        if forgotten:
            for path in (site.mirrored / forgotten).glob("*.json"):
                path.write_bytes(b"")
        with pytest.raises(UpdateError):
            site.open().refresh()
        assert (site.mirrored / "metadata" / "timestamp.json").read_bytes() != old


@pytest.mark.parametrize("wrong", [b"", b"weights 2", b"weights 1 and more", b"weight"])
def test_bytes_that_are_wrong_are_not_kept(site: Site, wrong: bytes) -> None:
    site.mirror.refresh()
    digest = sha256_bytes(b"weights 1")
    site.upstream.lies[blob(digest)] = wrong
    with pytest.raises((IntegrityError, UpdateError)):
        take(site, blob(digest))
    assert not (site.mirrored / blob(digest)).exists()
    site.upstream.lies.clear()
    assert take(site, blob(digest)) == b"weights 1"


def test_packed_files_and_patches_are_verified(site: Site) -> None:
    shipment, blobs = make_shipment(2)
    new, old = sha256_bytes(b"weights 2"), sha256_bytes(b"weights 1")
    packed, patch = pack(b"weights 2"), b"a patch"
    found = ShippedPatch(old, "sub", sha256_bytes(patch), len(patch))
    shipment = Shipment(
        **{
            **{name: getattr(shipment, name) for name in shipment.__struct_fields__},
            "compressed": {new: Compressed(len(packed))},
            "patches": {new: (found,)},
        }
    )
    blobs = [each for each in blobs if new not in each.path]
    site.roll(shipment, [*blobs, Blob(blob(new).removeprefix("blobs/"), packed), Blob(f"patch/{new}/{old}.sub", patch)])
    site.mirror.refresh()
    for path, right in ((blob(new), packed), (f"blobs/patch/{new}/{old}.sub", patch)):
        site.upstream.lies[path] = right[:-1] + b"?"
        with pytest.raises(IntegrityError, match="signed"):
            take(site, path)
        site.upstream.lies.clear()
        assert take(site, path) == right


def test_what_nobody_signed_is_not_fetched(site: Site) -> None:
    site.mirror.refresh()
    (site.folder / "blobs" / "ab").mkdir(exist_ok=True)
    stranger = "ab" + "1" * 62
    for path in (
        blob(stranger),
        f"blobs/patch/{stranger}/{stranger}.sub",
        "blobs/ab/x",
        "targets/x.json",
        "metadata/9.root.json",
    ):
        (site.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (site.folder / path).write_bytes(b"x")
        with pytest.raises(AbsentError):
            take(site, path)
        assert site.upstream.asked[path] == 0 or path.endswith("9.root.json")


def test_what_is_no_longer_offered_goes(site: Site) -> None:
    site.mirror.refresh()
    take(site, blob(sha256_bytes(b"weights 1")))
    site.roll(*make_shipment(2))
    site.mirror.refresh()
    take(site, blob(sha256_bytes(b"weights 2")))
    assert (site.mirrored / blob(sha256_bytes(b"weights 1"))).exists()  # still offered
    models = site.repository.models.signed.targets
    models.pop(f"models/{PRODUCT}/{site.shipment.release}.json")
    for _ in range(5):
        site.change(seal(renew(site.repository, "models", site.signers, NOW_S), site.signers, NOW_S))
        site.mirror.refresh()
    assert not (site.mirrored / blob(sha256_bytes(b"weights 1"))).exists()
    assert (site.mirrored / blob(sha256_bytes(b"weights 2"))).exists()
    assert len([path for path in (site.mirrored / "metadata").iterdir() if "models" in path.name]) == 3


def test_roots_follow(site: Site, tmp_path: Path) -> None:
    site.mirror.refresh()
    new = make_signers()
    both = {role: [*site.signers[role], *new[role]] for role in new}
    keys = {"timestamp": [signer.public_key for signer in new["timestamp"]]}
    for _ in range(3):
        site.change(rotate_root(site.repository, keys, both, NOW_S))
        keys = {"timestamp": [signer.public_key for signer in site.signers["timestamp"]]}
    site.mirror.refresh()
    assert {f"{number}.root.json" for number in range(1, 5)} <= {
        path.name for path in (site.mirrored / "metadata").iterdir()
    }
    assert site.device(tmp_path / "d").refresh(NOW_S).versions["root"] == 4


def test_a_mirror_killed_while_it_offers_leaves_devices_whole(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write is cut off in turn; a device comes through with the release of before or of after."""
    from tianti.update import mirror as module

    site.mirror.refresh()
    old = site.shipment.release
    shipment, blobs = make_shipment(2)
    site.roll(shipment, blobs)
    write, seen = module.write_atomic, set()
    for cut in range(8):
        left = [cut]

        def cut_off(path: Path, content: bytes, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            write(path, content)

        monkeypatch.setattr(module, "write_atomic", cut_off)
        with contextlib.suppress(KeyboardInterrupt):
            site.open().refresh()
        seen.add(site.device(tmp_path / f"d{cut}", FolderSource(site.mirrored)).refresh(NOW_S).rollout.release)
    assert seen == {old, shipment.release}
