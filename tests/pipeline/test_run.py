"""Stages are kept by what they were made from, and a killed run goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import torch

from tianti.errors import SpecError, StageError
from tianti.pipeline import Stage, StageContext, StageDone
from tianti.pipeline.run import run_stages
from tianti.pipeline.stages import ladder_stages
from tianti.spec.ladder import LadderSpec
from tianti.spec.named import find_function
from tianti.spec.parse import parse_spec
from tianti.store import ArtifactStore

SPEC = parse_spec("name: x\ndata: {train: a}\n")


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.done: list[StageDone] = []

    def started(self, stage: str) -> None: ...
    def progressed(self, stage: str, done: int, total: int, note: str) -> None: ...
    def finished(self, done: StageDone, folder: Path) -> None:
        self.done.append(done)


def write_one(context: StageContext) -> None:
    (context.out / "value").write_text(context.spec.name, encoding="utf-8")


def write_two(context: StageContext) -> None:
    value = (context.inputs["one"] / "value").read_text(encoding="utf-8")
    (context.out / "value").write_text(value * 2, encoding="utf-8")


STAGES = [
    Stage("one", write_one, parts=lambda spec, base: spec.name),
    Stage("two", write_two, needs=("one",), parts=lambda spec, base: spec.prices),
]


def run(tmp_path: Path, spec: LadderSpec = SPEC) -> tuple[str, list[bool]]:
    folders, timeline = run_stages(STAGES, spec, tmp_path, ArtifactStore(tmp_path / "store"), Heard())
    return (folders["two"] / "value").read_text(encoding="utf-8"), [done.cached for done in timeline]


def test_an_unchanged_run_does_nothing_again(tmp_path: Path) -> None:
    assert run(tmp_path) == ("xx", [False, False])
    assert run(tmp_path) == ("xx", [True, True])


def test_only_what_depends_on_a_change_is_done_again(tmp_path: Path) -> None:
    run(tmp_path)
    dearer = msgspec.structs.replace(SPEC, prices=msgspec.structs.replace(SPEC.prices, cloud=9.0))
    assert run(tmp_path, dearer) == ("xx", [True, False])
    renamed = msgspec.structs.replace(SPEC, name="y")
    assert run(tmp_path, renamed) == ("yy", [False, False])
    reseeded = msgspec.structs.replace(SPEC, seed=1)
    assert run(tmp_path, reseeded) == ("xx", [False, False])


KILLED = """
import sys, time
from pathlib import Path
from tests.pipeline.test_run import Heard, SPEC, Stage, write_one, write_two
from tianti.spec.named import find_function
from tianti.pipeline.run import run_stages
from tianti.pipeline.stages import ladder_stages
from tianti.store import ArtifactStore

def hang(context):
    (context.out / "value").write_text("half")
    print("in two", flush=True)
    time.sleep(60)

root = Path(sys.argv[1])
stages = [Stage("one", write_one, parts=lambda spec, base: spec.name), Stage("two", hang, needs=("one",))]
run_stages(stages, SPEC, root, ArtifactStore(root / "store"), Heard())
"""


def test_after_kill_9_the_earlier_stages_are_reused(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == b"in two\n"
        process.send_signal(signal.SIGKILL)
    assert run(tmp_path) == ("xx", [True, False])


def fails(context: StageContext) -> None:
    raise StageError("no")


def sleeps(context: StageContext) -> None:
    time.sleep(30)


def test_a_stage_that_fails_ends_its_neighbour(tmp_path: Path) -> None:
    stages = [Stage("sleeps", sleeps, apart=True), Stage("fails", fails, apart=True)]
    begun = time.monotonic()
    with pytest.raises(StageError, match="no"):
        run_stages(stages, SPEC, tmp_path, ArtifactStore(tmp_path / "store"), Heard())
    assert time.monotonic() - begun < 25


def count_threads(context: StageContext) -> None:
    (context.out / "threads").write_text(str(torch.get_num_threads()), encoding="utf-8")


def test_a_stage_in_a_process_of_its_own_has_one_thread(tmp_path: Path) -> None:
    """Though torch is there before the stage begins, as in any script that imports it."""
    stages = [Stage("one", count_threads, apart=True), Stage("other", count_threads, apart=True)]
    folders, _ = run_stages(stages, SPEC, tmp_path, ArtifactStore(tmp_path / "store"), Heard())
    assert (folders["one"] / "threads").read_text(encoding="utf-8") == "1"


def write_the_same(context: StageContext) -> None:
    (context.out / "rows").write_text("the same", encoding="utf-8")


@pytest.mark.parametrize("by_content", [True, False])
def test_what_goes_by_content_makes_later_stages_anew_only_where_it_is_other(tmp_path: Path, by_content: bool) -> None:
    for part in (1, 2):
        one = Stage("one", write_the_same, parts=lambda spec, base, part=part: part, by_content=by_content)
        two = Stage("two", write_the_same, needs=("one",))
        _, timeline = run_stages([one, two], SPEC, tmp_path, ArtifactStore(tmp_path / "store"), Heard())
    assert [done.cached for done in timeline] == [False, by_content]


def test_own_stages_run_in_the_order_of_the_spec_and_know_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def a(context): ...\ndef b(context): ...\n", encoding="utf-8")
    own = 'stages: [{use: "mine:a", after: prepare}, {use: "mine:b", after: prepare}]\n'
    stages = ladder_stages(parse_spec("name: x\ndata: {train: a}\n" + own), tmp_path)
    assert [stage.name for stage in stages[:4]] == ["prepare", "prepare+mine.a", "prepare+mine.b", "teach"]
    dearer = parse_spec("name: x\ndata: {train: a}\nprices: {cloud: 9}\n" + own)
    assert stages[1].parts(SPEC, tmp_path) != stages[1].parts(dearer, tmp_path)


def test_a_module_that_fails_when_imported_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0", encoding="utf-8")
    with pytest.raises(SpecError, match="'broken' fails when imported: ZeroDivisionError"):
        find_function("broken:f", tmp_path)
