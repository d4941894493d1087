"""Whatever instant the power goes, the process dies or the disk is full during a whole update: a device that serves.

The update installs a release by copy, patch, packed and plain blob, commits it and removes an older one.
"""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from tests.update import small
from tests.update.crashes import Files, Interrupted, Killed, Operation, Recorder, crash_states, last_states, problems
from tests.update.small import FIRST, THIRD, begin, update, wrong
from tianti.errors import StoreError
from tianti.store import canonical_json
from tianti.update.disk import Disk, put
from tianti.update.home import release_folder
from tianti.update.install import _Install
from tianti.update.state import StateFile

KINDS = ("write", "append", "fsync", "rename", "unlink", "mkdir", "rmdir", "fsync_dir")


class Forgets(Recorder):
    """Never does one kind of operation to files or folders of one name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__()
        act = getattr(self, kind)
        setattr(self, kind, lambda path: None if path.name == name else act(path))


def record(folder: Path, disk: Recorder, do: Callable[[Path, Disk], object] = update) -> tuple[Files, list[Operation]]:
    begin(folder)
    before = Files.below(folder)
    do(folder, disk)
    return before, disk.done


def found(folder: Path, before: Files, operations: list[Operation]) -> list[str]:
    return problems(folder, before, operations, lambda finished: wrong(folder, finished))


def test_after_a_power_cut_at_any_operation_a_device_serves(tmp_path: Path) -> None:
    before, operations = record(tmp_path, Recorder())
    assert {operation.kind for operation in operations} == set(KINDS)
    assert found(tmp_path, before, operations) == []


def test_after_a_power_cut_the_next_check_ends_the_update(tmp_path: Path) -> None:
    before, operations = record(tmp_path, Recorder())
    for _, left in crash_states(before, operations):
        left.lay_out(tmp_path)
        update(tmp_path)
        assert wrong(tmp_path, finished=True) is None


def _state_first(folder: Path, disk: Disk) -> None:
    StateFile(folder, disk).save(small.named(StateFile(folder).load()))
    update(folder, disk)


def _shipment_first(folder: Path, disk: Disk) -> None:
    below = release_folder(folder, THIRD.release)
    disk.mkdir(below)
    put(disk, below / "shipment.json", canonical_json(THIRD))
    update(folder, disk)


@pytest.mark.parametrize(
    ("disk", "do", "problem"),
    [
        (lambda: Forgets("fsync", "model.onnx.tmp"), update, "not servable"),
        (lambda: Forgets("fsync", "release.json.part"), update, "not servable"),
        (lambda: Forgets("fsync_dir", "onnx"), update, "not servable"),
        (lambda: Forgets("fsync_dir", "releases"), update, "not servable"),
        (lambda: Forgets("fsync_dir", FIRST.release), update, "looks complete"),
        (Recorder, _state_first, "not servable"),
        (Recorder, _shipment_first, "looks complete"),
    ],
)
def test_control_an_update_in_another_order_or_without_a_sync_is_found(
    tmp_path: Path, disk: Callable[[], Recorder], do: Callable[[Path, Disk], object], problem: str
) -> None:
    before, operations = record(tmp_path, disk(), do)
    states = chain(((True, files) for files in last_states(before, operations)), crash_states(before, operations))
    laid_out = (files.lay_out(tmp_path) or finished for finished, files in states)
    assert any((wrong(tmp_path, finished) or "").startswith(problem) for finished in laid_out)


def _operations(folder: Path) -> int:
    folder.mkdir()
    return len(record(folder, Recorder())[1])


def _killed_then_cut_off(folder: Path, count: int) -> list[str]:
    """The process dies after `count` operations; another one ends the update; then the power goes."""
    begin(folder)
    before, first, second = Files.below(folder), Interrupted(count), Recorder()
    with pytest.raises(Killed):
        update(folder, first)
    update(folder, second)
    operations = [*first.done, *second.done]
    said = []
    for files in last_states(before, operations):
        files.lay_out(folder)
        said.append(wrong(folder, finished=True))
    return [problem for problem in said if problem is not None]


def test_what_a_killed_process_left_unsynced_lasts_once_the_next_one_is_done(tmp_path: Path) -> None:
    for count in range(_operations(tmp_path / "whole")):
        (tmp_path / str(count)).mkdir()
        assert _killed_then_cut_off(tmp_path / str(count), count) == []


def test_control_a_resumed_install_that_syncs_only_its_own_files_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(install: _Install) -> None:
        put(install._disk, install._release / "shipment.json", canonical_json(install._shipment))

    monkeypatch.setattr(_Install, "_finish", finish)
    for count in range(_operations(tmp_path / "whole")):
        (tmp_path / str(count)).mkdir()
        if any(problem.startswith("not servable") for problem in _killed_then_cut_off(tmp_path / str(count), count)):
            return
    pytest.fail("nothing was found")


def _full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_at_any_operation_changes_nothing(tmp_path: Path) -> None:
    for count in range(_operations(tmp_path / "whole")):
        folder = tmp_path / str(count)
        folder.mkdir()
        before = begin(folder)
        disk = Interrupted(count, _full)
        with pytest.raises(StoreError, match=r"free space|check the disk"):
            update(folder, disk)
        assert wrong(folder, finished=False) is None
        saved = any(operation.target == folder / "state.1.json" for operation in disk.done)
        assert (StateFile(folder).load() == before) is not saved
        update(folder)
        assert wrong(folder, finished=True) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("time", [1, 2, 3])
def test_a_process_that_is_killed_at_any_operation_leaves_a_device_that_serves(tmp_path: Path, time: int) -> None:
    count = _operations(tmp_path / "whole")
    killing = [sys.executable, "-m", "tests.update.killed", str(tmp_path), str(count)]
    done = subprocess.run(killing, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * count
    for folder in (tmp_path / str(at) for at in range(count)):
        assert wrong(folder, finished=False) is None
        update(folder)
        assert wrong(folder, finished=True) is None
