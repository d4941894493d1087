"""Check a release as somebody who does not trust it: every hash, the certificate recomputed, and the risk on own rows.

Not here: signatures (`update/`). Invariant: nothing that the release says of itself is believed without recomputing.
"""

from pathlib import Path

import msgspec

from tianti.certificate import REJECTED, Answers, recheck, void_reason
from tianti.data import read_table
from tianti.data.read import Columns
from tianti.errors import IntegrityError
from tianti.package import Release, read_release, verify_release
from tianti.pipeline.evaluation import LevelEvaluation
from tianti.pipeline.readings import run_package, truth_of
from tianti.pipeline.stages.evaluate import evaluate_levels
from tianti.spec import TIERS
from tianti.spec.ladder import PriceSpec
from tianti.store import canonical_json, sha256_bytes


class OwnRows(msgspec.Struct, frozen=True, kw_only=True):
    """What the ladder does on the caller's rows. `void` says why the certificate does not speak about them, if so."""

    n: int
    out_of_scope_share: float
    void: str | None
    levels: list[LevelEvaluation]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; a release that fails a check raises instead."""

    release: str
    confidence: float
    certify_rows: int
    certified: tuple[float, ...]
    own: OwnRows | None

    def lines(self) -> list[str]:
        """Sentences for people."""
        levels = ", ".join(f"{alpha:.1%}" for alpha in self.certified) or "none"
        found = [
            f"release {self.release}",
            "files: every hash is as named",
            f"certificate: recomputed from {self.certify_rows} rows",
            f"certified levels: {levels} ({self.confidence:.0%} confidence, all together)",
        ]
        if self.own is None:
            return found
        found.append(f"your data: {self.own.n} rows, {self.own.out_of_scope_share:.1%} out of scope")
        if self.own.void:
            found.append(f"CERTIFICATE VOID for this data: {self.own.void}")
        for level in self.own.levels:
            where = ", ".join(f"{tier} {level.share[tier]:.1%}" for tier in TIERS)
            what = "certified" if level.certified else "not certified, all to the cloud"
            risk = f"harm {level.test_harm:.2%}, accuracy {level.test_accuracy:.1%}"
            found.append(f"  at {level.alpha:.1%} ({what}): {risk}; {where}")
        return found


def verify(folder: Path, data: Path | None = None, text: str = "text", label: str = "label") -> Findings:
    """Check a release and, with `data`, what it risks on those rows.

    Raises:
        IntegrityError: a file, a binding or the certificate is not what it says.
        DataError: the rows cannot be read.
    """
    release = read_release(folder)
    verify_release(release)
    _check_binding(release)
    certificate = release.record.certificate
    if wrong := recheck(certificate):
        raise IntegrityError(f"the certificate does not follow from its own counts: {'; '.join(wrong)}")
    return Findings(
        release=release.id,
        confidence=certificate.confidence,
        certify_rows=certificate.n,
        certified=certificate.certified_alphas,
        own=None if data is None else _own_rows(release, data, text, label),
    )


def _check_binding(release: Release) -> None:
    """The certificate must speak about exactly the packages and heads that are shipped with it."""
    bound = release.record.certificate.bound
    shipped = {
        **{f"package.{tier}": package for tier, package in release.record.packages.items()},
        **{f"head.{tier}": sha256_bytes(canonical_json(head)) for tier, head in release.record.heads.items()},
    }
    for name, found in shipped.items():
        if bound.get(name) != found:
            raise IntegrityError(f"the certificate is for {name} {bound.get(name)}, the release has {found}; run again")


def _own_rows(release: Release, data: Path, text: str, label: str) -> OwnRows:
    record = release.record
    rows = read_table(str(data), Path(), Columns(text=text, label=label), None)
    truth = truth_of(rows, record.labels, record.out_of_scope)
    answers = {}
    for tier in TIERS:
        outputs = run_package(release.package(tier).folder, [row.text for row in rows])
        said = outputs.read(record.heads[tier])
        answers[tier] = Answers(said.score, said.right(truth))
    outside = int((truth == REJECTED).sum())
    return OwnRows(
        n=len(rows),
        out_of_scope_share=outside / len(rows),
        void=void_reason(record.certificate, outside, len(rows)),
        levels=evaluate_levels(record.certificate, answers, PriceSpec(**record.prices)),
    )
