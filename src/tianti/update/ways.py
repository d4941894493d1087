"""How each file of a release can come to a device: it is there under another name, by a patch, or whole.

Not here: doing it (`install`). Invariant: what is named here is a promise of some record, and is compared with the
signed hash by whoever reads it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from tianti.errors import PackageError
from tianti.package import Shipment, decode_shipment
from tianti.package.patch import Codec
from tianti.package.shipment import ShippedFile, ShippedPatch
from tianti.spec import Tier

SHIPMENT = "shipment.json"

There = Mapping[str, Path]
"""Files on this disk by their SHA-256."""


class Patched(NamedTuple):
    """A patch, and where its old file is."""

    patch: ShippedPatch
    old: Path


def read_shipment(release: Path) -> Shipment | None:
    """The shipment that a folder's release was installed from; None: it is not complete."""
    path = release / SHIPMENT
    try:
        return decode_shipment(path.read_bytes(), path)
    except (OSError, PackageError):
        return None


def wanted(shipment: Shipment, tier: Tier) -> dict[str, ShippedFile]:
    """The files of a release that a tier needs, by path."""
    return {name: file for name, file in shipment.files.items() if file.tier in (None, tier)}


def files_there(releases: Sequence[Path]) -> dict[str, Path]:
    """The files of installed releases; the first release that has one counts."""
    found: dict[str, Path] = {}
    for release in releases:
        shipment = read_shipment(release)
        for name, file in shipment.files.items() if shipment else ():
            if (release / name).is_file():
                found.setdefault(file.sha256, release / name)
    return found


def best_patch(shipment: Shipment, file: ShippedFile, there: There) -> Patched | None:
    """The smallest patch that can be used here; None where the whole file is not larger."""
    offered = shipment.patches.get(file.sha256, ())
    usable = [patch for patch in offered if patch.codec in get_args(Codec) and patch.old in there]
    best = min(usable, key=lambda patch: patch.size_bytes, default=None)
    if best is None or best.size_bytes >= whole_bytes(shipment, file):
        return None
    return Patched(best, there[best.old])


def whole_bytes(shipment: Shipment, file: ShippedFile) -> int:
    """What fetching a file whole takes."""
    packed = shipment.compressed.get(file.sha256)
    return file.size_bytes if packed is None else packed.size_bytes


def fetched_bytes(shipment: Shipment, file: ShippedFile, there: There) -> int:
    """What a file's best way takes from the repository."""
    if file.sha256 in there:
        return 0
    patched = best_patch(shipment, file, there)
    return whole_bytes(shipment, file) if patched is None else patched.patch.size_bytes


def download_bytes(shipment: Shipment, tier: Tier, have: Sequence[Path]) -> int:
    """How many bytes an install would fetch, with the installed releases in the folders `have` to make files from."""
    there = files_there(have)
    distinct = {file.sha256: file for file in wanted(shipment, tier).values()}
    return sum(fetched_bytes(shipment, file, there) for file in distinct.values())
