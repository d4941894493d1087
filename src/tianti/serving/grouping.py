"""Which of the texts that wait share the next call of the engine.

Padding is what a batch costs: each text is computed as if it were as long as the longest. So the most urgent text
takes along those of about its own length, as long as the call then does more work a millisecond.
Not here: running it (`engine`), measuring (`costs`).
Invariant: the most urgent text is in the group, so none waits for ever.
"""

from collections.abc import Sequence

from tianti.serving.costs import Costs


def choose_group(lengths: Sequence[int], urgent: int, costs: Costs) -> range:
    """The best window of waiting texts, as a range of indices that contains `urgent`.

    Args:
        lengths: tokens of each waiting text, in ascending order.
        urgent: index of the one that has to be in it.
        costs: of calls.

    From the urgent one the window grows to whichever neighbour adds more, up to the largest batch; the best that was
    passed on the way counts, since two may take longer than one and one, and eight less.
    """
    low = high = urgent  # both included
    worth_ms = costs.call_ms(1, lengths[urgent])  # what its texts would take alone
    best, best_gain = range(low, high + 1), 1.0
    while high - low + 1 < min(costs.most, len(lengths)):
        down = _grown(lengths, low - 1, high, worth_ms, low - 1, costs) if low > 0 else None
        up = _grown(lengths, low, high + 1, worth_ms, high + 1, costs) if high + 1 < len(lengths) else None
        if up is None or (down is not None and down[0] >= up[0]):
            assert down is not None
            low, (gain, worth_ms) = low - 1, down
        else:
            high, (gain, worth_ms) = high + 1, up
        if gain > best_gain:
            best, best_gain = range(low, high + 1), gain
    return best


def _grown(
    lengths: Sequence[int], low: int, high: int, worth_ms: float, added: int, costs: Costs
) -> tuple[float, float]:
    """(how many times faster than alone, what its texts would take alone) of a window with one more text."""
    worth_ms += costs.call_ms(1, lengths[added])
    return worth_ms / costs.call_ms(high - low + 1, lengths[high]), worth_ms
