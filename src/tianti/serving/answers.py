"""Exact answers that one release gave here, for texts that come again. No text is kept, only a keyed digest of it.

Not here: who may have an answer from here, and requests that are under way (`flights`).
Invariants: an answer is found again only by the same text under the same terms; only what the ladder answers to a text
whatever happens around it is kept, so nothing degraded and nothing of another release; what is kept stays within a
number of entries and of bytes, and goes after a time.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from tianti.errors import RunError
from tianti.protocols.infer import InferRequest
from tianti.router import Answer, Terms
from tianti.spec import Prediction, Probabilities, Reason, Tier

TTL_S = 600.0
MOST_BYTES = 64_000_000
_ENTRY_BYTES, _SCORE_BYTES = 1200, 130  # at most, of an answer and of each label's probability (their names included)
_EXACT = (Reason.SCORE, Reason.TOP)


class Kept(NamedTuple):
    """An answer of before, and what the local model said of its text."""

    prediction: Prediction
    here: Answer | RunError | None


class Answers:
    """The least recently used go first.

    Args:
        tier: of this node.
        entries: how many to keep at most.
        clock: seconds.
        most_bytes: what they may come to, as estimated.
        ttl_s: how long each is good.
    """

    def __init__(
        self,
        tier: Tier,
        entries: int,
        clock: Callable[[], float],
        most_bytes: int = MOST_BYTES,
        ttl_s: float = TTL_S,
    ) -> None:
        self._tier, self._entries, self._clock = tier, entries, clock
        self._most_bytes, self._ttl_s = most_bytes, ttl_s
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, tuple[Prediction, Answer | RunError | None, float, int]] = OrderedDict()
        self._size_bytes = 0
        self._under: tuple[object, ...] = ()
        self._begun = hashlib.blake2b()

    def __len__(self) -> int:
        return len(self._kept)

    def key(self, text: str, asked: InferRequest, terms: Terms) -> bytes:
        """What stands for a text under these terms, in this process only."""
        under = (asked.point, asked.passed_by, terms.point, terms.covered)
        if under != self._under:  # it seldom changes, and is most of the work
            said = repr(under).encode()
            self._begun = hashlib.blake2b(len(said).to_bytes(2) + said, digest_size=16, key=self._secret)
            self._under = under
        digest = self._begun.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()

    def find(self, key: bytes) -> Kept | None:
        """An answer that is still good."""
        if key not in self._kept:
            return None
        prediction, here, until_s, _ = self._kept[key]
        if self._clock() >= until_s:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return Kept(prediction, here)

    def keep(self, key: bytes, prediction: Prediction, here: Answer | RunError | None) -> None:
        """Keep an answer, if it is exact."""
        if not is_exact(prediction, self._tier):
            return
        if key in self._kept:
            self._drop(key)
        if isinstance(here, Answer) and here.probabilities is not prediction.probabilities:
            here = here._replace(probabilities=Probabilities())  # only what drift is told by
        size_bytes = _ENTRY_BYTES + _SCORE_BYTES * len(prediction.probabilities.labels)
        self._kept[key] = (prediction, here, self._clock() + self._ttl_s, size_bytes)
        self._size_bytes += size_bytes
        while len(self._kept) > self._entries or self._size_bytes > self._most_bytes:
            self._size_bytes -= self._kept.popitem(last=False)[1][3]

    def clear(self) -> None:
        """Keep none."""
        self._kept.clear()
        self._size_bytes = 0

    def _drop(self, key: bytes) -> None:
        self._size_bytes -= self._kept.pop(key)[3]


def is_exact(prediction: Prediction, tier: Tier) -> bool:
    """Is this the ladder's answer at any time? One from above is, where the certificate knows it for this release's."""
    decision = prediction.decision
    return decision.reason in _EXACT and (prediction.tier is tier or decision.certified)


def give_again(prediction: Prediction, ms: float) -> Prediction:
    """The answer to another request, which took this long; the shares of those on the way add up to it."""
    decision = prediction.decision
    share = ms / decision.ms if decision.ms > 0.0 else 0.0
    seen = tuple(msgspec.structs.replace(said, ms=said.ms * share) for said in decision.seen)
    return msgspec.structs.replace(prediction, decision=msgspec.structs.replace(decision, ms=ms, seen=seen))
