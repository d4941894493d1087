"""How a rollout spreads: its steps, and where it stands. It travels beside the statement, signed with it.

Not here: when a step is taken (`guard`, or an operator), publishing. Invariant: a plan only goes forward, one step at a
time.
"""

import math
import re
from collections.abc import Sequence
from typing import Annotated

import msgspec

from tianti.errors import UsageError
from tianti.fleet.guard import Terms

MILLION = 1_000_000
Ppm = Annotated[int, msgspec.Meta(ge=0, le=MILLION)]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many devices of a million; `shadow`: they run the release beside the one that answers."""

    ppm: Ppm
    shadow: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`at`: the step that is under way since `since_s`; -1: none yet, the nodes above the devices come first."""

    steps: tuple[Step, ...]
    at: int = -1
    since_s: int = 0
    terms: Terms = Terms()

    @property
    def step(self) -> Step:
        """The step under way; before the first, of no device."""
        return Step(0) if self.at < 0 else self.steps[self.at]

    @property
    def done(self) -> bool:
        """Whether the last step is under way."""
        return self.at == len(self.steps) - 1


def next_step(plan: Plan, now_s: int) -> Plan:
    """The plan one step on.

    Raises:
        UsageError: it was the last one.
    """
    if plan.done:
        raise UsageError("expected a rollout with a step to go, got one that has taken its last; nothing is to do")
    return msgspec.structs.replace(plan, at=plan.at + 1, since_s=now_s)


def parse_steps(words: Sequence[str], enrolled: int | None = None, places: Sequence[int] = ()) -> tuple[Step, ...]:
    """Steps such as `5 devices`, `5%`, `0.2%`; a leading `shadow` (`shadow 5%`) makes one of a shadow ring.

    A count becomes a share: the one that reaches as many of these `places` of devices, or else, of so many `enrolled`,
    the one that is expected to.

    Raises:
        UsageError: it is not a step, the shares fall, or a count comes where the number of devices is not known.
    """
    steps = tuple(_parse(word, enrolled, sorted(places)) for word in words)
    serving = [step.ppm for step in steps if not step.shadow]
    if not serving or serving != sorted(serving) or 0 in serving:
        raise UsageError(f"expected rising shares, such as 1% 10% 100%, got {' '.join(words)!r}; order them")
    return steps


def _parse(word: str, enrolled: int | None, places: Sequence[int]) -> Step:
    found = re.fullmatch(r"(shadow +)?([0-9.]+) *(%|devices?)", word.strip())
    try:
        number = float(found[2]) if found else math.nan
    except ValueError:
        number = math.nan
    if found is None or not 0 < number < math.inf:
        raise UsageError(f"expected a step such as 5%, `5 devices` or `shadow 1%`, got {word!r}; write it so")
    if found[3] == "%":
        ppm = round(number * MILLION / 100)
    elif places:
        ppm = places[min(math.ceil(number), len(places)) - 1] + 1
    elif enrolled:
        ppm = math.ceil(number * MILLION / enrolled)
    else:
        raise UsageError(
            f"expected a share, since nobody knows how many devices there are, got {word!r}; give a %, or count them"
        )
    return Step(min(ppm, MILLION), shadow=found[1] is not None)
