"""Shipment: the files of one release, by hash, as an update repository offers them to devices.

    blobs/<ab>/<sha256>  blobs/patch/<new sha256>/<old sha256>.<codec>

Not here: who signs it (`release`), who fetches it (`update`). Invariants: what was decoded names only paths below the
release's folder, and hashes that are hashes, since both become file names; its release.json is the one that its id
names. The format's page: FORMAT.md.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from tianti.errors import PackageError
from tianti.package.manifest import Name, decode_record, leaves_folder
from tianti.package.release import Release
from tianti.spec import Tier
from tianti.store import canonical_json

SCHEMA = "tianti.shipment/1"
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class ShippedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the release; `tier` is who needs it, None: everybody."""

    sha256: Sha256
    size_bytes: Count
    tier: Tier | None = None


class ShippedPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the file `old` becomes another one; a device that does not know the codec fetches the file whole."""

    old: Sha256
    codec: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{1,16}\Z")]
    sha256: Sha256
    size_bytes: Count


class Compressed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A blob that is kept as zstd: its bytes on the server."""

    size_bytes: Count


class Shipment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a device needs to fetch a release.

    `counter` grows with each release of a product; `min_runtime` is the oldest Tianti that runs it; `abi` None: any.
    `patches` and `compressed` go by the SHA-256 of the file that results.
    """

    schema: str = SCHEMA
    product: Name
    release: Sha256
    counter: Count
    files: dict[str, ShippedFile]
    min_runtime: str
    abi: str | None = None
    patches: dict[Sha256, tuple[ShippedPatch, ...]] = {}
    compressed: dict[Sha256, Compressed] = {}


class _Head(msgspec.Struct):
    schema: str


def decode_shipment(content: bytes, path: Path) -> Shipment:
    """The shipment in these bytes; `path` is for messages.

    Raises:
        PackageError: it is malformed, of another schema, names a path outside the release, or another release.json.
    """
    if (schema := decode_record(content, _Head, path).schema) != SCHEMA:
        raise PackageError(f"{path}: expected schema {SCHEMA}, got {schema!r}; update tianti")
    shipment = decode_record(content, Shipment, path)
    for file in shipment.files:
        if leaves_folder(file) or PurePosixPath(file).as_posix() != file or not file.isprintable():
            raise PackageError(f"{path}: the shipment names {file!r}, which is not a path below the release")
    named = shipment.files.get("release.json")
    if named is None or named.sha256 != shipment.release:
        found = "none" if named is None else named.sha256
        raise PackageError(f"{path}: expected release.json with sha256 {shipment.release}, got {found}; publish again")
    return shipment


def ship(release: Release, *, counter: int, min_runtime: str, abi: str | None = None) -> Shipment:
    """The shipment of a release on disk, all files whole; its product is the release's name.

    Raises:
        PackageError: a package of it cannot be read.
        IntegrityError: a package is not the one that the release names.
    """
    size = len((release.folder / "release.json").read_bytes())
    files = {"release.json": ShippedFile(release.id, size)}
    for tier in release.record.packages:
        package = release.package(tier)
        below = f"packages/{tier}/"
        files[f"{below}manifest.json"] = ShippedFile(package.id, len(canonical_json(package.manifest)), tier)
        for file, entry in package.manifest.files.items():
            files[below + file] = ShippedFile(entry.sha256, entry.size_bytes, tier)
    return Shipment(
        product=release.record.name,
        release=release.id,
        counter=counter,
        files=files,
        min_runtime=min_runtime,
        abi=abi,
    )


def shipment_path(product: str, release: str) -> str:
    """The name under which a repository offers a shipment."""
    return f"models/{product}/{release}.json"
