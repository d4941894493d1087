"""A repository's folder: static files that any web server can hand out.

    metadata/{N.root,N.snapshot,N.targets,N.models,N.rollout,timestamp}.json
    targets/models/<product>/<sha256>.<release>.json   blobs/<ab>/<sha256>   blobs/patch/<new>/<old>.<codec>

Not here: what the metadata says (`repository`), reading it again (`reading`).
Invariants: a file is written before the one that names it, and the timestamp makes all of it visible at once; so a
reader sees the repository of before or of after, and a publish that was cut off can be done again. A new root comes
last of all: what it accepts is there already.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tianti.errors import StoreError, UsageError
from tianti.package import Shipment, shipment_path
from tianti.release.reading import (
    blob_place,
    decoded,
    metadata_path,
    patch_place,
    read_file,
    read_repository,
    target_place,
)
from tianti.release.repository import NAMED, Repository, Signers, check_clock, is_sealed, seal, to_bytes
from tianti.spec import TIERS, Tier
from tianti.store import canonical_json, sha256_bytes, write_atomic

_PATIENCE_S = 60.0


def blob_places(shipment: Shipment, tiers: Collection[Tier] = TIERS) -> set[str]:
    """Where the files of these tiers lie in the folder, and the patches that make them."""
    files = {file.sha256 for file in shipment.files.values() if file.tier is None or file.tier in tiers}
    patches = ((new, patch) for new, found in shipment.patches.items() if new in files for patch in found)
    return {blob_place(digest) for digest in files} | {patch_place(new, p.old, p.codec) for new, p in patches}


def publish_next(
    folder: Path,
    trusted_root: bytes,
    signers: Signers,
    now_s: int,
    step: Callable[[Repository], Repository],
    shipments: Iterable[Shipment] = (),
) -> tuple[Repository, list[str]]:
    """Publish what `step` makes of what is there, sealed; nobody else publishes between. It, and the files written.

    Raises:
        UsageError: the step cannot be taken, or signatures are too few.
        IntegrityError: the repository is not the one of this root.
        StoreError: the folder cannot be read or written, somebody else publishes for long, or the clock is wrong.
    """
    with _alone(folder):
        before = read_repository(folder, trusted_root)
        after = seal(step(before), signers, now_s)
        check_clock(before, after, now_s)
        return after, _write(folder, after, shipments)


def publish(folder: Path, repository: Repository, shipments: Iterable[Shipment] = ()) -> list[str]:
    """Write what the folder does not have yet; returns the files written, in order.

    `shipments` are the new ones, whose blobs are there already (`publishing.lay_release`).

    Raises:
        UsageError: it is not sealed, somebody published since `repository` was read, a shipment is neither there nor
            given, or a blob of one is not there.
        StoreError: the folder cannot be written; do it again.
    """
    if not is_sealed(repository):
        raise UsageError("expected a repository whose timestamp names every edit, got one with more; `seal` it first")
    with _alone(folder):
        return _write(folder, repository, shipments)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=_PATIENCE_S):
            yield
    except Timeout:
        message = f"{folder}: expected to publish, but another one has been at it for {_PATIENCE_S:.0f} s; end that one"
        raise StoreError(message) from None


def _write(folder: Path, repository: Repository, shipments: Iterable[Shipment]) -> list[str]:
    written = []
    _check_next(folder, repository)
    for path, content in _in_order(folder, repository, shipments):
        if not _holds(folder / path, content):
            write_atomic(folder / path, content)
            written.append(path)
    return written


def _in_order(folder: Path, repository: Repository, shipments: Iterable[Shipment]) -> Iterator[tuple[str, bytes]]:
    shipped = {shipment_path(shipment.product, shipment.release): shipment for shipment in shipments}
    for path, target in repository.models.signed.targets.items():
        place = target_place(path, target.hashes["sha256"])
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
        yield metadata_path(role, metadata.signed.version), to_bytes(metadata)
    for root in repository.roots:
        yield metadata_path("root", root.signed.version), to_bytes(root)


def _check_blobs(folder: Path, shipment: Shipment) -> None:
    if lacking := sorted(place for place in blob_places(shipment) if not (folder / place).is_file()):
        raise UsageError(
            f"{folder}: expected {lacking[0]} and {len(lacking) - 1} more, got none; lay the release first"
        )


def _check_next(folder: Path, repository: Repository) -> None:
    """A publish that does not follow from what is there would take another's back, and clients would refuse it."""
    path = folder / metadata_path("timestamp", 0)
    if not path.is_file():
        return
    there = decoded(read_file(path), "timestamp").signed.version
    given = repository.timestamp.signed.version
    stale = given < there or (given == there and not _holds(path, to_bytes(repository.timestamp)))
    roots = [folder / metadata_path("root", root.signed.version) for root in repository.roots]
    other = [p for p, r in zip(roots, repository.roots, strict=True) if p.is_file() and not _holds(p, to_bytes(r))]
    next_root = folder / metadata_path("root", repository.root.signed.version + 1)
    if stale or other or next_root.is_file():
        raise UsageError(
            f"{folder}: expected what follows from its timestamp {there}, got {given}; read it and edit again"
        )
    if sum(not p.is_file() for p in roots) > 1:
        raise UsageError(f"{folder}: expected one new root at a time, got more; publish after each rotation")


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and read_file(path) == content
