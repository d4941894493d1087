"""A repository with keys in memory, and python-tuf's own client of its folder."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater

from tianti.package import Shipment
from tianti.package.shipment import ShippedFile
from tianti.release import folder as release_folder
from tianti.release.edits import add_shipment, set_rollout
from tianti.release.keys import KEYS
from tianti.release.reading import read_file
from tianti.release.repository import Repository, create, seal, to_bytes
from tianti.store import sha256_bytes, write_atomic

NOW_S = int(time.time())
PRODUCT, CHANNEL = "demo", "stable"


class Blob(NamedTuple):
    """A file that a shipment names: `path` is below blobs/, as `ab/<sha256>` or `patch/<new>/<old>.<codec>`."""

    path: str
    content: bytes


def whole_blobs(release: Path, shipment: Shipment) -> list[Blob]:
    """The blobs of a release's folder, each file as it is."""
    files = shipment.files.items()
    return [Blob(f"{file.sha256[:2]}/{file.sha256}", read_file(release / name)) for name, file in files]


def publish(
    folder: Path, repository: Repository, shipments: Iterable[Shipment] = (), blobs: Iterable[Blob] = ()
) -> list[str]:
    """The blobs, neither packed nor patched, then what names them."""
    for blob in blobs:
        write_atomic(folder / "blobs" / blob.path, blob.content)
    return release_folder.publish(folder, repository, shipments)


def make_signers() -> dict[str, list[Signer]]:
    return {role: [CryptoSigner.generate_ed25519() for _ in range(count)] for role, count in KEYS.items()}


def make_shipment(counter: int) -> tuple[Shipment, list[Blob]]:
    contents = {"release.json": b'{"n":%d}' % counter, "packages/device/onnx/model.onnx": b"weights %d" % counter}
    files = {name: ShippedFile(sha256_bytes(content), len(content)) for name, content in contents.items()}
    release = files["release.json"].sha256
    blobs = [Blob(f"{sha256_bytes(content)[:2]}/{sha256_bytes(content)}", content) for content in contents.values()]
    return Shipment(product=PRODUCT, release=release, counter=counter, files=files, min_runtime="0.1.0"), blobs


def statement(shipment: Shipment, ppm: int = 1_000_000) -> dict[str, object]:
    return {"product": PRODUCT, "channel": CHANNEL, "release": shipment.release, "rings": [{"ppm": ppm}]}


def ship_and_roll(
    repository: Repository, shipment: Shipment, signers: dict[str, list[Signer]], ppm: int = 1_000_000
) -> Repository:
    repository = add_shipment(repository, shipment, signers, NOW_S)
    return seal(set_rollout(repository, statement(shipment, ppm), signers, NOW_S), signers, NOW_S)


def first(signers: dict[str, list[Signer]]) -> tuple[Repository, Shipment, list[Blob]]:
    shipment, blobs = make_shipment(1)
    return ship_and_roll(create(signers, NOW_S), shipment, signers), shipment, blobs


class Files(FetcherInterface):
    """Reads file: URLs."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(urlparse(url).path)
        if not path.is_file():
            raise DownloadHTTPError(f"{path} not found", 404)
        yield path.read_bytes()


class Client:
    """A device, as far as python-tuf is one: each `see` is a poll; its cache is kept between them."""

    def __init__(self, folder: Path, cache: Path, root: bytes) -> None:
        self.folder, self.cache, self.root = folder, cache, root
        (cache / "metadata").mkdir(parents=True)
        (cache / "targets").mkdir()

    def see(self) -> dict[str, object]:
        """The release that the channel's rollout names, its counter as its shipment says, and the versions trusted."""
        base = self.folder.as_uri()
        updater = Updater(
            str(self.cache / "metadata"),
            f"{base}/metadata",
            str(self.cache / "targets"),
            f"{base}/targets",
            fetcher=Files(),
            bootstrap=self.root,
        )
        updater.refresh()
        rollout = updater.get_targetinfo(f"rollout/{PRODUCT}/{CHANNEL}")
        assert isinstance(rollout, TargetFile)
        release = rollout.custom["release"]
        shipped = updater.get_targetinfo(f"models/{PRODUCT}/{release}.json")
        assert isinstance(shipped, TargetFile)
        content = Path(updater.download_target(shipped)).read_bytes()
        return {"release": release, "rings": rollout.custom["rings"], "shipment": content}


def client_of(folder: Path, cache: Path, repository: Repository) -> Client:
    return Client(folder, cache, to_bytes(repository.roots[0]))
