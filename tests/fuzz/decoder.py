"""A reader of a stranger's bytes, and what it is tried with.

Not here: the readers (`decoders`).
Invariant: whatever the bytes are, a reader takes them or refuses them with the error that it documents.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis
from hypothesis import HealthCheck, given, settings

from tests.fuzz.inputs import bodies
from tianti.errors import UsageError

_SHOWN = 10_000


class Decoder(NamedTuple):
    """`valid`: what it takes, to be damaged; `refuses`: how it says that it does not take something."""

    read: Callable[[bytes], Any]
    valid: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = (UsageError,)


class Tally:
    """What came of some calls: how many of each outcome, and how long the slowest took."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.slowest_ms = 0.0

    def count(self, outcome: str, ms: float) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.slowest_ms = max(self.slowest_ms, ms)

    def add(self, other: "Tally") -> None:
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count
        self.slowest_ms = max(self.slowest_ms, other.slowest_ms)


def take(decoder: Decoder, body: bytes) -> bool:
    """Whether it was taken; any error but those documented comes out."""
    try:
        decoder.read(body)
    except decoder.refuses as error:
        assert len(str(error)) < _SHOWN, "an error quotes too much of what came"
        return False
    return True


def fuzz(decoder: Decoder, examples: int, seed: int, tally: Tally) -> None:
    """Try it with so many bodies; the smallest that breaks it is in the error that comes out."""

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies(decoder.valid))
    def one(body: bytes) -> None:
        began_s = time.perf_counter()
        taken = take(decoder, body)
        tally.count("taken" if taken else "refused", (time.perf_counter() - began_s) * 1e3)

    one()
