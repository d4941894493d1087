"""A cloud that is killed while requests flow, and comes back: what callers see.

    python -m benchmarks.outage

A real node process, SIGKILL, one request after another with the default deadline. The local row is the same release
without an upstream, in the same run.
"""

import itertools
import statistics
import tempfile
import time
from pathlib import Path

from rich.table import Table
from tests.node_process import NodeProcess
from tests.tiny_release import make_release

from benchmarks.real_data import console
from tianti.device import Ladder, load
from tianti.spec import Prediction, Reason, Tier

TEXT = "luminaire"  # which only the cloud knows
DEADLINE_MS = 500.0
AFTER = 2000


def main() -> None:
    table = Table(title=f"deadline {DEADLINE_MS:.0f} ms; {AFTER} answers a row, paired with the local ladder")
    for column in ("outage", "waited for it", "past deadline", "not degraded", "p50 us", "local p50 us", "found again"):
        table.add_column(column, justify="left" if column == "outage" else "right")
    with tempfile.TemporaryDirectory() as folder:
        release = make_release(Path(folder)).folder
        for number in range(3):
            table.add_row(f"{number + 1}", *one_outage(release))
    console.print(table)


def one_outage(release: Path) -> list[str]:
    with NodeProcess(Tier.CLOUD, release) as cloud, load(release, upstream=cloud.url) as ladder, load(release) as alone:
        port = int(cloud.url.rsplit(":", 1)[1])
        while ladder.predict(TEXT).tier is not Tier.CLOUD:
            pass
        cloud.kill()
        tries = list(itertools.takewhile(lambda answer: answer.decision.reason is not Reason.BREAKER_OPEN, ask(ladder)))
        pairs = [(timed(ladder), timed(alone)) for _ in range(AFTER)]
        answers = [*tries, *(answer for (answer, _), _ in pairs)]
        with NodeProcess(Tier.CLOUD, release, port):
            back = time.perf_counter()
            while ladder.predict(TEXT).tier is not Tier.CLOUD:
                time.sleep(0.01)
            found = time.perf_counter() - back
    return [
        str(len(tries)),
        str(sum(answer.decision.ms > DEADLINE_MS for answer in answers)),
        str(sum(not answer.decision.degraded for answer in answers)),
        f"{statistics.median(seconds for (_, seconds), _ in pairs) * 1e6:.1f}",
        f"{statistics.median(seconds for _, (_, seconds) in pairs) * 1e6:.1f}",
        f"{found:.1f} s",
    ]


def ask(ladder: Ladder):  # noqa: ANN201
    while True:
        yield ladder.predict(TEXT)


def timed(ladder: Ladder) -> tuple[Prediction, float]:
    start = time.perf_counter()
    return ladder.predict(TEXT), time.perf_counter() - start


if __name__ == "__main__":
    main()
