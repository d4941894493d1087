"""`kill -9` in the middle of distillation, through the command line: nothing left behind, earlier stages reused."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tianti.data.sample.generate import sample_rows

LADDER = """
name: killed
data: {train: train.jsonl, calibration: calibration.jsonl, out_of_scope: out_of_scope}
cloud: {fit: {epochs: 1}}
edge: {student: bag, width: 16, augment: 200, fit: {epochs: 1}}
device: {student: bag, width: 16, augment: 200, fit: {epochs: EPOCHS}}
"""
PATIENCE_S = 120
Start = Callable[[Path], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `tianti run` in a folder; whatever comes of the test, it does not go on."""
    started: list[subprocess.Popen[str]] = []

    def run(folder: Path) -> subprocess.Popen[str]:
        started.append(_start(folder))
        return started[-1]

    yield run
    for process in started:
        process.kill()


def _start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tianti", "run", "--json"]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a runner in the background ignores it
    )


def children_of(process: int) -> list[psutil.Process]:
    return psutil.Process(process).children(recursive=True)


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def start_until_distilling(start: Start, folder: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A run whose edge is distilled and whose device is being distilled, and the processes that it started."""
    process, deadline = start(folder), time.monotonic() + PATIENCE_S
    while not list((folder / ".tianti" / "artifacts").glob("distill-edge-*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    return process, children_of(process.pid)


def wait_until_gone(children: list[psutil.Process]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(map(is_alive, children)):
        assert time.monotonic() < deadline, "the run left a process behind"
        time.sleep(0.1)


def test_kill_9_in_distill_and_run_again(start: Start, tmp_path: Path) -> None:
    for name, rows in sample_rows().items():
        few = rows[: {"train": 1200, "calibration": 300, "test": 10}[name]]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in few), encoding="utf-8")
    # far too many epochs, so that it is in distillation when it is killed
    (tmp_path / "ladder.yaml").write_text(LADDER.replace("EPOCHS", "100000"), encoding="utf-8")
    process, children = start_until_distilling(start, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert children
    wait_until_gone(children)
    (tmp_path / "ladder.yaml").write_text(LADDER.replace("EPOCHS", "1"), encoding="utf-8")
    out, err = start(tmp_path).communicate(timeout=PATIENCE_S)
    record = json.loads(out.splitlines()[-1])
    assert {"prepare", "teach", "lessons", "distill-edge"} <= set(record["cached"]), err
    assert not list((tmp_path / ".tianti" / "artifacts").glob(".tmp-distill-edge*"))


def test_ctrl_c_ends_with_1_and_leaves_nothing_half_written(start: Start, tmp_path: Path) -> None:
    rows = sample_rows()["train"][:800]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    ladder = LADDER.replace("calibration: calibration.jsonl, ", "").replace("EPOCHS", "100000")
    (tmp_path / "ladder.yaml").write_text(ladder, encoding="utf-8")
    process, children = start_until_distilling(start, tmp_path)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "stopped" in err and "Traceback" not in err
    assert not list((tmp_path / ".tianti" / "artifacts").glob(".tmp-*"))
    wait_until_gone(children)
