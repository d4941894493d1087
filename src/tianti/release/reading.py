"""The repository in a folder, verified from a root that is known to be right; shipments and the files they name.

Not here: writing (`folder`), a device's client (`update`), which asks about expiry and rollback too.
Invariant: nothing comes out that the keys of its delegator did not sign, so that no editor signs a stranger's words.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tianti.errors import IntegrityError, StoreError, needs_extra
from tianti.package import Shipment, decode_shipment, shipment_path
from tianti.package.packed import unpack
from tianti.package.shipment import ShippedFile
from tianti.release.repository import NAMED, Repository
from tianti.store import sha256_bytes

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, MetaFile


def read_repository(folder: Path, trusted_root: bytes) -> Repository:
    """The repository in a folder, as it follows from a root that is known to be right; expiry is not asked about.

    Raises:
        IntegrityError: its metadata is not signed by who may, or not what is named.
        StoreError: a file cannot be read.
        MissingExtraError: tuf is not installed.
    """
    with needs_extra("update"):
        from tuf.api.exceptions import RepositoryError
        from tuf.api.serialization import DeserializationError
    try:
        roots = _read_roots(folder, decoded(trusted_root, "root"))
        root = roots[-1]
        timestamp = decoded(read_file(folder / metadata_path("timestamp", 0)), "timestamp")
        _trust(root, "timestamp", timestamp)
        snapshot = _read_named(folder, "snapshot", timestamp.signed.snapshot_meta)
        _trust(root, "snapshot", snapshot)
        named = {role: _read_named(folder, role, snapshot.signed.meta[f"{role}.json"]) for role in NAMED}
        _trust(root, "targets", named["targets"])
        for role in NAMED[1:]:
            _trust(named["targets"], role, named[role])
    except (RepositoryError, DeserializationError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{folder}: expected metadata by its keys, got another: {error}; restore a copy"
        ) from error
    return Repository(roots=tuple(roots), snapshot=snapshot, timestamp=timestamp, **named)


def read_shipment(folder: Path, repository: Repository, product: str, release: str) -> Shipment:
    """The shipment of a release that is offered.

    Raises:
        IntegrityError: what lies there is another one.
        StoreError: it cannot be read.
    """
    name = shipment_path(product, release)
    digest = repository.models.signed.targets[name].hashes["sha256"]
    path = folder / target_place(name, digest)
    content = read_file(path)
    if sha256_bytes(content) != digest:
        raise IntegrityError(f"{path}: expected the shipment that is signed, got another; restore a copy")
    return decode_shipment(content, path)


def read_blob(folder: Path, file: ShippedFile) -> bytes:
    """A file that a shipment names, unpacked.

    Raises:
        IntegrityError: what lies there is another one.
        StoreError: it cannot be read.
    """
    path = folder / blob_place(file.sha256)
    content = read_file(path)
    if sha256_bytes(content) != file.sha256:
        content = b"".join(unpack(content, file.size_bytes))
        if sha256_bytes(content) != file.sha256:
            raise IntegrityError(f"{path}: expected this file, whole or packed, got another; restore a copy")
    return content


def _read_roots(folder: Path, trusted: "Metadata[Any]") -> "list[Metadata[Any]]":
    roots = [trusted]
    while (path := folder / metadata_path("root", roots[-1].signed.version + 1)).is_file():
        root = decoded(read_file(path), "root")
        _trust(roots[-1], "root", root)
        _trust(root, "root", root)
        if root.signed.version != roots[-1].signed.version + 1:
            raise ValueError(f"{path.name} has version {root.signed.version}")
        roots.append(root)
    return roots


def _read_named(folder: Path, role: str, meta: "MetaFile") -> "Metadata[Any]":
    content = read_file(folder / metadata_path(role, meta.version))
    meta.verify_length_and_hashes(content)
    metadata = decoded(content, "snapshot" if role == "snapshot" else "targets")
    if metadata.signed.version != meta.version:
        raise ValueError(f"{role} has version {metadata.signed.version}")
    return metadata


def _trust(delegator: "Metadata[Any]", role: str, metadata: "Metadata[Any]") -> None:
    delegator.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)


def decoded(content: bytes, kind: str) -> "Metadata[Any]":
    """Metadata of this type; nothing is verified.

    Raises:
        ValueError: it is of another type; tuf's DeserializationError: it is none.
    """
    from tuf.api.metadata import Metadata

    metadata: Metadata[Any] = Metadata.from_bytes(content)
    if metadata.signed.type != kind:
        raise ValueError(f"its type is {metadata.signed.type} where {kind} is named")
    return metadata


def metadata_path(role: str, version: int) -> str:
    """Where a role's metadata lies in the folder; the timestamp alone keeps its name."""
    return "metadata/timestamp.json" if role == "timestamp" else f"metadata/{version}.{role}.json"


def target_place(path: str, digest: str) -> str:
    """Where a target lies in the folder."""
    parent, _, name = path.rpartition("/")
    return f"targets/{parent}/{digest}.{name}"


def blob_place(digest: str) -> str:
    """Where a file that a shipment names lies in the folder."""
    return f"blobs/{digest[:2]}/{digest}"


def patch_place(new: str, old: str, codec: str) -> str:
    """Where a patch lies in the folder."""
    return f"blobs/patch/{new}/{old}.{codec}"


def read_file(path: Path) -> bytes:
    """A file of the folder.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; restore a copy of the repository") from error
