"""How many texts each caller may ask for a second: a token bucket for each.

Not here: a clock; time comes in as an argument, in seconds of any monotonic clock. Who is a caller (`access`).
Invariants: in any time, a caller gets at most a second's worth and what the time adds, and one batch beyond it; memory
is bounded, however many callers come.
"""

from collections import OrderedDict

from tianti.errors import QuotaError

_CLIENTS = 10_000


class Quota:
    """Buckets of the callers that came last; a second's worth is in a full one.

    A batch larger than a bucket takes a full one, and what it took beyond has to flow in before the next: a caller may
    send its texts one by one or together.
    """

    def __init__(self, clients: int = _CLIENTS) -> None:
        self._clients = clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what it has, and when it had that
        self.given: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By caller: its share a second, and all that it was let through."""

    def take(self, client: str, per_s: float, count: int, now_s: float) -> None:
        """Count texts of a caller whose share is `per_s`.

        Raises:
            QuotaError: it has had its share; nothing is counted.
        """
        has, most = self._fill(client, per_s, now_s)
        needs = min(float(count), most)
        enough = has >= needs - 1e-9  # so that the time which was told is long enough, whatever rounding does
        self._put(client, has - count if enough else has, now_s)
        if not enough:
            raise QuotaError(
                f"{client} has had its {per_s:g} texts a second; send fewer, or later", (needs - has) / per_s
            )
        self.given[client] = (per_s, self.given.pop(client, (per_s, 0.0))[1] + count)
        if len(self.given) > self._clients:
            self.given.popitem(last=False)

    def owe(self, client: str, per_s: float, count: float, now_s: float) -> None:
        """Count texts that another process of this node let through."""
        self._put(client, self._fill(client, per_s, now_s)[0] - count, now_s)

    def _fill(self, client: str, per_s: float, now_s: float) -> tuple[float, float]:
        """What a caller has now, and at most."""
        most = max(per_s, 1.0)
        has, at_s = self._buckets.pop(client, (most, now_s))
        earned = per_s * max(now_s - at_s, 0.0)  # a clock that is set back earns nothing, and costs nothing
        return min(most, has + earned), most

    def _put(self, client: str, has: float, now_s: float) -> None:
        self._buckets[client] = (has, now_s)
        if len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
