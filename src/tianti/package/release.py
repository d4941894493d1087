"""Release: the packages of every tier, their score heads, the certificate and the metrics, bound by hash.

    release.json  packages/device/…  packages/edge/…  packages/cloud/…

Not here: signing and publishing (`release/`). Invariants: a release's id is the SHA-256 of release.json, which names
each package by id; a folder whose packages differ from those named cannot be read. The format's page: FORMAT.md.
"""

import shutil
from pathlib import Path
from typing import Any

import msgspec

from tianti.errors import IntegrityError, PackageError
from tianti.package.manifest import ModelPackage, decode_record, read_package, verify_package
from tianti.spec import TIERS, Certificate, ScoreHead, Tier, Usual
from tianti.spec.privacy import PrivacyPolicy
from tianti.store import canonical_json, sha256_bytes, write_atomic

SCHEMA = "tianti.release/1"


class ReleaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of release.json. `usual` and `metrics` are for people and reports; nothing decides on them."""

    schema: str = SCHEMA
    name: str
    task: str = "text-classification"
    labels: tuple[str, ...]
    out_of_scope: str | None
    packages: dict[Tier, str]
    heads: dict[Tier, ScoreHead]
    certificate: Certificate
    privacy: PrivacyPolicy | None = None  # None: texts leave as they are
    usual: dict[Tier, Usual] = {}
    metrics: dict[str, Any] = {}
    prices: dict[str, float] = {}
    lineage: dict[str, str] = {}


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A release on disk; `id` is the SHA-256 of its release.json."""

    folder: Path
    record: ReleaseRecord
    id: str

    def package(self, tier: Tier) -> ModelPackage:
        """The package of a tier, its manifest checked against the id that release.json names."""
        expected = self.record.packages[tier]
        package = read_package(self.folder / "packages" / tier)
        if package.id != expected:
            found = f"{package.folder}: expected package {expected}, got {package.id}"
            raise IntegrityError(f"{found}; fetch the release again")
        return package


def write_release(folder: Path, record: ReleaseRecord, packages: dict[Tier, Path]) -> Release:
    """Lay out a release in an empty folder; release.json is written last."""
    for tier, source in packages.items():
        shutil.copytree(source, folder / "packages" / tier)
    write_atomic(folder / "release.json", canonical_json(record))
    return read_release(folder)


def read_release(folder: Path) -> Release:
    """Read release.json.

    Raises:
        PackageError: there is none, or it is malformed, or of another schema.
    """
    try:
        content = (folder / "release.json").read_bytes()
    except OSError:
        raise PackageError(f"{folder} is not a release: it has no release.json") from None
    record = decode_record(content, ReleaseRecord, folder / "release.json")
    if record.schema != SCHEMA:
        raise PackageError(f"{folder}: expected schema {SCHEMA}, got {record.schema!r}; update tianti")
    if set(record.packages) != set(record.heads):
        raise PackageError(f"{folder / 'release.json'} is malformed: expected a score head for every package")
    points = [level.point for level in record.certificate.levels if level.point is not None]
    if not set(points) <= set(range(len(record.certificate.path))):
        raise PackageError(f"{folder / 'release.json'} is malformed: a level's point is not on the certificate's path")
    return Release(folder=folder, record=record, id=sha256_bytes(content))


def verify_release(release: Release) -> None:
    """Check what a release's certificate is bound to, and every file of every package.

    Raises:
        IntegrityError: some bytes are not those that the release was made of.
    """
    check_binding(release.record)
    for tier in TIERS:
        if tier in release.record.packages:
            verify_package(release.package(tier))


def bind(
    packages: dict[Tier, str], heads: dict[Tier, ScoreHead], privacy: PrivacyPolicy | None = None
) -> dict[str, str]:
    """What a certificate speaks about, by hash: another model, head or redactor makes it another certificate."""
    return {
        **({} if privacy is None else {"privacy": sha256_bytes(canonical_json(privacy))}),
        **{f"package.{tier}": package for tier, package in packages.items()},
        **{f"head.{tier}": sha256_bytes(canonical_json(head)) for tier, head in heads.items()},
    }


def check_binding(record: ReleaseRecord) -> None:
    """Check that the certificate speaks about exactly the packages, heads and privacy that are shipped with it.

    Raises:
        IntegrityError: it is about others.
    """
    bound = record.certificate.bound
    for name, found in {"privacy": None, **bind(record.packages, record.heads, record.privacy)}.items():
        if bound.get(name) != found:
            raise IntegrityError(f"the certificate is for {name} {bound.get(name)}, the release has {found}; run again")


def find_release(name: str, releases: Path) -> Path:
    """The folder of a release given as a folder, an id (or the first 6 or more digits of one) or `latest`.

    Raises:
        PackageError: none or several fit.
        IntegrityError: what is kept under this id is another release.
    """
    if (Path(name) / "release.json").is_file():
        return Path(name)
    if name == "latest":
        pointer = releases / "latest"
        if not pointer.is_file():
            raise PackageError(f"no release in {releases} yet; `tianti run` makes one")
        return _with_its_id(releases / pointer.read_text(encoding="utf-8", errors="replace").strip())
    found = sorted(releases.glob(f"{name}*/release.json")) if len(name) >= 6 and name.isalnum() else []
    if len(found) != 1:
        known = ", ".join(sorted(path.parent.name[:12] for path in releases.glob("*/release.json"))) or "none"
        raise PackageError(f"no single release {name!r}: expected a folder, an id or `latest`; here: {known}")
    return _with_its_id(found[0].parent)


def _with_its_id(folder: Path) -> Path:
    if (found := read_release(folder).id) != folder.name:
        raise IntegrityError(f"{folder}: release.json was changed, it is release {found} now; run or fetch it again")
    return folder
