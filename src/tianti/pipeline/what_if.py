"""`tianti replay`: a decision log, the releases that it needs, and what somebody asks; the answer as a record.

Not here: deciding (`fates`), counting (`replay`), printing (`cli`).
Invariant: a point is only asked about where it is certified; another model's scores are never guessed, it is run.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tianti.errors import IntegrityError, PackageError, UsageError
from tianti.package import Release, read_release, verify_release
from tianti.pipeline.decisions import of_release, read_log
from tianti.pipeline.leaving import leave
from tianti.pipeline.readings import run_package
from tianti.pipeline.replay import Changes, replay
from tianti.pipeline.sides import Replayed
from tianti.privacy import open_redactor
from tianti.spec import Risk, Tier
from tianti.spec.ladder import PriceSpec
from tianti.spec.logged import Logged

_TIMES = "Times are of the models that were in use, since the log knows no others: name others with --latency."


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be otherwise; None and empty: as it was. `release` and `of` are a folder, an id or `latest`."""

    of: str | None = None
    release: str | None = None
    point: float | None = None
    prices: dict[Tier, float] = {}
    upstreams: tuple[Tier, ...] | None = None
    latency_ms: dict[Tier, float] = {}


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """What it was and what it would have been.

    `cut`: lines that a crash cut off; `ran`: models were run on the logged texts; `findings`: `found`, in sentences.
    """

    release: str
    asked_release: str
    risk: Risk
    confidence: float
    asked_risk: Risk
    asked_confidence: float
    cut: int
    ran: bool
    found: Replayed
    findings: list[str]


def what_if(path: Path, asked: Asked, find: Callable[[str], Path]) -> WhatIf:
    """Replay a log.

    Args:
        path: the log.
        asked: what is to be otherwise.
        find: the folder of a release by its folder, id or `latest`.

    Raises:
        DataError: this is not a decision log.
        UsageError: it is of several releases, a point is not certified, texts are needed and not there, or a number is
            none.
        PackageError: a release cannot be found or read; an IntegrityError if its bytes are not its own.
        PrivacyError: texts are to be run, and a detector of the release's own is not here, or is another.
    """
    _check_numbers(asked)
    log = read_log(path)
    named = None if asked.of is None else _id_of(asked.of, find)
    log = of_release(log, named)
    then = _logged_release(log.lines[0].release, asked, find)
    now = then if asked.release is None else read_release(find(asked.release))
    for tier in (*(asked.upstreams or ()), *asked.prices):
        if tier not in now.record.packages:
            raise UsageError(f"{tier}: expected a tier of release {now.id[:12]}, which has no {tier}; leave it out")
    _check_point(now, asked.point, log.lines)
    runs = asked.release is not None and all(line.text is not None for line in log.lines)
    if now.id != then.id and not runs:
        _lacks_texts(path, log.lines, now)
    scores, held = _run(now, log.lines) if runs else (None, None)
    changes = Changes(
        point=asked.point,
        prices={**_prices(now), **asked.prices},
        upstreams=asked.upstreams,
        latency_ms=asked.latency_ms,
        scores=scores,
        held=held,
    )
    found = replay(log.lines, then.record.certificate, _prices(then), now.record.certificate, changes)
    return WhatIf(
        release=then.id,
        asked_release=now.id,
        risk=then.record.certificate.risk,
        confidence=then.record.certificate.confidence,
        asked_risk=now.record.certificate.risk,
        asked_confidence=now.record.certificate.confidence,
        cut=log.cut,
        ran=runs,
        found=found,
        findings=found.findings(log.cut) + ([_TIMES] if now.id != then.id and not asked.latency_ms else []),
    )


def _id_of(name: str, find: Callable[[str], Path]) -> str:
    """An id as it is, or the beginning of one, where its release is not here."""
    try:
        return read_release(find(name)).id
    except PackageError:
        if len(name) >= 6 and name.isalnum():
            return name
        raise


def _logged_release(identity: str, asked: Asked, find: Callable[[str], Path]) -> Release:
    """The release that the log is of: named, or the one that is asked about, or looked up by its id."""
    for name in (asked.of, asked.release, identity):
        try:
            found = None if name is None else read_release(find(name))
        except IntegrityError:
            raise
        except PackageError:
            continue
        if found is not None and found.id == identity:
            return found
    cure = "run this in the folder with its .tianti, or name its folder with --of"
    raise PackageError(f"expected the release of LOG, {identity}, got none in .tianti/releases; {cure}")


def _check_point(release: Release, point: float | None, lines: Sequence[Logged]) -> None:
    certified = release.record.certificate.certified_alphas
    wanted = {line.point for line in lines} - {None} if point is None else {point}
    if strangers := sorted(alpha for alpha in wanted - set(certified) if alpha is not None):
        known = ", ".join(f"{alpha:g}" for alpha in certified) or "none"
        raise UsageError(
            f"point: expected one that release {release.id[:12]} certifies ({known}), got {strangers[0]:g}; "
            "name one with --point: of another nothing is known that would hold"
        )


def _lacks_texts(path: Path, lines: Sequence[Logged], now: Release) -> None:
    without = sum(line.text is None for line in lines)
    raise UsageError(
        f"{path}: expected a text in every line, since release {now.id[:12]} has other models, "
        f"got {without:,} of {len(lines):,} without; log with `serve --log-texts` or `load(log_texts=True)`"
    )


def _check_numbers(asked: Asked) -> None:
    for name, given in (("prices", asked.prices), ("latency", asked.latency_ms)):
        for tier, number in given.items():
            if not 0.0 <= number < math.inf:
                raise UsageError(f"{name}: expected a number from 0, got {tier}={number}")


def _prices(release: Release) -> dict[Tier, float]:
    prices = PriceSpec(**release.record.prices)
    return {Tier.EDGE: prices.edge, Tier.CLOUD: prices.cloud}


def _run(release: Release, lines: Sequence[Logged]) -> tuple[list[dict[Tier, float]], list[bool]]:
    """What the models below the cloud say of every text, and whether it must not leave.

    The cloud answers whatever comes to it. A tier above the one where a text entered sees what leaves of it.
    """
    verify_release(release)
    policy = release.record.privacy
    left = leave(None if policy is None else open_redactor(policy), [line.text or "" for line in lines])
    scores: list[dict[Tier, float]] = [{} for _ in lines]
    entries = {line.entry for line in lines}
    for tier in (Tier.DEVICE, Tier.EDGE):
        if tier not in release.record.packages or (tier is Tier.DEVICE and tier not in entries):
            continue
        pairs = zip(lines, left.raw, left.texts, strict=True)
        texts = [raw if line.entry is tier else leaving for line, raw, leaving in pairs]
        said = run_package(release.package(tier).folder, texts).read(release.record.heads[tier])
        for known, score in zip(scores, said.score.tolist(), strict=True):
            known[tier] = score
    return scores, left.held.tolist()
