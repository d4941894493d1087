"""What a stage is, and what a run says while it works: the contract that a user's own stage keeps too.

Not here: any stage. Invariant: a stage reads its inputs and its part of the spec, writes below `out`, and touches
nothing else; so its output can be kept under the hash of what it was made from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tianti.spec.ladder import LadderSpec

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done)."""


@dataclass(frozen=True)
class StageContext:
    """What a stage works with. `base` is the folder of ladder.yaml; `inputs` maps stage names to their folders."""

    spec: LadderSpec
    base: Path
    inputs: dict[str, Path]
    out: Path
    progress: Progress


class StageFunction(Protocol):
    """A stage's work. A user's own is named `module:function` in the spec."""

    def __call__(self, context: StageContext) -> None:
        """Do the work of the stage; raise a TiantiError that says what is wrong."""
        ...


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline.

    `needs` are stages whose folders it reads; `parts` is what of the spec and the world outside it depends on (hashed
    into its key); `rooms` are the rooms, or files of one, whose code it runs (hashed too). Where `replaces` names a
    stage, later stages read this one's folder in that one's place. Where it goes `by_content`, later stages are keyed
    by what it wrote: they are done again only if that is something else. Neighbours that are `apart` run at the same
    time, each in a process of its own; `run` must be picklable then.
    """

    name: str
    run: StageFunction
    needs: tuple[str, ...] = ()
    parts: Callable[[LadderSpec, Path], object] = lambda spec, base: None
    rooms: tuple[str, ...] = ()
    replaces: str | None = None
    by_content: bool = False
    apart: bool = False


@dataclass(frozen=True)
class StageDone:
    """One line of a run's timeline."""

    name: str
    key: str
    seconds: float
    cached: bool
