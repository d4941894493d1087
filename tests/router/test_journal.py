"""The decision log: a line an answer, no text unasked, and a disk that fails loses lines, never requests."""

import io
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.router.virtual import answer_of
from tianti.errors import UsageError
from tianti.router import Journal
from tianti.router import lines as writing
from tianti.spec import Tier

SECRET = "my card is 4929"


def write(log: Journal, times: int = 1) -> None:
    for _ in range(times):
        log.write(answer_of(Tier.CLOUD), "release", Tier.DEVICE, 500.0, SECRET)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_says_what_was_decided_and_no_text_or_label(tmp_path: Path) -> None:
    log = Journal(tmp_path / "log.jsonl")
    write(log)
    log.close()
    log.close()
    (line,) = lines(tmp_path / "log.jsonl")
    assert line["schema"] == "tianti.decision/1" and line["release"] == "release" and line["time"] > 1e9
    assert (line["entry"], line["answered"], line["reason"], line["deadline_ms"]) == ("device", "cloud", "top", 500.0)
    assert line["seen"] == [{"tier": "cloud", "score": 0.9, "ms": 0.0}]
    content = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert SECRET not in content and '"up"' not in content


def test_texts_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    log = Journal(tmp_path / "log.jsonl", texts=True)
    write(log)
    log.close()
    assert lines(tmp_path / "log.jsonl")[0]["text"] == SECRET


def test_many_threads_write_whole_lines_and_the_file_is_appended_to(tmp_path: Path) -> None:
    for _ in range(2):
        log = Journal(tmp_path / "log.jsonl")
        threads = [threading.Thread(target=write, args=(log, 200)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log.close()
    assert len(lines(tmp_path / "log.jsonl")) == 1600


def test_a_line_that_a_crash_cut_off_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"schema":"tianti.dec', encoding="utf-8")
    log = Journal(path)
    write(log)
    log.close()
    torn, whole = path.read_text(encoding="utf-8").splitlines()
    assert torn == '{"schema":"tianti.dec' and json.loads(whole)["answered"] == "cloud"


def test_a_file_that_cannot_be_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a file that can be written"):
        Journal(tmp_path)


class _Disk(io.BytesIO):
    """Refuses the first `full` writes, then takes `part` bytes of one."""

    def __init__(self, full: int = 0, part: int = 0) -> None:
        super().__init__()
        self.full, self.part, self.taken = full, part, b""

    def write(self, content: Any) -> int:
        if self.full:
            self.full -= 1
            raise OSError(28, "No space left on device")
        some = bytes(content)[: self.part or None]
        self.part = 0
        self.taken += some
        return len(some)


def test_a_full_disk_is_said_once_and_nothing_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, disk = Journal(tmp_path / "log.jsonl"), _Disk(full=3)
    log._file.close()
    log._file = disk  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING, "tianti"):
        for number in range(5):
            log._append(b"%d\n" % number)
        write(log)
        log.close()
    (record,) = caplog.records
    assert "No space left" in record.getMessage() and "requests are answered" in record.getMessage()
    assert disk.taken.startswith(b"3\n4\n{") and disk.taken.endswith(b"}\n")


def test_what_a_disk_took_only_a_part_of_is_not_continued(tmp_path: Path) -> None:
    log, disk = Journal(tmp_path / "log.jsonl"), _Disk(part=20)
    log._file.close()
    log._file = disk  # type: ignore[assignment]
    log._append(b'{"cut": "here and lost"}\n')
    log._append(b'{"whole": 1}\n')
    log.close()
    assert disk.taken == b'{"cut": "here and lo\n{"whole": 1}\n'


def test_a_disk_that_hangs_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writing, "_WAITING", 10)
    log, released = Journal(tmp_path / "log.jsonl"), threading.Event()
    monkeypatch.setattr(log, "_append", lambda _lines: released.wait(10))
    with caplog.at_level(logging.WARNING, "tianti"):
        write(log, 1000)
        assert len(log._lines) <= 10
        released.set()
        log.close()
    assert len([record for record in caplog.records if "does not keep up" in record.getMessage()]) == 1
