"""The store under racing processes, kill -9 and a full disk."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tianti.errors import StoreError
from tianti.store import ArtifactStore, write_atomic

SLOW_BUILD = """
import sys, time
from pathlib import Path
from tianti.store import ArtifactStore

def fill(folder):
    (folder / "half").write_text("half")
    print("filling", flush=True)
    time.sleep(60)

ArtifactStore(Path(sys.argv[1])).build("key", fill)
"""


def fill_slowly(folder: Path) -> None:
    (folder / "pid").write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(0.2)
    (folder / "done").write_text("yes", encoding="utf-8")


def build_once(root: str) -> tuple[str, bool]:
    folder, cached = ArtifactStore(Path(root)).build("key", fill_slowly)
    assert (folder / "done").is_file()
    return (folder / "pid").read_text(encoding="utf-8"), cached


def test_what_is_there_is_not_built_again(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    first, cached = store.build("key", fill_slowly)
    assert not cached
    again, cached = store.build("key", lambda folder: pytest.fail("built twice"))
    assert cached and again == first


def test_two_processes_that_race_build_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        (one, cached_one), (two, cached_two) = pool.map(build_once, [str(tmp_path)] * 2)
    assert one == two
    assert cached_one != cached_two


def test_kill_9_leaves_nothing_that_counts(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"filling\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    store = ArtifactStore(tmp_path)
    assert store.get("key") is None and store.keys() == []
    folder, cached = store.build("key", fill_slowly)
    assert not cached and not (folder / "half").exists()
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == ["key"]


def test_what_fails_while_filling_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half", encoding="utf-8")
        raise ValueError("no")

    store = ArtifactStore(tmp_path)
    with pytest.raises(ValueError, match="no"):
        store.build("key", fail)
    assert list((tmp_path / "artifacts").iterdir()) == []


def test_waiting_for_another_process_can_be_given_up(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"filling\n"
        asked: list[int] = []
        with pytest.raises(StoreError, match="stopped waiting"):
            ArtifactStore(tmp_path).build("key", fill_slowly, lambda: bool(asked.append(1)) or len(asked) > 3)
        process.kill()


def test_an_error_of_the_filling_is_not_taken_for_the_disks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ArtifactStore(tmp_path).build("key", lambda folder: (folder / "nothing").read_bytes() and None)


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    def fill_disk(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"No space left.*free space"):
        ArtifactStore(tmp_path).build("key", fill_disk)
    full = Path("/dev/full")
    if full.exists():
        with pytest.raises(StoreError):
            write_atomic(full / "file", b"x")
