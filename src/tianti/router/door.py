"""The one way out of a node: what a text becomes before it leaves. Nothing else makes a Request of a text.

Not here: finding and replacing (`privacy`), whether and whom to ask (`climb`), sending (`upstream`).
Invariants: a text that enters the ladder here leaves as the release's policy says, or not at all; one that a node below
passed on goes on as it came; where it cannot be told what is in a text, it stays.
"""

import logging
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tianti.package import Release
from tianti.privacy import LONGEST, NOT_SEARCHED, RULES, Leaving
from tianti.router.climb import Ask, Outcome, Way
from tianti.router.egress import Egress, Purpose
from tianti.spec import Prediction, Priority, Request, Tier
from tianti.telemetry.context import KEPT_BACK, headers_from_outside

if TYPE_CHECKING:
    from tianti.privacy import Redactor

_LONG = 2000  # characters, which are searched in a few milliseconds
_log = logging.getLogger("tianti")


class Departure(NamedTuple):
    """A text at the door: what is sent of it, if anything is, and what was found in it; None: it came from below.

    `kept_back`: headers that do not go along (`telemetry.context`).
    """

    request: Request
    leaving: Leaving | None
    kept_back: frozenset[str] = frozenset()

    @property
    def held(self) -> bool:
        """It has to stay."""
        return self.leaving is not None and bool(self.leaving.held)

    @property
    def redactions(self) -> int:
        """Places that were replaced here."""
        return 0 if self.leaving is None else self.leaving.replaced


async def beside(door: "Door", text: str, depart: Callable[[], Departure | None]) -> Departure | None:
    """What `depart` says of this text at the door, for an event loop, which goes on while a search takes its time."""
    if door.redactor is None or (len(text) <= _LONG and not door.redactor.has_own):
        departure = depart()
    else:
        import asyncio

        departure = await asyncio.to_thread(depart)
    if departure is not None:
        KEPT_BACK.set(departure.kept_back)
    return departure


class Door:
    """That of one node; without a redactor texts leave as they are."""

    def __init__(
        self, release: str, tier: Tier, ways: Sequence[Way], redactor: "Redactor | None", egress: Egress | None
    ) -> None:
        self._release, self._tier, self._ways = release, tier, ways
        self.redactor = redactor
        self._egress = egress
        self._said = False
        self.count: Callable[[Leaving, bool], object] = lambda _leaving, _left: None
        """Is told what became of each text that left, or was held, and whether it left."""

    @property
    def certifies(self) -> bool:
        """The certificate speaks of what leaves here: it was computed with what the same detectors find."""
        return self.redactor is None or self.redactor.rules_match

    def leave(self, text: str) -> Leaving:
        """What becomes of a text that enters here and is about to leave. Never raises: it is held instead."""
        if self.redactor is None:
            return Leaving(text, {}, 0)
        try:
            leaving = self.redactor.leaving(text)
            why = f"one of {len(text)} characters, where {LONGEST} are searched at most"
        except Exception as error:  # a user's own detector may do anything; a message may quote the text
            leaving, why = NOT_SEARCHED, f"{type(error).__name__} in a detector"
        if leaving is NOT_SEARCHED and not self._said:
            self._said = True
            _log.error("texts that cannot be searched stay here: %s", why)
        return leaving

    def depart(
        self,
        text: str,
        point: float | None,
        *,
        passed_by: Tier | None = None,
        release: str | None = None,
        audit: bool = False,
        priority: Priority = Priority.INTERACTIVE,
        private: bool = False,
    ) -> Departure | None:
        """What may leave of a text that is not answered here; None: there is nobody to ask.

        Args:
            text: as it came.
            point: the alpha that goes up with it.
            passed_by: the tier below that it came from; None: it enters here, so that the policy is applied to it.
            release: the one that it named; None: this node's.
            audit: as in `Request`.
            priority: as in `Request`.
            private: as in `Request`.
        """
        if not self._ways:
            return None
        leaving = self.leave(text) if passed_by is None else None
        if leaving is not None:
            text = "" if leaving.held else leaving.text
        request = Request(
            text=text,
            release=release or self._release,
            point=point,
            passed_by=self._tier,
            audit=audit,
            priority=priority,
            private=private,
        )
        return Departure(request, leaving, frozenset() if leaving is None else self._keep_back())

    def _keep_back(self) -> frozenset[str]:
        """The headers that would go along with what may not leave in them: whoever asks may choose a request's id."""
        if self.redactor is None:
            return frozenset()
        headers = headers_from_outside().items()
        found = {name: self.leave(value) if len(value) <= _LONG else NOT_SEARCHED for name, value in headers}
        return frozenset(name for name, leaving in found.items() if leaving.held or leaving.replaced)

    def places(self, leaving: Leaving) -> dict[str, int]:
        """How many places of each type were replaced."""
        redactor = self.redactor
        return {} if redactor is None else {k: n for k, n in leaving.found.items() if not redactor.allows(k)}

    def watch(
        self, steps: Generator[Ask, Outcome, Prediction], departure: Departure | None
    ) -> Generator[Ask, Outcome, Prediction]:
        """The same steps. Whatever ends them, the egress log then says where the text went."""
        if departure is None or departure.leaving is None:
            return (yield from steps)
        to: list[str] = []
        try:
            ask = next(steps)
            while True:
                to.append(self._ways[ask.way].name)  # first, for it may never come back
                outcome = yield ask
                if not outcome.left:
                    to.pop()
                ask = steps.send(outcome)
        except StopIteration as done:
            return done.value if self.certifies else _uncertified(done.value)
        finally:
            self.log(departure, to)

    def log(self, departure: Departure, to: Sequence[str]) -> None:
        """Count a text that entered here and went to somebody, or was held, and say so in the egress log."""
        leaving = departure.leaving
        if leaving is None or not (to or leaving.held):
            return
        self.count(leaving, bool(to))
        if self._egress is not None:
            purpose: Purpose = "audit" if departure.request.audit else "answer"
            self._egress.write(leaving, tuple(dict.fromkeys(to)), self._release, self._tier, purpose)

    def close(self) -> None:
        """There will be no more for the egress log."""
        if self._egress is not None:
            self._egress.close()


def open_door(release: Release, tier: Tier, ways: Sequence[Way], egress: Egress | None = None) -> Door:
    """The door of a node of this release; one that leads nowhere has no redactor.

    Raises:
        PrivacyError: a detector that the release names is not here, or is another.
    """
    policy = release.record.privacy
    if policy is None or not ways:
        return Door(release.id, tier, ways, None, egress)
    from tianti.privacy.own import open_redactor  # a node that asks nobody never loads the detectors

    redactor = open_redactor(policy)
    if not redactor.rules_match:
        _log.warning(
            "release %s was certified with version %d of the detectors and this is version %d: answers are not "
            "certified; install the version of tianti that the release was built with, or build it anew with this one",
            release.id[:12],
            policy.rules,
            RULES,
        )
    return Door(release.id, tier, ways, redactor, egress)


def _uncertified(prediction: Prediction) -> Prediction:
    decision = msgspec.structs.replace(prediction.decision, certified=False)
    return msgspec.structs.replace(prediction, decision=decision)
