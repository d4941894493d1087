"""A release as a repository offers it, in memory: its shipment, its blobs, and a source that can be made to lie."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.tiny_release import WORDS, make_release
from tianti.errors import AbsentError, UpdateError
from tianti.package import Release, Shipment, ship
from tianti.package.packed import pack
from tianti.package.shipment import Compressed, ShippedPatch
from tianti.spec import Tier
from tianti.store import sha256_bytes
from tianti.update.contract import Polled
from tianti.update.install import install

OTHER_WORDS = {**WORDS, "lights": ("bulb", "lantern", "bulb")}
"""All files of a package change but its config.json and README.md; the model's length too."""


@dataclass
class Blobs:
    """A `Source` of files in memory. `break_after` bytes of a stream, it is cut off; `piece` is what comes at once."""

    files: dict[str, bytes]
    piece: int = 1000
    break_after: int | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)
    given: int = 0

    def poll(self, etag: str | None) -> Polled:
        return Polled(changed=False)

    def stream(self, path: str, start: int = 0) -> Iterator[bytes]:
        self.asked.append((path, start))
        if path not in self.files:
            raise AbsentError(path)
        return self._pieces(self.files[path][start:])

    def _pieces(self, content: bytes) -> Iterator[bytes]:
        for at in range(0, len(content), self.piece):
            if self.break_after is not None and at + self.piece > self.break_after:
                raise UpdateError("cut off")
            self.given += len(content[at : at + self.piece])
            yield content[at : at + self.piece]

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Offered:
    """What is published of a release."""

    release: Release
    shipment: Shipment
    files: dict[str, bytes]

    def source(self) -> Blobs:
        return Blobs(dict(self.files))

    def blob(self, name: str) -> str:
        """Where a file of the release lies in the repository."""
        sha256 = self.shipment.files[name].sha256
        return f"blobs/{sha256[:2]}/{sha256}"


def offer(release: Release, counter: int, *, old: "Offered | None" = None, packed: bool = False) -> Offered:
    """Publish a release: `packed` each blob as zstd, and with patches from the files of `old`."""
    shipment = ship(release, counter=counter, min_runtime="0.1.0")
    contents = {file.sha256: (release.folder / name).read_bytes() for name, file in shipment.files.items()}
    stored = {sha256: pack(content) if packed else content for sha256, content in contents.items()}
    files = {f"blobs/{sha256[:2]}/{sha256}": content for sha256, content in stored.items()}
    patches: dict[str, tuple[ShippedPatch, ...]] = {}
    for name, file in shipment.files.items() if old else ():
        before = (old.release.folder / name).read_bytes()
        if (base := sha256_bytes(before)) != file.sha256:
            codec, patch = _patch(before, contents[file.sha256])
            files[f"blobs/patch/{file.sha256}/{base}.{codec}"] = patch
            patches[file.sha256] = (ShippedPatch(base, codec, sha256_bytes(patch), len(patch)),)
    compressed = {sha256: Compressed(len(content)) for sha256, content in stored.items()} if packed else {}
    return Offered(release, msgspec.structs.replace(shipment, patches=patches, compressed=compressed), files)


def _patch(old: bytes, new: bytes) -> tuple[str, bytes]:
    if len(old) == len(new):
        return "sub", pack(bytes((n - o) % 256 for o, n in zip(old, new, strict=True)))
    return "pfx", pack(new, prefix=old)


def put_offered(folder: Path, offered: Offered) -> Path:
    """Install a release for the device in peace."""
    return install(folder, offered.shipment, offered.source(), tier=Tier.DEVICE, have=())


def two_releases(folder: Path, packed: bool = False) -> tuple[Offered, Offered]:
    """An old release, and a new one that is offered with patches from it."""
    old = offer(make_release(folder / "old"), 1)
    return old, offer(make_release(folder / "new", words=OTHER_WORDS), 2, old=old, packed=packed)
