"""Several real processes on one port: each tells of the whole node, and no counter ever goes back."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.telemetry.numbers import RELEASE, parse, prediction, read
from tianti.spec import Tier
from tianti.telemetry.metrics import Metrics

_CODE = """
import sys
from pathlib import Path
from tests.telemetry.numbers import RELEASE, prediction
from tianti.spec import Tier
from tianti.telemetry.metrics import Metrics

metrics = Metrics(Tier.EDGE, Path(sys.argv[1]), int(sys.argv[2]))
metrics.watch(lambda: 1, lambda: 100.0, lambda: [("tiny", RELEASE, 1)])
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        metrics.of("tiny", RELEASE).answered("oip", 0.003, [prediction()])
    body = metrics.render()[0].decode() if line == "0\\n" else ""
    print(body + "END", flush=True)
metrics.close()
print("closed", flush=True)
"""


class Worker:
    """Answers as many requests as it is told; told 0, it shows the metrics."""

    def __init__(self, run: Path, number: int) -> None:
        command = [sys.executable, "-c", _CODE, str(run), str(number)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "ready\n"

    def answer(self, count: int) -> None:
        self._tell(count)
        assert self._line() == "END\n"

    def show(self) -> dict[tuple[str, ...], float]:
        self._tell(0)
        lines = []
        while (line := self._line()) != "END\n":
            lines.append(line)
        return parse("".join(lines))

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self._line() == "closed\n"
        self.process.wait()

    def _tell(self, count: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], Worker]]:
    with ExitStack() as running:

        def begin(number: int) -> Worker:
            worker = Worker(tmp_path / "run", number)
            running.enter_context(worker.process)
            running.callback(worker.process.kill)
            return worker

        yield begin


def until(show: Callable[[], dict[tuple[str, ...], float]], key: tuple[str, ...], value: float) -> bool:
    end = time.monotonic() + 20.0
    while time.monotonic() < end:
        if show().get(key) == value:
            return True
        time.sleep(0.2)
    return False


REQUESTS = ("tianti_requests_total", "oip", "ok")


def test_each_shows_all(start: Callable[[int], Worker]) -> None:
    one, two = start(0), start(1)
    one.answer(30)
    two.answer(12)
    assert until(one.show, REQUESTS, 42) and until(two.show, REQUESTS, 42)
    found = two.show()
    assert found["tianti_request_seconds_bucket", "0.005"] == 42
    assert found["tianti_request_seconds_sum",] == pytest.approx(42 * 0.003)
    assert found["tianti_in_flight",] == 2 and found["tianti_backlog_seconds",] == pytest.approx(0.2)
    assert found["tianti_workers",] == 2 and found["tianti_release_loaded", "1"] == 2


def test_what_was_shown_outlives_a_kill_at_once(start: Callable[[int], Worker]) -> None:
    one, two = start(0), start(1)
    one.answer(30)
    assert one.show()[REQUESTS] == 30
    one.process.kill()
    one.process.wait()
    assert two.show()[REQUESTS] == 30
    replaced = start(0)
    replaced.answer(5)
    two.answer(1)
    assert replaced.show()[REQUESTS] >= 35
    assert until(replaced.show, REQUESTS, 36) and until(two.show, REQUESTS, 36)


def test_one_that_ended_leaves_its_counters_and_takes_its_gauges_along(start: Callable[[int], Worker]) -> None:
    one, two = start(0), start(1)
    one.answer(7)
    one.end()
    found = two.show()
    assert found[REQUESTS] == 7
    assert found["tianti_in_flight",] == 1 and found["tianti_workers",] == 1


def test_one_whose_disk_fails_tells_of_itself_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics(Tier.EDGE, tmp_path / "run", 0)
    metrics.of("tiny", RELEASE).answered("oip", 0.003, [prediction()])
    shutil.rmtree(tmp_path / "run")
    assert read(metrics)[REQUESTS] == 1 == read(metrics)[REQUESTS]
    metrics.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_one_that_is_alone_knows_of_nobody_else(start: Callable[[int], Worker]) -> None:
    """The control: without the folder, a reader sees a share of the node that depends on who answers."""
    start(0).answer(30)
    alone = Metrics(Tier.EDGE)
    alone.of("tiny", RELEASE).answered("oip", 0.003, [prediction()])
    assert read(alone)[REQUESTS] == 1
