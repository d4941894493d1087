"""What a replay found, as records, and what must be known to read it.

Not here: finding it (`replay`). Invariant: whatever is not known for sure is a Range or a sentence of `findings`.
"""

import msgspec

from tianti.spec import Tier


class Range(msgspec.Struct, frozen=True):
    """From the least to the most that it can be; both alike where it is known."""

    low: float
    high: float


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What all requests come to.

    Costs are at `prices`, per 1,000 requests. Times are None where the log tells nothing of a tier that answers.
    `points` are the alphas in use, `risk` their mean over the requests: what is certified of the `certified` share.
    `private`: the share that was answered below its point, for its text must not leave.
    """

    share: dict[Tier, Range]
    prices: dict[Tier, float]
    cost_per_1000: Range
    cost: Range
    p50_ms: Range | None
    p99_ms: Range | None
    points: list[float]
    risk: float | None
    certified: Range
    degraded: Range
    private: Range


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides.

    `contradicting`: lines that do not follow from their own scores. `unknown`: requests with more than one possible
    fate; `passed_over`: that the cloud answers without an edge that others saw; `anew`: that would climb and had not;
    `late`: that would be answered after their deadline at the given times.
    """

    requests: int
    before: Side
    after: Side
    contradicting: int
    unknown: int
    passed_over: int
    anew: int
    late: int

    def findings(self, cut: int) -> list[str]:
        """What must be known to read the figures, as sentences; `cut` lines of the log were not whole."""
        degraded = round(self.after.degraded.high * self.requests)
        return [
            sentence
            for holds, sentence in (
                (cut, f"{_lines(cut)} cut off in mid-write, as a crash does: not counted."),
                (
                    self.contradicting,
                    f"{_requests(self.contradicting)} answered otherwise than the scores say at their point: another "
                    "release answered above, or the log was changed.",
                ),
                (
                    self.unknown,
                    f"{_requests(self.unknown)} of two possible ends, since the edge's score is not known: figures run "
                    "from all kept at the edge to all passed on. A log with texts, and --release, settles it.",
                ),
                (
                    self.passed_over,
                    f"{_requests(self.passed_over)} passed over the edge, as it was out or busy then; --upstreams "
                    "edge,cloud asks what if it had not been.",
                ),
                (
                    self.anew,
                    f"{_requests(self.anew)} to climb that did not: assumed is that the higher tier is in reach, and "
                    "of a text that the log does not hold, that it may leave.",
                ),
                (degraded, f"{_requests(degraded)} degraded: what was out of reach then is out of reach still."),
                (
                    self.late,
                    f"{_requests(self.late)} answered after the deadline at these times: a lower tier would have "
                    "answered, degraded; counted is as if they had come.",
                ),
                (
                    self.after.p50_ms is None,
                    "A tier would answer that never did: how long it takes is to be named with --latency.",
                ),
            )
            if holds
        ]


def _requests(count: int) -> str:
    return f"{count:,} request{'' if count == 1 else 's'}"


def _lines(count: int) -> str:
    return f"{count:,} line{'' if count == 1 else 's'}"
