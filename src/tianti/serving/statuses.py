"""What a node has done, though several processes did it: each writes its own status, and whichever is asked adds up.

    RUN/0.status   RUN/1.status   ...        one file a process, written a few times a second

Not here: one process's status (`router.control`), metrics (`telemetry.workers`).
Invariants: answers that a process counted are not lost with it; a point is in use only where a process lives.
"""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tianti.certificate import Hints
from tianti.router import Status
from tianti.serving.settings import Peers
from tianti.spec import Tier

_ALIVE_S = 5.0  # since it last wrote
_FEW = 1e-9  # so that one who has answered nothing yet still has a mean

ByRelease = Mapping[str, Mapping[str, Status]]
"""By the model's name, then by release."""


class _Told(msgspec.Struct):
    written_s: float = 0.0
    statuses: dict[str, dict[str, Status]] = {}


class Statuses:
    """Of all processes; `own` gives this one's."""

    def __init__(self, peers: Peers, own: Callable[[], ByRelease]) -> None:
        self._path = peers.run / f"{peers.number}.status"
        self._own = own
        self._before = _read(self._path, alive_s=0.0)

    def tell(self) -> None:
        """Let the others know of this process."""
        told = _Told(time.time(), _merge_all([self._before, self._own()]))
        temporary = self._path.with_suffix(".status-tmp")
        with contextlib.suppress(OSError):  # then the next time
            temporary.write_bytes(msgspec.msgpack.encode(told))
            os.replace(temporary, self._path)

    def everybody(self) -> ByRelease:
        """Of the node."""
        others = [_read(path) for path in sorted(self._path.parent.glob("*.status")) if path != self._path]
        return _merge_all([self._own(), self._before, *others])


def _read(path: Path, alive_s: float = _ALIVE_S) -> ByRelease:
    try:
        told = msgspec.msgpack.decode(path.read_bytes(), type=_Told)
    except OSError:  # there is none, or it is being replaced
        return {}
    if time.time() - told.written_s < alive_s:
        return told.statuses
    return {name: {release: _ended(each) for release, each in of.items()} for name, of in told.statuses.items()}


def _ended(status: Status) -> Status:
    return msgspec.structs.replace(status, point=None, pressure={})


def _merge_all(told: Sequence[ByRelease]) -> dict[str, dict[str, Status]]:
    found: dict[tuple[str, str], list[Status]] = {}
    for statuses in told:
        for name, of in statuses.items():
            for release, status in of.items():
                found.setdefault((name, release), []).append(status)
    merged: dict[str, dict[str, Status]] = {}
    for (name, release), each in found.items():
        merged.setdefault(name, {})[release] = merge(each)
    return merged


def merge(statuses: Sequence[Status]) -> Status:
    """One node's status. The first is a living process's.

    `point` is the laxest in use, since that bounds all answers; audits are those under it, which all processes share.
    `mean_bound` and hints are means, weighted by answers: in the shift of scores, of few answers each, there is more
    chance than in that of all together.
    """
    points = [each.point for each in statuses if each.point is not None]
    point = max(points, default=None)
    told = next((each for each in statuses if each.point == point), statuses[0])
    answered = Counter[Tier]()
    pressure: dict[str, float] = {}
    for each in statuses:
        answered.update(each.answered)
        for name, value in each.pressure.items():
            pressure[name] = max(value, pressure.get(name, 0.0))
    return msgspec.structs.replace(
        told,
        point=point,
        mean_bound=_mean([(each.mean_bound, sum(each.answered.values())) for each in statuses]),
        pressure=pressure,
        answered=dict(answered),
        degraded=sum(each.degraded for each in statuses),
        private=sum(each.private for each in statuses),
        alarms=sorted({alpha for each in statuses for alpha in each.alarms}),
        hints=_merge_hints([each.hints for each in statuses if each.hints is not None]),
    )


def _merge_hints(hints: Sequence[Hints]) -> Hints | None:
    if not hints:
        return None
    return Hints(
        answers=sum(each.answers for each in hints),
        score_shift=_mean([(each.score_shift, each.answers) for each in hints]),
        unknown_share=_mean([(each.unknown_share, each.answers) for each in hints]) or 0.0,
        usual_unknown_share=hints[0].usual_unknown_share,
    )


def _mean(values: Sequence[tuple[float | None, int]]) -> float | None:
    """Of (value, weight)s; None: of nothing."""
    known = [(value, weight + _FEW) for value, weight in values if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None
