"""Copy what devices without a network need onto a stick: all metadata, and the releases that rollouts name.

Not here: reading it on the device (`update`). Invariant: what comes out is a repository too, whole for the tiers asked
for; the timestamp, last but for the roots, makes it visible.
"""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from tianti.errors import StoreError, UsageError
from tianti.package import Shipment, shipment_path
from tianti.release.folder import blob_places
from tianti.release.lint import ROLES, lint_repository
from tianti.release.offers import read_rollouts
from tianti.release.publishing import Progress
from tianti.release.reading import metadata_path, read_shipment, target_place
from tianti.release.repository import NAMED, Repository, to_bytes
from tianti.release.upload import Copied, FolderPlace, copy_to
from tianti.spec import TIERS, Tier


class Exported(NamedTuple):
    """What was copied, what it holds, and until when devices take it."""

    copied: Copied
    releases: tuple[str, ...]
    valid_until_s: int


def export_media(
    folder: Path,
    repository: Repository,
    media: Path,
    now_s: int,
    progress: Progress,
    *,
    products: Collection[str] = (),
    tiers: Collection[Tier] = TIERS,
) -> Exported:
    """Copy what the rollouts of these products name, for these tiers; no product: of all.

    Raises:
        UsageError: nothing is rolled out, the media holds a later repository, or devices would refuse this one.
        StoreError: the media is full or cannot be written.
    """
    if wrong := lint_repository(repository, now_s):
        raise UsageError(f"expected a repository that devices take, got: {'; '.join(wrong)}")
    shipments = _rolled_out(folder, repository, products)
    paths = sorted({place for shipment in shipments for place in blob_places(shipment, tiers)})
    for name in sorted(shipment_path(shipment.product, shipment.release) for shipment in shipments):
        paths.append(target_place(name, repository.models.signed.targets[name].hashes["sha256"]))
    for role in (*NAMED, "snapshot", "timestamp"):
        paths.append(metadata_path(role, getattr(repository, role).signed.version))
    paths += [metadata_path("root", root.signed.version) for root in repository.roots]
    place = FolderPlace(media)
    _check_space(folder, place, paths)
    copied = copy_to(folder, place, paths, to_bytes(repository.timestamp), progress)
    until_s = min(int(getattr(repository, role).signed.expires.timestamp()) for role in ROLES)
    return Exported(copied, tuple(shipment.release for shipment in shipments), until_s)


def _rolled_out(folder: Path, repository: Repository, products: Collection[str]) -> list[Shipment]:
    named: dict[tuple[str, str], None] = {}
    for rollout, _ in read_rollouts(repository):
        if not products or rollout.product in products:
            named |= {(rollout.product, release): None for release in (rollout.release, rollout.previous) if release}
    if lacking := set(products) - {product for product, _ in named}:
        raise UsageError(f"expected products with a rollout, got {', '.join(sorted(lacking))}; start one first")
    if not named:
        raise UsageError("expected a repository with a rollout, got none; start one first")
    return [read_shipment(folder, repository, product, release) for product, release in named]


def _check_space(folder: Path, place: FolderPlace, paths: list[str]) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    needed = sum((folder / path).stat().st_size for path in paths if place.size(path) is None)
    free = shutil.disk_usage(place.folder).free
    if needed > free:
        raise StoreError(
            f"{place.folder}: expected {needed:,} bytes of space, got {free:,}; free some, or take fewer tiers"
        )
