"""One answer explained: the words that spoke for it, and the decision that it comes from here.

Not here: weighing words (`occlusion`), saying it to people (`sentences`, `page`), asking anybody: an answer that is
there already is explained.
Invariants: nothing is sent for an explanation; what is not known is None and never guessed; words are those of the
model on this machine, whoever answered, and it says whose they are.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tianti.certificate import UNUSABLE, read
from tianti.errors import RunError, UsageError
from tianti.explain.occlusion import occlude, reach, scorer_of
from tianti.explain.words import Word
from tianti.package import ReleaseRecord
from tianti.privacy import Leaving
from tianti.protocols import native
from tianti.runtimes import Runtime
from tianti.spec import Prediction, Reason, Risk, Tier
from tianti.store import canonical_json, sha256_bytes

SCHEMA = "tianti.explanation/1"
_TELLING = 0.001
_STAYED = {  # of an answer from here: nobody was asked
    Reason.SCORE,
    Reason.TOP,
    Reason.NO_UPSTREAM,
    Reason.PRIVATE,
    Reason.BUDGET,
    Reason.BREAKER_OPEN,
}


class Here(NamedTuple):
    """The node that an answer is explained on. `leaving`: what its policy makes of the text; None: it leads nowhere.

    `asking_ms`: how long those above it took lately; None: not known.
    """

    release: str
    record: ReleaseRecord
    tier: Tier
    runtime: Runtime
    leaving: Leaving | None = None
    asking_ms: float | None = None


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What the model on this machine says, whose words are weighed.

    `label` is its own answer, `score` the chance that it is right. `explained` is the label that words are weighed for:
    the one that was answered where this model has it, else its own nearest; `probability` is its own of that.
    `characters`: so many of the text it reads.
    """

    tier: Tier
    package: str
    label: str
    score: float
    explained: str
    probability: float
    characters: int


class Standard(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer was held to: the certified point, and the certificate that it is of.

    `thresholds`: the score from which a tier below the cloud answers at the point.
    """

    point: float | None
    thresholds: dict[Tier, float]
    certificate: str | None
    risk: Risk
    confidence: float
    rows: int


class Spared(msgspec.Struct, frozen=True, kw_only=True):
    """Beside having asked the cloud: money per 1,000 such answers at the release's prices, milliseconds of this one.

    Below 0 where the way up cost more. None: not known.
    """

    per_1000: float | None
    ms: float | None


class Leaves(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in the text by type, how many places of it have placeholders in what leaves, what holds it here.

    `searched`: the release has a policy; without one texts leave as they are. `left`: it was sent to somebody, to
    be answered (audits are apart); None: it may have been. Where it was not, the rest is what would have become of it.
    """

    searched: bool
    left: bool | None
    found: dict[str, int]
    replaced: int
    held: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why this answer, and why from this tier.

    `words` are ascending and apart; none where the model here failed on the text (`own` is None then) or on its parts.
    `leaves` is None where nobody could be asked.
    """

    text: str
    prediction: Prediction
    release: str
    own: Own | None
    words: tuple[Word, ...]
    standard: Standard
    spared: Spared
    leaves: Leaves | None

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The words that say most, for the label or against it, with their weights; none of less than a thousandth."""
        best = sorted(self.words, key=lambda word: -abs(word.weight))[:count]
        return [(self.text[word.start : word.end], word.weight) for word in best if abs(word.weight) >= _TELLING]

    def show(self) -> dict[str, Any]:
        """As JSON has it."""
        words = [{"word": self.text[word.start : word.end], **word._asdict()} for word in self.words]
        shown = {"prediction": native.show(self.prediction, scores=True), "words": words}
        rest = {name: getattr(self, name) for name in ("release", "own", "standard", "spared", "leaves")}
        found: dict[str, Any] = msgspec.to_builtins({"schema": SCHEMA, "text": self.text, **shown, **rest})
        return found


def explain(text: str, prediction: Prediction, here: Here) -> Explanation:
    """Explain an answer on the node where it was asked for.

    Raises:
        UsageError: another node gave it, or another release.
    """
    decision, certificate = prediction.decision, sha256_bytes(canonical_json(here.record.certificate))
    if decision.certificate != certificate or decision.tiers_tried[0] != here.tier:
        raise UsageError(
            f"expected an answer to a request that came to the {here.tier} of release {here.release[:12]}, got one of "
            "another tier or release; leave it out, and it is asked for"
        )
    own, words = _weigh(text, prediction, here)
    return Explanation(
        text=text,
        prediction=prediction,
        release=here.release,
        own=own,
        words=words,
        standard=_standard(prediction, here.record),
        spared=_spared(prediction, here),
        leaves=_leaves(prediction, here),
    )


def _weigh(text: str, prediction: Prediction, here: Here) -> tuple[Own | None, tuple[Word, ...]]:
    runtime, head = here.runtime, here.record.heads[here.tier]
    try:
        logits, tokens, unknown, truncated = runtime.run(text)
    except RunError:
        return None, ()
    reading = read(head, logits, tokens, unknown)
    if reading.index == UNUSABLE:
        return None, ()
    nearest = int(reading.probabilities.argmax())
    label = runtime.labels.index(prediction.label) if prediction.label in runtime.labels else nearest
    characters = reach(runtime, text) if truncated else len(text)
    own = Own(
        tier=here.tier,
        package=runtime.package,
        label=runtime.labels[reading.index] if reading.index >= 0 else here.record.out_of_scope or "",
        score=reading.score,
        explained=runtime.labels[label],
        probability=float(reading.probabilities[label]),
        characters=characters,
    )
    try:
        return own, tuple(occlude(scorer_of(runtime, head), text[:characters], label))
    except RunError:
        return own, ()


def _standard(prediction: Prediction, record: ReleaseRecord) -> Standard:
    point, certificate = prediction.decision.point, record.certificate
    found = None if point is None else certificate.thresholds(point)
    return Standard(
        point=point,
        thresholds={} if found is None else dict(zip((Tier.DEVICE, Tier.EDGE), found, strict=True)),
        certificate=prediction.decision.certificate,
        risk=certificate.risk,
        confidence=certificate.confidence,
        rows=certificate.n,
    )


def _spared(prediction: Prediction, here: Here) -> Spared:
    decision, prices = prediction.decision, here.record.prices
    cost = _cost(decision.tiers_tried, prices) if _left(prediction) is not None else None
    kept = decision.reason is Reason.SCORE and prediction.tier is here.tier
    return Spared(
        per_1000=None if cost is None or here.tier is Tier.CLOUD else prices["cloud"] - cost,
        ms=None if here.asking_ms is None or not kept else here.asking_ms - decision.ms,
    )


def _cost(tried: tuple[str, ...], prices: Mapping[str, float]) -> float | None:
    """Of asking these, the entry first, which costs nothing; a way that failed is named otherwise and may have cost."""
    asked = tried[1:]
    if "cloud" not in prices or not all(name in prices for name in asked):
        return None
    return sum(prices[name] for name in asked)


def _leaves(prediction: Prediction, here: Here) -> Leaves | None:
    leaving = here.leaving
    if leaving is None:
        return None
    return Leaves(
        searched=here.record.privacy is not None,
        left=_left(prediction),
        found=dict(leaving.found),
        replaced=leaving.replaced,
        held=leaving.held,
    )


def _left(prediction: Prediction) -> bool | None:
    """Did somebody get it, to answer it? None: it cannot be told, since one who did not answer may have got it."""
    decision = prediction.decision
    if decision.seen:
        return True
    return False if decision.reason in _STAYED else None
