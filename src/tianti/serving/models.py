"""The models of one node, by name, each with its versions: what every dialect asks.

Not here: HTTP and gRPC (`app`, ...), answering (`desk`).
Invariants: a version is one release, known by its number here and by its id everywhere; a label points to a version
that is loaded.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tianti.errors import UnknownModelError
from tianti.protocols.infer import InferRequest, InferResponse
from tianti.router import Status
from tianti.serving.desk import Desk


class Version(NamedTuple):
    """A release that this node answers with; `labels` are those that point to it, such as `stable`."""

    number: int
    release: str
    labels: tuple[str, ...] = ()


class Models:
    """Desks by the name of their model."""

    def __init__(self, desks: Sequence[Desk]) -> None:
        self._desks = {desk.model: desk for desk in desks}

    @property
    def names(self) -> tuple[str, ...]:
        """Of all models that can be asked."""
        return tuple(self._desks)

    def versions(self, name: str) -> tuple[Version, ...]:
        """The versions of a model, newest first.

        Raises:
            UnknownModelError: there is no such model here.
        """
        releases = self._desk(name).releases
        return tuple(
            Version(number, release) for number, release in zip(range(len(releases), 0, -1), releases, strict=True)
        )

    def find(self, name: str, version: str | None = None, label: str | None = None) -> str:
        """The id of the release that a path names: by id, by number (0: the newest) or by label; else the newest.

        Raises:
            UnknownModelError: there is no such model, version or label here.
        """
        versions = self.versions(name)
        if label is not None:
            found = next((each.release for each in versions if label in each.labels), None)
        elif version in (None, "0"):
            found = versions[0].release
        else:
            found = next((each.release for each in versions if version in (each.release, str(each.number))), None)
        if found is None:
            known = ", ".join(f"{each.number} ({each.release[:12]})" for each in versions)
            raise UnknownModelError(f"{name}: no version {version or label!r}; expected one of {known}")
        return found

    def outputs(self, name: str, release: str) -> tuple[str, ...]:
        """The labels of a release's model, in the order of `scores`."""
        return self._desk(name).labels(release)

    async def infer(self, name: str, asked: InferRequest) -> InferResponse:
        """Answer a batch; `asked.release` is what the caller answers under, which may be unknown here.

        Raises:
            UnknownModelError: there is no such model here.
            OverloadError: there is no time for it, or the caller has had its share.
            DeadlineError: the deadline passed before the model could run.
            RunError: no tier gave a usable answer to one of the texts.
        """
        return await self._desk(name).infer(asked)

    def status(self) -> Mapping[str, Mapping[str, Status]]:
        """What each release of each model has done for requests that entered the ladder here."""
        return {name: desk.status() for name, desk in self._desks.items()}

    async def aclose(self) -> None:
        """Close all desks."""
        for desk in self._desks.values():
            await desk.aclose()

    def _desk(self, name: str) -> Desk:
        if (desk := self._desks.get(name)) is None:
            raise UnknownModelError(f"unknown model {name!r}; expected one of {', '.join(self._desks) or 'none'}")
        return desk
