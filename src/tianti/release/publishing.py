"""Lay a release's files into a repository's folder: packed where that pays, with patches from the releases before it.

Not here: signing (`edits`), what is visible to devices (`folder.publish`). Invariants: a file goes in under the hash of
its content and is never replaced by another form of it, since shipments name the form; nothing laid here is seen
before a shipment that names it is published, so laying may be cut off and done again, and what is whole is kept.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tianti.errors import IntegrityError
from tianti.package import Release, ReleaseRecord, Shipment, ship
from tianti.package.manifest import decode_record
from tianti.package.packed import pack, unpack
from tianti.package.patch import apply_patch, make_patch
from tianti.package.shipment import Compressed, ShippedFile, ShippedPatch
from tianti.release.offers import Offer, floor_of, offers, revoked
from tianti.release.reading import blob_place, patch_place, read_blob, read_file, read_shipment
from tianti.release.repository import Repository
from tianti.spec import Tier
from tianti.store import sha256_bytes, write_atomic

PATCHES = 3
"""Devices that are further behind fetch whole files."""
_WORTH_PACKING = 0.97
_LEAST_BYTES, _MOST_BYTES = 1 << 12, 1 << 28  # smaller is not worth a request; larger takes gigabytes to compare
Progress = Callable[[int, int, str], object]
"""Called with what is done, of how much, and what is next."""


def lay_release(
    folder: Path,
    repository: Repository,
    release: Release,
    progress: Progress,
    *,
    patches: int = PATCHES,
    min_runtime: str | None = None,
    abi: str | None = None,
) -> Shipment:
    """Write the files of a release, and patches from the last `patches` releases of its product; its shipment.

    `min_runtime`: the oldest Tianti that runs it; None: the one that made it.

    Raises:
        PackageError: a package of the release cannot be read; IntegrityError: a file of it, or of a release that
            patches are made from, is not the one that is named.
        StoreError: a file cannot be read or written.
    """
    made_by = release.record.lineage.get("tianti", "0")
    shipment = ship(release, counter=_counter(repository, release), min_runtime=min_runtime or made_by, abi=abi)
    pairs = list(_pairs(folder, repository, shipment, patches))
    total = len(shipment.files) + len(pairs)
    compressed, found = {}, dict[str, list[ShippedPatch]]()
    for done, (name, file) in enumerate(shipment.files.items()):
        progress(done, total, name)
        if packed := _lay_file(folder, release.folder / name, file):
            compressed[file.sha256] = Compressed(packed)
    for done, (name, old, new) in enumerate(pairs, start=len(shipment.files)):
        progress(done, total, f"patch of {name}")
        if patch := _lay_patch(folder, old, new):
            found.setdefault(new.sha256, []).append(patch)
    progress(total, total, "")
    patched = {digest: tuple(patches) for digest, patches in found.items()}
    return msgspec.structs.replace(shipment, compressed=compressed, patches=patched)


def download_bytes(shipment: Shipment, tier: Tier, have: Shipment | None = None) -> int:
    """What a device of this tier fetches, at most: one that has the release `have`, or none."""
    owned = set() if have is None else {file.sha256 for file in have.files.values() if file.tier in (None, tier)}
    wanted = {file.sha256: file for file in shipment.files.values() if file.tier in (None, tier)}
    total = 0
    for digest, file in wanted.items():
        sizes = [patch.size_bytes for patch in shipment.patches.get(digest, ()) if patch.old in owned]
        total += 0 if digest in owned else min([*sizes, shipment.compressed.get(digest, file).size_bytes])
    return total


def read_record(folder: Path, repository: Repository, offer: Offer) -> ReleaseRecord:
    """The release.json of a release that is offered.

    Raises:
        PackageError: it cannot be read by this version; IntegrityError: it is another one.
        StoreError: it cannot be read.
    """
    shipment = read_shipment(folder, repository, offer.product, offer.release)
    file = shipment.files["release.json"]
    return decode_record(read_blob(folder, file), ReleaseRecord, folder / blob_place(file.sha256))


def _counter(repository: Repository, release: Release) -> int:
    """One above the product's newest; a release that is offered already keeps its own."""
    known = {offer.release: offer.counter for offer in offers(repository, release.record.name)}
    floor = floor_of(repository, release.record.name)
    return known.get(release.id, max([*known.values(), floor - 1, 0]) + 1)


def _pairs(
    folder: Path, repository: Repository, shipment: Shipment, patches: int
) -> Iterator[tuple[str, ShippedFile, ShippedFile]]:
    """Files of the releases before, and those that follow them in the same place."""
    gone, seen = revoked(repository), set()
    before = [offer for offer in offers(repository, shipment.product) if offer.counter < shipment.counter]
    for offer in [offer for offer in before if offer.release not in gone][:patches]:
        olds = read_shipment(folder, repository, shipment.product, offer.release).files
        for name, new in shipment.files.items():
            old = olds.get(name)
            if old is None or old.sha256 == new.sha256 or (old.sha256, new.sha256) in seen:
                continue
            if new.size_bytes >= _LEAST_BYTES and max(old.size_bytes, new.size_bytes) <= _MOST_BYTES:
                seen.add((old.sha256, new.sha256))
                yield name, old, new


def _lay_file(folder: Path, source: Path, file: ShippedFile) -> int | None:
    """Make sure that a file is there; its packed size, None where it lies as it is."""
    place = folder / blob_place(file.sha256)
    if place.is_file() and (kept := _kept(place, file)) is not None:
        return kept or None
    content = read_file(source)
    if (found := sha256_bytes(content)) != file.sha256:
        raise IntegrityError(f"{source}: expected sha256 {file.sha256}, got {found}; fetch the release again")
    packed = pack(content)
    pays = len(packed) <= _WORTH_PACKING * len(content)
    write_atomic(place, packed if pays else content)
    return len(packed) if pays else None


def _kept(place: Path, file: ShippedFile) -> int | None:
    """The packed size of what is there, 0 if it is not packed; None: it is damaged."""
    content = read_file(place)
    if sha256_bytes(content) == file.sha256:
        return 0
    try:
        whole = b"".join(unpack(content, file.size_bytes))
    except IntegrityError:
        return None
    return len(content) if sha256_bytes(whole) == file.sha256 else None


def _lay_patch(folder: Path, old: ShippedFile, new: ShippedFile) -> ShippedPatch | None:
    before = read_blob(folder, old)
    for codec in ("sub", "pfx"):
        place = folder / patch_place(new.sha256, old.sha256, codec)
        if place.is_file() and _leads(codec, before, content := read_file(place), new):
            return ShippedPatch(old.sha256, codec, sha256_bytes(content), len(content))
    patch = make_patch(before, read_blob(folder, new))
    if patch is None:
        return None
    write_atomic(folder / patch_place(new.sha256, old.sha256, patch.codec), patch.content)
    return ShippedPatch(old.sha256, patch.codec, sha256_bytes(patch.content), len(patch.content))


def _leads(codec: str, before: bytes, patch: bytes, new: ShippedFile) -> bool:
    try:
        return sha256_bytes(apply_patch(codec, before, patch, new.size_bytes)) == new.sha256
    except IntegrityError:
        return False
