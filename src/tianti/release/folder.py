"""A repository's folder: static files that any web server can hand out.

    metadata/{N.root,N.snapshot,N.targets,N.models,N.rollout,timestamp}.json
    targets/models/<product>/<sha256>.<release>.json   blobs/<ab>/<sha256>   blobs/patch/<new>/<old>.<codec>

Not here: what the metadata says (`repository`). Invariants: a file is written before the one that names it, and the
timestamp makes all of it visible at once; so a reader sees the repository of before or of after, and a publish that was
cut off can be done again. A new root comes last of all: what it accepts is there already.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tianti.errors import IntegrityError, StoreError, UsageError, needs_extra
from tianti.package import Shipment, shipment_path
from tianti.release.repository import NAMED, Repository, to_bytes
from tianti.store import canonical_json, sha256_bytes, write_atomic

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, MetaFile


class Blob(NamedTuple):
    """A file that a shipment names: `path` is below blobs/, as `ab/<sha256>` or `patch/<new>/<old>.<codec>`."""

    path: str
    content: bytes


def publish(
    folder: Path, repository: Repository, shipments: Iterable[Shipment] = (), blobs: Iterable[Blob] = ()
) -> list[str]:
    """Write what the folder does not have yet; returns the files written, in order.

    `shipments` and `blobs` are the new ones; blobs may be made one by one, as they are taken.

    Raises:
        UsageError: somebody published since `repository` was read, or a shipment or a blob is neither there nor given.
        StoreError: the folder cannot be written; do it again.
    """
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with FileLock(folder / ".lock"):
        _check_next(folder, repository)
        for path, content in _in_order(folder, repository, shipments, blobs):
            if not _holds(folder / path, content):
                write_atomic(folder / path, content)
                written.append(path)
    return written


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
        roots = _read_roots(folder, _decoded(trusted_root, "root"))
        root = roots[-1]
        timestamp = _decoded(_read(folder / _name("timestamp", 0)), "timestamp")
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


def _read_roots(folder: Path, trusted: "Metadata[Any]") -> "list[Metadata[Any]]":
    roots = [trusted]
    while (path := folder / _name("root", roots[-1].signed.version + 1)).is_file():
        root = _decoded(_read(path), "root")
        _trust(roots[-1], "root", root)
        _trust(root, "root", root)
        if root.signed.version != roots[-1].signed.version + 1:
            raise ValueError(f"{path.name} has version {root.signed.version}")
        roots.append(root)
    return roots


def _read_named(folder: Path, role: str, meta: "MetaFile") -> "Metadata[Any]":
    content = _read(folder / _name(role, meta.version))
    meta.verify_length_and_hashes(content)
    metadata = _decoded(content, "snapshot" if role == "snapshot" else "targets")
    if metadata.signed.version != meta.version:
        raise ValueError(f"{role} has version {metadata.signed.version}")
    return metadata


def _trust(delegator: "Metadata[Any]", role: str, metadata: "Metadata[Any]") -> None:
    delegator.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)


def _decoded(content: bytes, kind: str) -> "Metadata[Any]":
    from tuf.api.metadata import Metadata

    metadata: Metadata[Any] = Metadata.from_bytes(content)
    if metadata.signed.type != kind:
        raise ValueError(f"its type is {metadata.signed.type} where {kind} is named")
    return metadata


def _in_order(
    folder: Path, repository: Repository, shipments: Iterable[Shipment], blobs: Iterable[Blob]
) -> Iterator[tuple[str, bytes]]:
    for blob in blobs:
        yield f"blobs/{blob.path}", blob.content
    shipped = {shipment_path(shipment.product, shipment.release): shipment for shipment in shipments}
    for path, target in repository.models.signed.targets.items():
        place = _target_place(path, target.hashes["sha256"])
        if path in shipped:
            _check_blobs(folder, shipped[path])
            content = canonical_json(shipped[path])
            if sha256_bytes(content) != target.hashes["sha256"]:
                raise UsageError(f"{path}: expected the shipment that was added, got another; add this one first")
            yield place, content
        elif not (folder / place).is_file():
            raise UsageError(f"{folder}: expected {place} or its shipment, got neither; give the shipment")
    for role in (*NAMED, "snapshot", "timestamp"):
        metadata = getattr(repository, role)
        yield _name(role, metadata.signed.version), to_bytes(metadata)
    for root in repository.roots:
        yield _name("root", root.signed.version), to_bytes(root)


def _check_blobs(folder: Path, shipment: Shipment) -> None:
    names = {f"{file.sha256[:2]}/{file.sha256}" for file in shipment.files.values()}
    names |= {f"patch/{new}/{patch.old}.{patch.codec}" for new, found in shipment.patches.items() for patch in found}
    if lacking := sorted(name for name in names if not (folder / "blobs" / name).is_file()):
        raise UsageError(
            f"{folder}: expected blobs/{lacking[0]} and {len(lacking) - 1} more, got none; give these blobs"
        )


def _check_next(folder: Path, repository: Repository) -> None:
    """A publish that does not follow from what is there would take another's back, and clients would refuse it."""
    path = folder / _name("timestamp", 0)
    if not path.is_file():
        return
    there = _decoded(_read(path), "timestamp").signed.version
    given = repository.timestamp.signed.version
    stale = given < there or (given == there and not _holds(path, to_bytes(repository.timestamp)))
    roots = [folder / _name("root", root.signed.version) for root in repository.roots]
    other = [p for p, r in zip(roots, repository.roots, strict=True) if p.is_file() and not _holds(p, to_bytes(r))]
    next_root = folder / _name("root", repository.root.signed.version + 1)
    if stale or other or next_root.is_file():
        raise UsageError(
            f"{folder}: expected what follows from its timestamp {there}, got {given}; read it and edit again"
        )
    if sum(not p.is_file() for p in roots) > 1:
        raise UsageError(f"{folder}: expected one new root at a time, got more; publish after each rotation")


def _target_place(path: str, digest: str) -> str:
    parent, _, name = path.rpartition("/")
    return f"targets/{parent}/{digest}.{name}"


def _name(role: str, version: int) -> str:
    return "metadata/timestamp.json" if role == "timestamp" else f"metadata/{version}.{role}.json"


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and _read(path) == content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; restore a copy of the repository") from error
