"""Execute stages in order, each kept under a key of what it was made from.

    key = SHA-256(stage, its part of spec and world, keys of its inputs, its code, seed)

Not here: what the stages do (`stages`), how progress looks (`cli`). Invariants: what is in the store is never made
twice, also by two runs that race; a run killed at any instant resumes at the stage it was in.
"""

import hashlib
import inspect
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from tianti.pipeline.apart import run_apart
from tianti.pipeline.contract import Stage, StageContext, StageDone, StageFunction
from tianti.spec.ladder import LadderSpec
from tianti.store import ArtifactStore, canonical_json, sha256_bytes, sha256_tree


class Listener(Protocol):
    """Hears what a run does."""

    def started(self, stage: str) -> None:
        """A stage begins."""
        ...

    def progressed(self, stage: str, done: int, total: int, note: str) -> None:
        """A stage has done `done` of `total`."""
        ...

    def finished(self, done: StageDone, folder: Path) -> None:
        """A stage is done, or was found in the store; its output is in the folder."""
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
    stop = threading.Event()

    def run_one(stage: Stage) -> tuple[Path, StageDone]:
        begun = time.perf_counter()
        listener.started(stage.name)
        key = _key(stage, spec, base, keys)
        inputs = {name: folders[name] for name in stage.needs}

        def gives_up() -> bool:
            listener.progressed(stage.name, 0, 1, "another run is making this")
            return stop.is_set()

        folder, cached = store.build(key, _fill(stage, spec, base, inputs, listener, stop), gives_up)
        done = StageDone(stage.name, key, round(time.perf_counter() - begun, 3), cached)
        listener.finished(done, folder)
        return folder, done

    for together in _groups(stages):
        ended = _run_together(run_one, together, stop)
        for stage, (folder, done) in zip(together, ended, strict=True):
            name = stage.replaces or stage.name
            folders[name], keys[name] = folder, sha256_tree(folder) if stage.by_content else done.key
            timeline.append(done)
    return folders, timeline


def _run_together(
    run_one: Callable[[Stage], tuple[Path, StageDone]], together: list[Stage], stop: threading.Event
) -> list[tuple[Path, StageDone]]:
    if len(together) == 1:
        return [run_one(together[0])]
    with ThreadPoolExecutor(len(together)) as pool:
        futures = [pool.submit(run_one, stage) for stage in together]
        try:
            failed = [future for future in wait(futures, return_when=FIRST_EXCEPTION).done if future.exception()]
            return [future.result() for future in failed or futures]
        except BaseException:  # Ctrl-C, or one stage failed: the others are not to go on
            stop.set()
            raise


def _groups(stages: Sequence[Stage]) -> list[list[Stage]]:
    """Stages that run at the same time: neighbours that are apart and do not need each other; all others alone."""
    groups: list[list[Stage]] = []
    for stage in stages:
        last = groups[-1] if groups else []
        if stage.apart and last and last[0].apart and not {other.name for other in last} & set(stage.needs):
            last.append(stage)
        else:
            groups.append([stage])
    return groups


def _key(stage: Stage, spec: LadderSpec, base: Path, keys: dict[str, str]) -> str:
    made_from = {
        "stage": stage.name,
        "parts": stage.parts(spec, base),
        "inputs": {name: keys[name] for name in stage.needs},
        "code": [_file_digest(stage.run), *map(_source_digest, stage.rooms)],
        "seed": spec.seed,
    }
    return f"{stage.name}-{sha256_bytes(canonical_json(made_from))[:32]}"


def _file_digest(run: StageFunction) -> str:
    """SHA-256 of the file that a stage is written in: another version of the code is another key."""
    function = run.func if isinstance(run, partial) else run
    return sha256_bytes(Path(inspect.getfile(function)).read_bytes())


@cache
def _source_digest(room: str) -> str:
    """SHA-256 of the source of a room, or of one file of a room; templates are source too."""
    digest = hashlib.sha256()
    place = files("tianti") / room
    for file in sorted(place.iterdir(), key=lambda file: file.name) if place.is_dir() else [place]:
        if file.is_file():
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _fill(
    stage: Stage, spec: LadderSpec, base: Path, inputs: dict[str, Path], listener: Listener, stop: threading.Event
) -> Callable[[Path], None]:
    def fill(out: Path) -> None:
        context = StageContext(spec, base, inputs, out, partial(listener.progressed, stage.name))
        if stage.apart:
            run_apart(stage.run, context, stop)
        else:
            stage.run(context)

    return fill
