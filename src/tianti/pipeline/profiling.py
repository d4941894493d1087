"""Measure packages as `tianti bench` does on a real device: each in a new process, which holds nothing else.

Not here: what is measured (`runtimes.measure`), budgets (`gates`). Invariant: a latency is of this CPU unless a profile
of another machine says how much slower that one runs the very same package.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tianti.errors import SpecError, StageError
from tianti.package import ModelPackage, read_package
from tianti.pipeline.workspace import Workspace
from tianti.runtimes.measure import SCHEMA, Profile
from tianti.spec import Tier
from tianti.spec.ladder import LadderSpec
from tianti.store import sha256_file


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What a package costs where it runs; fields as in `TierEvaluation`."""

    size_bytes: int
    download_bytes: int | None
    memory_bytes: int | None
    latency_ms: dict[str, float]
    machine: str


class Slowdown(msgspec.Struct, frozen=True):
    """How many times as long as here a text takes on another machine."""

    machine: str
    factor: float


def measure_costs(spec: LadderSpec, tier: Tier, folder: Path, texts: Sequence[str], base: Path) -> Costs:
    """Measure a tier's package; its latency as on the profiled machine, where the spec names a profile."""
    from tianti.compression import measure_download

    profile = profile_apart(folder, texts)
    slowdown = Slowdown("this CPU", 1.0)
    if tier is not Tier.CLOUD and (path := spec.student_of(tier).profile) is not None:
        slowdown = find_slowdown(base / path, Workspace(base).releases)
    return Costs(
        size_bytes=read_package(folder).manifest.size_bytes,
        # nobody fetches the cloud's, and packing a large model well takes seconds
        download_bytes=None if tier is Tier.CLOUD else measure_download(folder),
        memory_bytes=profile.memory_bytes,
        latency_ms={name: took * slowdown.factor for name, took in profile.latency_ms.items()},
        machine=slowdown.machine,
    )


def profile_digests(spec: LadderSpec, base: Path) -> list[str]:
    """SHA-256 of the profiles that a spec names: another profile is another measurement."""
    named = (student.profile for student in spec.students.values())
    return [sha256_file(base / path) for path in named if path is not None and (base / path).is_file()]


def profile_apart(folder: Path, texts: Sequence[str] = ()) -> Profile:
    """Measure a package in a new process, on `texts` or else on those that it carries.

    Raises:
        StageError: the process failed.
    """
    # -P: the current folder's files are not to be taken for modules
    command = [sys.executable, "-P", "-m", "tianti", "bench", str(folder), "--json"]
    lines = "".join(" ".join(text.splitlines()) + "\n" for text in texts)
    done = subprocess.run(
        [*command, "--texts", "-"] if texts else command,
        input=lines,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise StageError(f"measuring {folder} failed: {done.stderr.strip()}")
    return msgspec.json.decode(done.stdout, type=Profile)


def find_slowdown(path: Path, releases: Path) -> Slowdown:
    """Compare what a profile says of a package with what the same package takes here.

    Raises:
        SpecError: the file is no profile, or no release here holds the package that it was made with.
    """
    profile, package = read_profile(path, releases)
    here = profile_apart(package.folder)
    return Slowdown(profile.machine, profile.latency_ms["p50"] / here.latency_ms["p50"])


def read_profile(path: Path, releases: Path) -> tuple[Profile, ModelPackage]:
    """A profile and the package that it was made with.

    Raises:
        SpecError: the file is no profile, or no release here holds its package.
    """
    try:
        profile = msgspec.json.decode(path.read_bytes(), type=Profile)
    except (OSError, msgspec.DecodeError) as error:
        cure = "write it on the device: tianti bench PACKAGE --json"
        raise SpecError(f"profile: {path} cannot be read ({error}); {cure}") from error
    if profile.schema != SCHEMA:
        raise SpecError(f"profile: expected schema {SCHEMA}, got {profile.schema!r}; update tianti")
    packages = (read_package(found.parent) for found in releases.glob("*/packages/*/manifest.json"))
    package = next((package for package in packages if package.id == profile.package), None)
    if package is None:
        cure = "run `tianti bench` there on a package of a release of this workspace"
        raise SpecError(f"profile: {path} is of package {profile.package[:12]}, which {releases} does not hold; {cure}")
    if profile.texts != len(package.goldens()):
        cure = "run `tianti bench` there without --texts"
        raise SpecError(f"profile: {path} is of {profile.texts} texts, expected the package's own; {cure}")
    return profile, package
