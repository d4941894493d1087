"""Check a release as somebody who does not trust it: every hash, the certificate recomputed, and the risk on own rows.

Not here: signatures (`update/`). Invariant: nothing that the release says of itself is believed without recomputing.
"""

import asyncio
import difflib
from pathlib import Path

import msgspec

from tianti.certificate import REJECTED, recheck, void_reason
from tianti.data import Row, read_table, text_key
from tianti.data.read import Columns
from tianti.errors import DataError, IntegrityError, UpstreamError, UsageError
from tianti.package import ModelPackage, Release, ReleaseRecord, read_release, verify_release
from tianti.pipeline.asking import answer_store, ask_all
from tianti.pipeline.evaluation import LevelEvaluation
from tianti.pipeline.leaving import Leavings, leave
from tianti.pipeline.readings import UNKNOWN, Outputs, Told, run_package, truth_of
from tianti.pipeline.stages.ask import tell
from tianti.pipeline.stages.evaluate import evaluate_levels
from tianti.privacy import RULES, Redactor, open_redactor
from tianti.protocols.tensors import Classified
from tianti.runtimes.endpoint import client_of
from tianti.runtimes.goldens import run_goldens
from tianti.spec import TIERS, GroupRisk, Risk, Tier, percent
from tianti.spec.ladder import PriceSpec
from tianti.spec.privacy import TYPES, Handling, PrivacyPolicy


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
    risk: Risk
    certified: tuple[float, ...]
    privacy: PrivacyPolicy | None
    groups: tuple[GroupRisk, ...]
    called: str | None  # of a cloud that is only called: what it says of the self-tests
    own: OwnRows | None

    def lines(self) -> list[str]:
        """Sentences for people."""
        levels = ", ".join(map(percent, self.certified)) or "none"
        found = [
            f"release {self.release}",
            "files: every hash is as named, every self-test gives what it must on this machine",
            f"certificate: recomputed from {self.certify_rows} rows",
            f"certified levels: {levels} ({self.risk}, {percent(self.confidence)} confidence, all together)",
            f"privacy: {_in_words(self.privacy)}",
        ]
        for group in self.groups:
            limits = ", ".join("unknown" if bound is None else percent(bound) for bound in group.bounds)
            found.append(f"  within {group.column} = {group.value} ({group.n} rows): {limits}")
        if self.called is not None:
            found.append(self.called)
        if self.own is None:
            return found
        found.append(f"your data: {self.own.n} rows, {self.own.out_of_scope_share:.1%} out of scope")
        if self.own.void:
            found.append(f"CERTIFICATE VOID for this data: {self.own.void}")
        for level in self.own.levels:
            where = ", ".join(f"{tier} {level.share[tier]:.1%}" for tier in TIERS)
            what = "certified" if level.certified else "not certified, all to the cloud"
            risked = f"{self.risk} {level.test_risk:.2%}, accuracy {level.test_accuracy:.1%}"
            held = f", held as private {level.held:.1%}" if level.held else ""
            found.append(f"  at {percent(level.alpha)} ({what}): {risked}; {where}{held}")
        return found


def _in_words(policy: PrivacyPolicy | None) -> str:
    if policy is None:
        return "texts leave as they are"
    own = [kind for detector in policy.own for kind in detector.types]
    kinds: dict[Handling, list[str]] = {"local_only": [], "allow": []}
    for kind in sorted({*TYPES, *own}):
        if (handling := policy.handling(kind)) != "redact":
            kinds[handling].append(kind)
    said = [f"{handling}: {', '.join(found)}" for handling, found in kinds.items() if found]
    by = f"; own detectors: {', '.join(detector.use for detector in policy.own)}" if policy.own else ""
    return f"{'; '.join([*said, 'redact: all' + ' other' * bool(said)])} types of rules {policy.rules}{by}"


def verify(
    folder: Path, data: Path | None = None, text: str = "text", label: str = "label", encoding: str | None = None
) -> Findings:
    """Check a release and, with `data`, what it risks on those rows.

    Raises:
        IntegrityError: a file, a binding, a self-test or the certificate is not what it says.
        DataError: the rows cannot be read, or have labels that the release does not know.
        PrivacyError: there are rows, but a detector of the release's own is not here, or is another.
        UsageError: there are rows, but a tier's package is missing.
    """
    release = read_release(folder)
    verify_release(release)
    called = None
    for tier in release.record.packages:
        package = release.package(tier)
        if package.endpoint() is None:
            run_goldens(package)
        else:
            called = _ask_goldens(package)
    certificate = release.record.certificate
    if wrong := recheck(certificate):
        raise IntegrityError(f"the certificate does not follow from its own counts: {'; '.join(wrong)}")
    return Findings(
        release=release.id,
        confidence=certificate.confidence,
        certify_rows=certificate.n,
        risk=certificate.risk,
        certified=certificate.certified_alphas,
        privacy=release.record.privacy,
        groups=certificate.groups,
        called=called,
        own=None if data is None else _own_rows(release, data, Columns(text=text, label=label), encoding),
    )


def _ask_goldens(package: ModelPackage) -> str:
    """What a server that is only called says of the self-tests, in words.

    Raises:
        IntegrityError: it says something else than it did when the release was made.
    """
    client, goldens = client_of(package), package.goldens()
    known = f"known by the name and version that it declares, {client.endpoint.declared}, and not by a hash"

    async def ask() -> list[tuple[Classified, str | None]]:
        try:
            return [await client.ask(golden.text) for golden in goldens]
        finally:
            await client.aclose()

    try:
        said = asyncio.run(ask())
    except UpstreamError as error:
        return f"cloud: NOT ASKED ({error}); {known}"
    for number, (golden, (answer, version)) in enumerate(zip(goldens, said, strict=True), 1):
        told = f"golden {number} of {package.folder}: expected {golden.label!r}, {client.name} says {answer.label!r}"
        if answer.label != golden.label:
            raise IntegrityError(f"{told}; it serves another model than the certified one, so build anew")
        if version not in (None, client.endpoint.version):
            raise IntegrityError(f"{told} as version {version}; the certificate is for {client.endpoint.declared}")
    return f"cloud: its server says what it must of {len(goldens)} self-tests; {known}"


def _own_rows(release: Release, data: Path, columns: Columns, encoding: str | None) -> OwnRows:
    record = release.record
    tiers = [tier for tier in TIERS if f"package.{tier}" in record.certificate.bound]
    if missing := ", ".join(tier for tier in tiers if tier not in record.packages):
        raise UsageError(f"{release.folder} has no package of {missing}: what the ladder risks takes all of them")
    rows = read_table(str(data), Path(), columns, encoding)
    truth = truth_of(rows, record.labels, record.out_of_scope)
    if strangers := sorted({row.label for row, label in zip(rows, truth, strict=True) if label == UNKNOWN}):
        # the cloud would be wrong on all of them, and so nothing below it harmful
        near = difflib.get_close_matches(strangers[0], record.labels, n=1)
        cure = f"did you mean {near[0]!r}?" if near else "name the column of the labels, or leave those rows out"
        raise DataError(f"{data}: label {strangers[0]!r} is not one of the release's ({len(strangers)} such); {cure}")
    redactor = None if record.privacy is None else open_redactor(record.privacy)
    left = leave(redactor, [row.text for row in rows])
    said = {tier: _run_tier(tier, release.package(tier), rows, left, record).read(record.heads[tier]) for tier in tiers}
    outside = int((truth == REJECTED).sum())
    return OwnRows(
        n=len(rows),
        out_of_scope_share=outside / len(rows),
        void=void_reason(record.certificate, outside, len(rows)) or _other_rules(redactor, record.privacy),
        levels=evaluate_levels(record.certificate, said, truth, PriceSpec(**record.prices), left.held),
    )


def _other_rules(redactor: Redactor | None, policy: PrivacyPolicy | None) -> str | None:
    if redactor is None or policy is None or redactor.rules_match:
        return None
    return f"built-in detectors: certified with rules {policy.rules}, here are rules {RULES}"


def _run_tier(
    tier: Tier, package: ModelPackage, rows: list[Row], left: Leavings, record: ReleaseRecord
) -> Outputs | Told:
    texts = left.raw if tier is Tier.DEVICE else left.texts
    endpoint = package.endpoint()
    if endpoint is None:
        return run_package(package.folder, texts)
    tokenizer = package.tokenizer_path if endpoint.takes_tokens else None
    store = answer_store(Path(), endpoint, tokenizer)
    found = ask_all(client_of(package), texts, store, lambda done, total, note: None)
    pairs = ((text_key(row.text), found[text]) for row, text in zip(rows, texts, strict=True))
    answers = {key: asked for key, asked in pairs if asked is not None}
    return tell(answers, rows, record.labels, record.out_of_scope)
