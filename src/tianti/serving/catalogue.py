"""Which releases a node is to serve, as a file says it; and bringing what is loaded in line with that.

    models:
      assistant: {releases: {3: releases/3, 2: releases/2}, labels: {stable: 2, canary: 3}}
      intents: {folder: releases/intents, keep: 2}     # 1/, 2/, 3/ …, as TensorFlow Serving has it

Not here: answering (`models`, `desk`), when to look (`serve`).
Invariants: a new version is loaded, and its model has run, before an old one goes; what cannot be loaded leaves in
place what is; nothing is loaded past the memory that models may take.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from tianti.errors import PackageError, TiantiError, UsageError
from tianti.package import Release, read_release
from tianti.serving.desk import Desk
from tianti.serving.models import Models, Version
from tianti.spec import Tier
from tianti.spec.parse import read_yaml

_log = logging.getLogger("tianti")


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which versions of one model are to be served.

    `releases`: folder of each version; or `folder`: holds one a version, named by its number. `keep`: only the newest
    so many; `pin`: only these. `labels`: names for versions, such as `stable`. `default`: the version that answers who
    names none; None: the newest.
    """

    releases: dict[int, Path] = {}
    folder: Path | None = None
    keep: Annotated[int, msgspec.Meta(ge=1)] | None = None
    pin: list[int] = []
    labels: dict[str, int] = {}
    default: int | None = None

    def versions(self) -> dict[int, Path]:
        """The versions that are wanted: the default one, then newest first.

        Raises:
            UsageError: there is none, or a label, a pin or the default names one that is not among them.
        """
        found = dict(self.releases)
        if self.folder is not None and self.folder.is_dir():
            found |= {int(each.name): each for each in self.folder.iterdir() if each.name.isdecimal()}
        numbers = sorted(found, reverse=True)
        missing = sorted({*self.pin} - {*numbers})
        numbers = [number for number in numbers if number in self.pin] if self.pin else numbers[: self.keep]
        chosen = set() if self.default is None else {self.default}
        missing += sorted({*self.labels.values(), *chosen} - {*numbers} - {*missing})
        if missing or not numbers:
            got = ", ".join(map(str, numbers)) or "none"
            where = "" if self.folder is None else f" in {self.folder}"
            raise UsageError(f"expected versions {', '.join(map(str, missing)) or '1, 2, …'}{where}, got {got}")
        return {number: found[number] for number in sorted(numbers, key=lambda number: number not in chosen)}


def signature_of(path: Path) -> tuple[object, ...]:
    """Changes when a models file does, or any file of the releases that it names: a copy may take its time."""
    try:
        stat = path.stat()
        wanted = read_wanted(path).values()
        folders = [each.folder for each in wanted if each.folder is not None]
        folders += [folder for each in wanted for folder in each.releases.values()]
        found = [(file, file.stat()) for folder in folders for file in sorted(folder.rglob("*"))]
    except (OSError, UsageError):
        return ()
    return (stat.st_mtime_ns, stat.st_size, *((file, each.st_mtime_ns, each.st_size) for file, each in found))


class _File(msgspec.Struct, forbid_unknown_fields=True):
    models: dict[str, Wanted]


def read_wanted(path: Path) -> dict[str, Wanted]:
    """What a models file says; its paths are relative to it.

    Raises:
        UsageError: it cannot be read, or says something else.
    """
    try:
        given = read_yaml(path.read_text(encoding="utf-8"))
        models = msgspec.convert(given, _File, strict=False, dec_hook=_as_path).models
    except (OSError, UnicodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise UsageError(f"{path}: expected a models file (docs/en/node.md), got: {error}") from error
    for name, wanted in models.items():
        if bool(wanted.releases) == (wanted.folder is not None):
            raise UsageError(f"{path}: {name}: expected either releases or a folder of them")
    return {name: _below(path.parent, wanted) for name, wanted in models.items()}


def _as_path(kind: type, value: object) -> Path:
    if kind is not Path or not isinstance(value, str):
        raise TypeError(f"expected a path, got {value!r}")
    return Path(value)


def _below(folder: Path, wanted: Wanted) -> Wanted:
    releases = {number: folder / path for number, path in wanted.releases.items()}
    return msgspec.structs.replace(
        wanted, releases=releases, folder=None if wanted.folder is None else folder / wanted.folder
    )


class Catalogue:
    """Loads and unloads.

    Args:
        models: what is changed.
        tier: whose package of each release counts as memory.
        make_desk: loads a release's model.
        memory_bytes: what the files of all loaded models may come to; None: no limit.
    """

    def __init__(
        self, models: Models, tier: Tier, make_desk: Callable[[Release], Desk], memory_bytes: int | None = None
    ) -> None:
        self._models, self._tier, self._make_desk, self._memory_bytes = models, tier, make_desk, memory_bytes
        self.failures: dict[str, str] = {}

    def sync(self, wanted: Mapping[str, Wanted], *, strict: bool = False) -> list[Desk]:
        """Bring what is loaded in line; gives the desks that are no longer used.

        Blocks while models load. What fails is in `failures` by model, and in the log; or is raised where `strict`.
        """
        dropped: list[Desk] = []
        self.failures = {}
        for name in set(self._models.names) - set(wanted):
            dropped += self._models.desks(name).values()
            self._models.drop(name)
        for name, each in wanted.items():
            made: list[Desk] = []
            try:
                dropped += self._sync_model(name, each, made)
            except (TiantiError, OSError) as error:
                if strict:
                    raise
                dropped += made
                self.failures[name] = str(error)
                _log.error("model %s stays as it is: %s", name, error)
        return dropped

    def _sync_model(self, name: str, wanted: Wanted, made: list[Desk]) -> list[Desk]:
        """Gives the desks that are no longer used; `made`: takes the new ones, as far as it comes."""
        before = self._models.desks(name)
        found = {number: read_release(path) for number, path in wanted.versions().items()}
        for number, release in found.items():
            if release.record.name != name:
                raise PackageError(f"version {number}: expected a release of {name}, got {release.record.name}")
        self._check_memory(name, list(found.values()))
        desks: dict[str, Desk] = {}
        for each in found.values():
            desk = desks.get(each.id) or before.get(each.id)
            if desk is None:
                made.append(desk := self._make_desk(each))
            desks[each.id] = desk
        versions = [
            Version(number, each.id, tuple(label for label, at in wanted.labels.items() if at == number))
            for number, each in found.items()
        ]
        self._models.put(name, versions, desks)
        return [desk for release, desk in before.items() if release not in desks]

    def _check_memory(self, name: str, releases: Sequence[Release]) -> None:
        """Old versions and new ones are in memory together for a while."""
        if self._memory_bytes is None:
            return
        desks = [desk for other in self._models.names for desk in self._models.desks(other).values()]
        loaded = {desk.node.release: desk.node.size_bytes for desk in desks}
        wanted = {each.id: each.package(self._tier).manifest.size_bytes for each in releases}
        needed = sum((loaded | wanted).values())
        if needed > self._memory_bytes:
            raise UsageError(
                f"{name}: expected models of at most {self._memory_bytes / 1e6:.0f} MB on this node, would be "
                f"{needed / 1e6:.0f}; raise --memory, or keep fewer versions"
            )
