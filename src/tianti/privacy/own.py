"""A user's own detectors, bound to a release: what they consist of is hashed where it is built, and checked where it
is used.

Not here: what they must do (`contract`), holding them to it (`finder`).
Invariant: a redactor is opened with the detectors that the policy's certificate was computed with, or not at all.
"""

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from tianti.errors import PrivacyError, SpecError
from tianti.privacy.contract import RULES, Detector
from tianti.privacy.placeholders import ESCAPED
from tianti.privacy.redactor import Redactor
from tianti.spec.named import find_function
from tianti.spec.privacy import BoundDetector, DetectorSpec, PrivacyPolicy, PrivacySpec
from tianti.store import canonical_json, sha256_bytes, sha256_file


def bind_policy(spec: PrivacySpec, base: Path) -> PrivacyPolicy:
    """What a release says of leaving; `base` is where modules of own detectors lie.

    Raises:
        SpecError: an own detector cannot be imported, or takes the name of what is not personal data; or a region's
            phone numbers are not known.
    """
    _check_regions(spec.regions)
    own = tuple(_bind(detector, base) for detector in spec.own)
    return PrivacyPolicy(rules=RULES, default=spec.default, types=spec.types, regions=spec.regions, own=own)


def open_redactor(policy: PrivacyPolicy, base: Path | None = None) -> Redactor:
    """The redactor of a release; `base` is where modules of own detectors lie besides where Python looks for them.

    Raises:
        PrivacyError: an own detector is not on this machine, or is another one than the release was built with.
    """
    return Redactor(policy, tuple(_open(bound, base or Path()) for bound in policy.own))


def _check_regions(regions: Sequence[str]) -> None:
    from phonenumbers import SUPPORTED_REGIONS

    if strange := [region for region in regions if region not in SUPPORTED_REGIONS]:
        got = f"got {strange[0]}" + ("; did you mean GB?" if strange[0] == "UK" else "")
        raise SpecError(f"privacy.regions: expected ISO 3166-1 codes such as CN, US or GB, {got}")


def _bind(detector: DetectorSpec, base: Path) -> BoundDetector:
    if ESCAPED in detector.types:
        raise SpecError(
            f"{detector.use!r}: {ESCAPED!r} is the type of what looks like a placeholder; name yours otherwise"
        )
    function = find_function(detector.use, base)
    return BoundDetector(use=detector.use, types=detector.types, sha256=_digest(detector.use, function))


def _open(bound: BoundDetector, base: Path) -> tuple[Detector, frozenset[str]]:
    cure = "install here what the release was built with and start anew, or build a release with what is here"
    try:
        function = find_function(bound.use, base)
        found = _digest(bound.use, function)
    except SpecError as error:
        raise PrivacyError(f"this release's own detector is not here: {error}; {cure}") from error
    if found != bound.sha256:
        raise PrivacyError(
            f"the own detector {bound.use!r} is another one than this release's certificate was computed with: "
            f"expected {bound.sha256[:12]}, got {found[:12]}; {cure}"
        )
    return function, frozenset(bound.types)


def _digest(use: str, function: Detector) -> str:
    """Of the module's file and of what the detector says it consists of besides."""
    code = _hash(sys.modules[use.partition(":")[0]])
    if code is None:
        raise SpecError(f"{use!r}: its module has no file to hash; put the detector into a .py file")
    return sha256_bytes(canonical_json([code, str(getattr(function, "digest", ""))]))


@cache  # what was loaded is what runs, whatever the file is made later
def _hash(module: ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    return None if file is None or not Path(file).is_file() else sha256_file(Path(file))
