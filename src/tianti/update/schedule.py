"""When a device asks next: spread evenly, and ever more seldom while nobody answers.

Not here: clocks and waiting (`updates`). Invariants: pure; `chance` is evenly spread over [0, 1), so that a fleet that
lost its server, or its power, at one moment does not come back at one moment.
"""

LONGEST_S = 4 * 3600
_JITTER = 0.2


def first_wait_s(poll_s: float, chance: float) -> float:
    """Before the first poll of a process."""
    return poll_s * chance


def next_wait_s(poll_s: float, failures: int, chance: float) -> float:
    """After a poll; `failures` is how many in a row have failed, this one included."""
    longest = max(LONGEST_S, poll_s)
    base = min(longest, poll_s * 2 ** min(failures, 16))  # 2^16 minutes are past any limit, and a float
    return base * (1 - _JITTER + 2 * _JITTER * chance)
