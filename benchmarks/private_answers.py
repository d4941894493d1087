"""Does an answer that is given on the device cost more where its release has a privacy policy?

    python -m benchmarks.private_answers

One process, two ladders of the same models before an upstream that is not there, one with a policy that holds a phone
number back and an egress log, one with neither. They take turns on the same text, which holds a phone number and which
the device is sure of; who goes first changes with every pair. Two ladders without a policy, measured in the same way,
show the noise. Then a text that has to leave, for the price of looking.
"""

import random
import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from tests.tiny_release import make_release

from benchmarks.real_data import console
from tianti.device import Ladder, load
from tianti.privacy import RULES
from tianti.spec import Reason
from tianti.spec.privacy import PrivacyPolicy

PAIRS = 20_000
KEPT = "lamp lamp lamp lamp lamp lamp 请拨打13800138000谢谢"
UNSURE = "lantern 请拨打13800138000谢谢"
POLICY = PrivacyPolicy(rules=RULES, default="redact", types={"phone": "local_only"}, regions=("CN", "US"))


def measure(plain: Ladder, private: Ladder, text: str) -> tuple[list[float], list[float]]:
    """Microseconds of each, pair by pair."""
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(PAIRS + 500):  # the first are not counted
        first = number % 2
        for which in (first, 1 - first):
            start = time.perf_counter_ns()
            (private if which else plain).predict(text)
            if number >= 500:
                took[which].append((time.perf_counter_ns() - start) / 1e3)
    return took


def ratio(plain: Sequence[float], private: Sequence[float]) -> tuple[float, float, float]:
    """The mean over blocks of pairs of their medians' ratio, and what nineteen of twenty resamples of them come to."""
    blocks = [(plain[at : at + 200], private[at : at + 200]) for at in range(0, len(plain), 200)]
    each = [statistics.median(b) / statistics.median(a) for a, b in blocks]
    rng = random.Random(0)
    means = sorted(statistics.mean(rng.choices(each, k=len(each))) for _ in range(1000))
    return statistics.mean(each), means[25], means[975]


def row(table: Table, name: str, plain: Ladder, private: Ladder, text: str) -> None:
    a, b = measure(plain, private, text)
    of, low, high = ratio(a, b)
    p50 = f"{statistics.median(a):.2f}", f"{statistics.median(b):.2f}"
    table.add_row(name, *p50, f"{of:.3f}", f"{low:.3f} to {high:.3f}")


def dead_url() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def main() -> None:
    table = Table(title=f"microseconds a call, p50 of {PAIRS} pairs")
    for column in ("text", "without", "with a policy", "ratio", "95 % of blocks"):
        table.add_column(column, justify="left" if column == "text" else "right")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("plain", "private"):
            (Path(folder) / name).mkdir()
        plain = make_release(Path(folder) / "plain").folder
        private = make_release(Path(folder) / "private", privacy=POLICY).folder
        url, log = dead_url(), Path(folder) / "egress.jsonl"
        with (
            load(plain, upstream=url, audits=0.0) as one,
            load(plain, upstream=url, audits=0.0) as other,
            load(private, upstream=url, audits=0.0, egress=log) as guarded,
        ):
            for ladder in (one, other):  # until its breaker has opened
                while ladder.predict(UNSURE).decision.reason is not Reason.BREAKER_OPEN:
                    time.sleep(0.01)
            row(table, "answered here", one, guarded, KEPT)
            row(table, "answered here, two without", one, other, KEPT)
            row(table, "not sure: held", one, guarded, UNSURE)
        assert len(log.read_text(encoding="utf-8").splitlines()) == PAIRS + 500  # and no line of what was answered here
    console.print(table)


if __name__ == "__main__":
    main()
