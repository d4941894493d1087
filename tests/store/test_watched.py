"""Files that change under a program that runs."""

import os
from pathlib import Path

import pytest

from tianti.errors import UsageError
from tianti.store import Watched


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Read:
    """Reads a number from a file, and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path, self.times = path, 0

    def __call__(self) -> int:
        self.times += 1
        try:
            return int(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"expected a number, got {error}") from error


@pytest.fixture
def watched(tmp_path: Path) -> tuple[Path, Clock, Read, Watched[int]]:
    path, clock = tmp_path / "number", Clock()
    path.write_text("1", encoding="utf-8")
    read = Read(path)
    return path, clock, read, Watched([path], read, clock)


def replace(path: Path, content: str) -> None:
    """As an editor does: another file of the same size and time."""
    before = path.stat()
    other = path.with_name("other")
    other.write_text(content, encoding="utf-8")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, path)


def test_a_change_is_taken_up_a_second_later_and_nothing_is_read_in_between(watched: tuple) -> None:
    path, clock, read, number = watched
    replace(path, "2")
    clock.now_s = 0.9
    assert (number.get(), read.times) == (1, 1)
    clock.now_s = 1.0
    assert (number.get(), read.times) == (2, 2)
    clock.now_s = 5.0
    assert (number.get(), read.times) == (2, 2)


@pytest.mark.parametrize("broken", ["x", None])
def test_a_broken_or_missing_file_keeps_the_value_and_is_logged_once(
    watched: tuple, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock, _, number = watched
    path.unlink() if broken is None else replace(path, broken)
    for clock.now_s in (1.0, 2.0, 3.0):
        assert number.get() == 1
    assert len(caplog.records) == 1 and "stays in use" in caplog.text
    path.write_text("3", encoding="utf-8")
    clock.now_s = 4.0
    assert number.get() == 3


def test_at_first_a_broken_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Watched([tmp_path / "none"], Read(tmp_path / "none"))


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_other_permissions_are_a_change(watched: tuple) -> None:
    path, clock, read, number = watched
    path.chmod(0o600 if path.stat().st_mode & 0o077 else 0o644)
    clock.now_s = 1.0
    number.get()
    assert read.times == 2
