"""Execute stages in order, each kept under a key of what it was made from.

    key = SHA-256(stage, its part of spec and world, keys of its inputs, its code, seed)

Not here: what the stages do (`stages`), how progress looks (`cli`). Invariants: what is in the store is never made
twice, also by two runs that race; a run killed at any instant resumes at the stage it was in.
"""

import hashlib
import inspect
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from tianti.pipeline.contract import Progress, Stage, StageContext, StageDone, StageFunction
from tianti.spec.ladder import LadderSpec
from tianti.store import ArtifactStore, canonical_json, sha256_bytes


class Listener(Protocol):
    """Hears what a run does."""

    def started(self, stage: str) -> None:
        """A stage begins."""
        ...

    def progressed(self, stage: str, done: int, total: int, note: str) -> None:
        """A stage has done `done` of `total`."""
        ...

    def finished(self, done: StageDone) -> None:
        """A stage is done, or was found in the store."""
        ...


def run_stages(
    stages: Sequence[Stage], spec: LadderSpec, base: Path, store: ArtifactStore, listener: Listener
) -> tuple[dict[str, Path], list[StageDone]]:
    """Run what is not in the store yet.

    Returns:
        The folder of each stage's output, and the timeline.
    """
    folders: dict[str, Path] = {}
    keys: dict[str, str] = {}
    timeline: list[StageDone] = []
    for stage in stages:
        begun = time.perf_counter()
        listener.started(stage.name)
        key = _key(stage, spec, base, keys)
        inputs = {name: folders[name] for name in stage.needs}
        progress = _progress(listener, stage.name)
        folder, cached = store.build(key, _fill(stage, spec, base, inputs, progress))
        name = stage.replaces or stage.name
        folders[name], keys[name] = folder, key
        done = StageDone(stage.name, key, round(time.perf_counter() - begun, 3), cached)
        timeline.append(done)
        listener.finished(done)
    return folders, timeline


def _key(stage: Stage, spec: LadderSpec, base: Path, keys: dict[str, str]) -> str:
    made_from = {
        "stage": stage.name,
        "parts": stage.parts(spec, base),
        "inputs": {name: keys[name] for name in stage.needs},
        "code": [_file_digest(stage.run), *map(_room_digest, stage.rooms)],
        "seed": spec.seed,
    }
    return f"{stage.name}-{sha256_bytes(canonical_json(made_from))[:32]}"


def _file_digest(run: StageFunction) -> str:
    """SHA-256 of the file that a stage is written in: another version of the code is another key."""
    function = run.func if isinstance(run, partial) else run
    return sha256_bytes(Path(inspect.getfile(function)).read_bytes())


@cache
def _room_digest(room: str) -> str:
    """SHA-256 of a room's source."""
    digest = hashlib.sha256()
    folder = files("tianti") / room
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _fill(
    stage: Stage, spec: LadderSpec, base: Path, inputs: dict[str, Path], progress: Progress
) -> Callable[[Path], None]:
    return lambda out: stage.run(StageContext(spec, base, inputs, out, progress))


def _progress(listener: Listener, stage: str) -> Progress:
    return lambda done, total, note: listener.progressed(stage, done, total, note)
