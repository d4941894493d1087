"""Each caller's quota, though several processes count what it asks: each tells the others what it let through.

    RUN/0.shares   RUN/1.shares   ...        one file a process: by caller, its share a second and all it was given

A part of the quota for each process would refuse a caller with one connection, which always comes to the same process.
Not here: counting (`quota`), when to look (`build`).
Invariant: in the long run a caller gets its quota from all processes together, and at most once a second's worth from
each beyond it, since they learn of each other a moment later.
"""

import contextlib
import os
from collections.abc import Iterator

import msgspec

from tianti.serving.quota import Quota
from tianti.serving.settings import Peers

_Given = dict[str, tuple[float, float]]
_decode = msgspec.msgpack.Decoder(_Given).decode


class Shares:
    """Of this process and the others."""

    def __init__(self, peers: Peers, quota: Quota) -> None:
        self._path = peers.run / f"{peers.number}.shares"
        self._quota = quota
        self._told: _Given = {}
        self._heard: dict[str, _Given] = dict(self._others())  # was given before this one could give anything

    def exchange(self, now_s: float) -> None:
        """Tell what was given here, and count what was given elsewhere; on the clock of `Quota.take`."""
        if self._quota.given != self._told:
            self._told = dict(self._quota.given)
            temporary = self._path.with_suffix(".shares-tmp")
            with contextlib.suppress(OSError):  # then the next time
                temporary.write_bytes(msgspec.msgpack.encode(self._told))
                os.replace(temporary, self._path)
        for who, given in self._others():
            self._hear(who, given, now_s)

    def _others(self) -> Iterator[tuple[str, _Given]]:
        for path in self._path.parent.glob("*.shares"):
            if path != self._path:
                with contextlib.suppress(OSError):  # it is being replaced
                    yield path.name, _decode(path.read_bytes())

    def _hear(self, who: str, given: _Given, now_s: float) -> None:
        before = self._heard.get(who, {})
        self._heard[who] = given
        for client, (per_s, total) in given.items():
            past = before.get(client, (0.0, 0.0))[1]
            news = total - past if total >= past else total  # less: another one has taken its place
            if news:
                self._quota.owe(client, per_s, news, now_s)
