"""A node: one tier of one release on this machine, and the ways up from it.

Not here: threads, event loops or HTTP, which are the drivers' (`device`, `serving`).
Invariant: a package is verified against its release before its first answer.
"""

import time
from collections.abc import Callable, Generator, Sequence

from tianti.certificate import NEVER, UNUSABLE, Reading, read, read_rows
from tianti.errors import RunError, UsageError
from tianti.package import Release, check_binding, verify_package
from tianti.privacy import Leaving
from tianti.protocols.infer import MAX_TEXT_CHARS
from tianti.router.climb import Answer, Ask, Outcome, Terms, climb, conclude, good_here
from tianti.router.control import Control, Policy
from tianti.router.door import Departure, open_door
from tianti.router.egress import Egress
from tianti.router.policy import bind_point, choose_point, threshold_of
from tianti.router.upstream import Upstream
from tianti.runtimes import Encoded, open_package
from tianti.spec import Prediction, Probabilities, Tier
from tianti.store import canonical_json, sha256_bytes

_CHOSEN_FOR_S = 0.1


class Node:
    """Answers texts with a tier's model and climbs where its score does not do.

    Raises:
        PackageError: the release or its package cannot be used; an IntegrityError if they are not what was certified.
        PrivacyError: a detector that the release names is not here, or is another.
        UsageError: the release has no such tier, or the cloud was given something above it.
    """

    def __init__(
        self,
        release: Release,
        tier: Tier,
        upstreams: Sequence[Upstream] = (),
        clock: Callable[[], float] = time.perf_counter,
        policy: Policy | None = None,
        egress: Egress | None = None,
    ) -> None:
        record = release.record
        if tier not in record.packages:
            raise UsageError(f"{release.folder}: expected a package of tier {tier}, got {', '.join(record.packages)}")
        if tier is Tier.CLOUD and upstreams:
            raise UsageError("the cloud is the top of the ladder: it takes no upstream; got one")
        check_binding(record)
        package = release.package(tier)
        verify_package(package)
        self.name = record.name
        self.release = release.id
        self.tier = tier
        self.labels = package.manifest.labels
        self.record = record
        self.certificate = record.certificate
        self.upstreams = upstreams
        self.clock = clock
        usual = record.usual.get(tier)
        self.control = Control(record.certificate, policy or Policy(), record.prices, clock(), usual=usual)
        self.door = open_door(release, tier, upstreams, egress)
        self._entering: tuple[float, float, int, Terms | None] = (0.0, 0.0, 0, None)
        self._certificate_id = sha256_bytes(canonical_json(record.certificate))
        self._head = record.heads[tier]
        self.goldens = package.goldens
        self.size_bytes = package.manifest.size_bytes
        self._out_of_scope = record.out_of_scope or ""
        self.runtime = open_package(package)

    def entry_terms(self, deadline_ms: float, now_s: float) -> Terms:
        """What a request is answered under that enters the ladder here: the point is this node's choice.

        It is chosen ten times a second and after an alarm, and found in between: requests are alike but for their text.
        """
        chosen_s, asked_ms, alarms, terms = self._entering
        fresh = chosen_s <= now_s < chosen_s + _CHOSEN_FOR_S and alarms == self.control.alarms
        if terms is None or asked_ms != deadline_ms or not fresh:
            load = max((upstream.use for upstream in self.upstreams), default=0.0)
            point, stands = self.control.point(load, now_s)
            covered = stands and self.door.certifies and self.tier is not Tier.EDGE
            terms = self._make_terms(point, deadline_ms, covered)
            self._entering = (now_s, deadline_ms, self.control.alarms, terms)
        return terms

    def terms(
        self,
        point: float | None,
        deadline_ms: float,
        *,
        passed_by: Tier | None = None,
        known: bool = True,
        audit: bool = False,
    ) -> Terms:
        """What a request is answered under that comes from below, or whose client chose the point.

        Args:
            point: the alpha that was asked for; None: nothing was certified below.
            deadline_ms: counted from the request's arrival.
            passed_by: the tier below that was not sure enough. The certified points are joint, so an edge that is asked
                first answers by its threshold, but is not covered: it also answers what the device would have kept.
            known: this node has the release that the request names.
            audit: only the cloud is to answer.
        """
        bound = choose_point(self.certificate) if point is None else bind_point(self.certificate, point)
        covered = known and (self.tier is not Tier.EDGE or passed_by is Tier.DEVICE)
        covered = covered and (self.door.certifies or passed_by is not None)
        return self._make_terms(bound, deadline_ms, covered, NEVER if audit else None)

    def _make_terms(self, point: float | None, deadline_ms: float, covered: bool, only: float | None = None) -> Terms:
        return Terms(
            tier=self.tier,
            threshold=threshold_of(self.certificate, self.tier, point) if only is None else only,
            point=point,
            certificate=self._certificate_id,
            covered=covered and point is not None,
            deadline_s=deadline_ms / 1e3,
        )

    def answer(self, text: str) -> Answer | RunError:
        """The local model's answer; a failure of the model is returned, since a higher tier may still answer.

        Raises:
            UsageError: this is not a text, or too long a one.
        """
        try:
            if len(text) > MAX_TEXT_CHARS:
                raise UsageError(f"expected a text of at most {MAX_TEXT_CHARS} characters, got {len(text)}; cut it")
            logits, tokens, unknown, truncated = self.runtime.run(text)
        except TypeError as error:  # so that a text which is one pays nothing for the check
            got = type(text).__name__ if not isinstance(text, str) else "a lone surrogate in it"
            raise UsageError(f"expected a text (str, valid Unicode), got {got}") from error
        except RunError as error:
            return error
        return self._interpret(read(self._head, logits, tokens, unknown), tokens, unknown, truncated)

    def answer_rows(self, texts: Sequence[Encoded]) -> list[Answer | RunError]:
        """The local model's answers to texts that share a call of its engine.

        Raises:
            RunError: the call failed.
        """
        logits = self.runtime.run_rows([text.ids for text in texts])
        tokens, unknown = [len(text.ids) for text in texts], [text.unknown for text in texts]
        readings = read_rows(self._head, logits, tokens, unknown)
        return [
            self._interpret(reading, len(text.ids), text.unknown, text.truncated)
            for reading, text in zip(readings, texts, strict=True)
        ]

    def _interpret(self, reading: Reading, tokens: int, unknown: int, truncated: bool) -> Answer | RunError:
        index = reading.index
        if index == UNUSABLE:
            return RunError(f"package {self.runtime.package[:12]}: expected finite logits, two at least")
        label = self.labels[index] if index >= 0 else self._out_of_scope
        probabilities = Probabilities(self.labels, reading.probabilities.tobytes())
        return Answer(label, reading.score, probabilities, self.runtime.package, truncated, tokens, unknown)

    def keep(
        self, here: Answer | RunError, terms: Terms, started_s: float, *, enters: bool = True
    ) -> Prediction | None:
        """The answer to a request where nobody has to be asked; None: it has to `climb`.

        A climb comes to the same; most requests end here, and are spared its generators.
        """
        good = good_here(here, terms)
        if good is None:
            return None
        prediction = conclude(here, terms, good, (terms.tier,), self.clock() - started_s)
        if enters:
            self.control.answered(prediction, here)
        return prediction

    def leave(self, text: str) -> Leaving:
        """What would become of a text that enters here, if it had to leave."""
        return self.door.leave(text)

    def climb(
        self,
        here: Answer | RunError,
        terms: Terms,
        started_s: float,
        departure: Departure | None = None,
        *,
        enters: bool = True,
    ) -> Generator[Ask, Outcome, Prediction]:
        """One request's way up from here (see `climb`); one that enters the ladder here is counted, and paid for.

        `departure`: the text at the door; without one nobody is asked.
        """
        paid = False

        def pay() -> bool:
            nonlocal paid
            paid = enters and self.control.reserve(self.clock())
            return paid or not enters

        held, redactions = (False, 0) if departure is None else (departure.held, departure.redactions)
        ways = self.upstreams if departure is not None else ()
        steps = climb(here, terms, ways, started_s, self.clock(), pay, held, redactions)
        prediction = yield from self.door.watch(steps, departure)
        if paid:
            failed = prediction.tier is self.tier and len(prediction.decision.tiers_tried) > 1
            self.control.settle(None if failed else prediction, self.clock())
        if enters:
            self.control.answered(prediction, here)
        return prediction
