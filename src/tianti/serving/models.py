"""The models of one node, by name, each with its versions: what every dialect asks.

Not here: HTTP and gRPC (`app`, ...), answering (`desk`), which versions there should be (`catalogue`).
Invariants: a version is one release, known by its number here and by its id everywhere; a label points to a version
that is loaded; a request keeps the version that it began with.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tianti.errors import OverloadError, UnknownModelError, UsageError
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.router import Status
from tianti.serving.access import ANYBODY, Caller
from tianti.serving.desk import Desk
from tianti.serving.quota import Quota
from tianti.telemetry.context import TRACE
from tianti.telemetry.tally import outcome_of


class Version(NamedTuple):
    """A release that this node answers with; `labels` are those that point to it, such as `stable`."""

    number: int
    release: str
    labels: tuple[str, ...] = ()


class Via(NamedTuple):
    """How a request came: for what is counted."""

    dialect: str
    caller: Caller = ANYBODY


class _Model(NamedTuple):
    versions: tuple[Version, ...]  # the default one, then newest first
    desks: Mapping[str, Desk]  # by release

    @property
    def newest(self) -> Desk:
        return self.desks[self.versions[0].release]


class Models:
    """What is loaded; `put` and `drop` change it, between two requests.

    Args:
        quota_per_s: texts that a caller may ask for whose token does not say; None: as many as it likes.

    Raises:
        UsageError: nobody could be given such a quota.
    """

    def __init__(self, quota_per_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        if quota_per_s is not None and not 0.0 < quota_per_s < math.inf:
            raise UsageError(f"quota: expected texts a second above 0, got {quota_per_s}")
        self._models: dict[str, _Model] = {}
        self._quota_per_s, self.quota, self._clock = quota_per_s, Quota(), clock
        self.in_flight = 0
        self.draining = False

    @property
    def ready(self) -> bool:
        """Is there something to ask, and will there be in a moment?"""
        return bool(self._models) and not self.draining

    @property
    def names(self) -> tuple[str, ...]:
        """Of all models that can be asked."""
        return tuple(self._models)

    def put(self, name: str, versions: Sequence[Version], desks: Mapping[str, Desk]) -> None:
        """These are from now on all the versions of a model, the default one first, with the desk of each."""
        self._models[name] = _Model(tuple(versions), dict(desks))

    def drop(self, name: str) -> None:
        """A model is here no longer; what is under way is still answered."""
        del self._models[name]

    def desks(self, name: str) -> Mapping[str, Desk]:
        """Of a model that may not be here, by release."""
        return self._models[name].desks if name in self._models else {}

    def versions(self, name: str) -> tuple[Version, ...]:
        """The versions of a model: the default one, then newest first.

        Raises:
            UnknownModelError: there is no such model here.
        """
        return self._model(name).versions

    def find(self, name: str, version: str | None = None, label: str | None = None) -> str:
        """The id of the release that a path names: by id, by number (0: the default) or by label; else the default.

        Raises:
            UnknownModelError: there is no such model, version or label here.
        """
        versions = self._model(name).versions
        if label is not None:
            found = next((each.release for each in versions if label in each.labels), None)
        elif version in (None, "0"):
            found = versions[0].release
        else:
            found = next((each.release for each in versions if version in (each.release, str(each.number))), None)
        if found is None:
            known = ", ".join(f"{each.number} ({', '.join((each.release[:12], *each.labels))})" for each in versions)
            raise UnknownModelError(f"{name}: unknown version {label or version!r}; expected one of {known}")
        return found

    def outputs(self, name: str, release: str) -> tuple[str, ...]:
        """The labels of a release's model, in the order of `scores`."""
        return self._model(name).desks[release].node.labels

    async def infer(self, name: str, asked: InferRequest, via: Via) -> InferResponse:
        """Answer a batch, and count it; `asked.release` is what the caller answers under, which may be unknown here.

        Raises:
            UnknownModelError: there is no such model here.
            UsageError: token ids that the model cannot take.
            QuotaError: the caller has had its share.
            OverloadError: there is no time for it.
            DeadlineError: the deadline passed before the model could run.
            RunError: no tier gave a usable answer to one of the texts.
        """
        began_s = self._clock()
        model = self._model(name)
        desk = model.newest if asked.release is None else model.desks.get(asked.release)
        known = desk is not None
        desk = desk or model.newest
        self.in_flight += 1
        try:
            self._take_share(via.caller, len(asked), began_s)
            predictions = await desk.infer(asked, known)
        except UsageError:
            raise  # counted by who answers it, with all that never came as far as this
        except BaseException as error:
            outcome = outcome_of(error)
            desk.tally.failed(via.dialect, outcome)
            if isinstance(error, OverloadError):
                desk.tally.shed(asked.priority, "quota" if outcome == "quota" else "backlog")
            raise
        finally:
            self.in_flight -= 1
        desk.tally.answered(via.dialect, self._clock() - began_s, predictions)
        if (trace := TRACE.get()) is not None:
            trace.answered(name, desk.node.release, predictions)
        node = desk.node  # the model may have been unloaded meanwhile
        return InferResponse(model=name, release=node.release, predictions=predictions, id=asked.id, labels=node.labels)

    def loaded(self) -> list[tuple[str, str, int]]:
        """Each model's name with its releases and their numbers."""
        models = self._models.copy()  # one step, for threads that ask
        return [(name, each.release, each.number) for name, model in models.items() for each in model.versions]

    def _take_share(self, caller: Caller, texts: int, now_s: float) -> None:
        per_s = self._quota_per_s if caller.quota_per_s is None else caller.quota_per_s
        if per_s is not None:
            self.quota.take(caller.name, per_s, texts, now_s)

    def status(self) -> Mapping[str, Mapping[str, Status]]:
        """What each release of each model has done for requests that entered the ladder here."""
        return {
            name: {release: desk.node.control.status() for release, desk in model.desks.items()}
            for name, model in self._models.copy().items()
        }

    def _model(self, name: str) -> _Model:
        if (model := self._models.get(name)) is None:
            raise UnknownModelError(f"unknown model {name!r}; this node serves {', '.join(self._models) or 'none'}")
        return model
