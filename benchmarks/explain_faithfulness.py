"""Do the words that occlusion names decide? Beside integrated gradients and chance, on shipped packages; and its cost.

    python -m benchmarks.explain_faithfulness [ROWS] [SET ...]

A device is built for each set, briefly trained. ROWS test rows (200 by default) are explained: what is explained is the
package's own answer. Integrated gradients are of the student that the package was made from, in four ways; "of IG"
compares with the best of them, with an interval over rows (95 %, bootstrap). All rankings are of the same words, and
the same deletions are scored by the package, one text at a time. Cost is of texts that are joined or cut to so many
words, beside one answer to the same text, in processor time of the one thread that works.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # all of a call is then in its own thread

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from tokenizers import Tokenizer

from benchmarks.real_data import WORK, build, console, data_folder, encoder_folder
from tianti.certificate import read
from tianti.data import read_prepared
from tianti.explain.faithful import Faithfulness, Judge, share_out
from tianti.explain.occlusion import Scorer, occlude, scorer_of
from tianti.explain.words import Word, cut, without
from tianti.package import read_package, read_release
from tianti.pipeline import Workspace
from tianti.pipeline.gradients import Gradients
from tianti.runtimes import Runtime, open_package
from tianti.spec import Role, ScoreHead, Tier

SETS = ("sst2_en", "clinc150_en", "shop_sentiment_zh")
LENGTHS = (4, 8, 16, 32, 64)
OCCLUSION, EACH, CHANCE = "occlusion", "each word deleted", "chance"
DRAWS = 2000


def ladder(name: str) -> str:
    data, chinese = data_folder(name), name.endswith("_zh")
    strangers = "\n  out_of_scope: oos" if name == "clinc150_en" else ""
    longest = "\n  max_length: 256" if chinese else ""
    cloud = "" if chinese else f"\ncloud: {{base: {encoder_folder()}}}"
    return f"""
name: {name}
data:
  train: {data}/train.jsonl.gz
  validation: 5%
  calibration: {data}/validation.jsonl.gz
  test: {data}/test.jsonl.gz{strangers}{longest}{cloud}
edge: null
device: {{augment: 5000, fit: {{epochs: 6}}}}
"""


class Built(NamedTuple):
    """A device: its package as it runs, its head, the student it was made from, and the test texts."""

    runtime: Runtime
    head: ScoreHead
    student: torch.nn.Module
    tokenizer: Tokenizer
    texts: list[str]


def build_device(name: str) -> Built:
    record, release = build(f"explain-{name}", ladder(name))
    store = Workspace(WORK / f"explain-{name}").store
    folders = {stage.name: store.get(stage.key) for stage in record.timeline}
    package = read_package(release / "packages" / "device")
    return Built(
        open_package(package),
        read_release(release).record.heads[Tier.DEVICE],
        torch.load(folders["distill-device"] / "student.pt", weights_only=False),  # type: ignore[operator]
        Tokenizer.from_file(str(package.tokenizer_path)),
        [row.text for row in read_prepared(folders["prepare"]).rows[Role.TEST]],  # type: ignore[arg-type]
    )


class FromPadding(Gradients):
    """From the same text of padding, whose embedding is zero; the mask at the start is then another than on the way."""

    def start(self, ids: Sequence[int]) -> list[int]:
        return [token if token in self.frame else self.pad for token in ids]


class OfLogit(Gradients):
    """Of the label's logit."""

    def integrated(self, ids: torch.Tensor) -> torch.Tensor:
        return self.student(ids)


class OfLogitFromPadding(OfLogit, FromPadding):
    """Both."""


WAYS: dict[str, type[Gradients]] = {
    "IG": Gradients,
    "IG of the logit": OfLogit,
    "IG from padding": FromPadding,
    "IG of the logit, from padding": OfLogitFromPadding,
}


class Explained(NamedTuple):
    """Every ranking of each row, judged, by method; and how far integrated gradients are from adding up, by method."""

    judged: dict[str, list[Faithfulness]]
    delta: dict[str, list[float]]


def explain_rows(built: Built, texts: Sequence[str]) -> Explained:
    score, found = scorer_of(built.runtime, built.head), Explained({}, {})
    student = (built.student, built.tokenizer, built.runtime.max_length, built.head.temperature)
    ways = {name: way(*student) for name, way in WAYS.items()}
    for number, text in enumerate(texts):
        label = int(score([text])[0].argmax())
        judge = Judge(score, text, label)
        words = judge.words
        add = partial(keep, found.judged)
        add(OCCLUSION, judge.judge([word.weight for word in occlude(score, text, label)]))
        add(EACH, judge.judge(delete_each(score, text, label, words)))
        add(CHANCE, judge.judge_random(number))
        for name, gradients in ways.items():
            attributed = gradients.attribute(text, label)
            add(name, judge.judge(share_out(attributed.tokens, words)))
            keep(found.delta, name, abs(attributed.delta) / max(abs(attributed.fall), 1e-6))
    return found


def keep(found: dict[str, list], name: str, value: object) -> None:
    found.setdefault(name, []).append(value)


def delete_each(score: Scorer, text: str, label: int, words: Sequence[Word]) -> NDArray[np.float64]:
    left = [without(text, words, [at]) for at in range(len(words))]
    return -np.array([score([each])[0, label] for each in left])


def add_rows(table: Table, name: str, found: Explained) -> None:
    figures = {way: np.array([msgspec.structs.astuple(each) for each in rows]) for way, rows in found.judged.items()}
    best = max(found.delta, key=lambda way: figures[way][:, 0].mean())
    for way, rows in figures.items():
        low, high = interval(rows[:, 0], figures[best][:, 0])
        share = rows[:, 0].mean() / figures[best][:, 0].mean()
        delta = f"{np.median(found.delta[way]):.1%}" if way in found.delta else ""
        of_best = "the best" if way == best else f"{share:.1%} ({low:.1%} to {high:.1%})"
        table.add_row(name, way, f"{rows[:, 0].mean():.4f}", of_best, f"{rows[:, 1].mean():.4f}", delta)
    table.add_section()


def interval(rows: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[float, float]:
    """95 % of the ratio of two means over the same rows."""
    drawn = np.random.default_rng(0).integers(len(rows), size=(DRAWS, len(rows)))
    low, high = np.quantile(rows[drawn].mean(axis=1) / others[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def cost(built: Built, count: int = 50) -> dict[int, tuple[float, float]]:
    """By number of words: milliseconds of one answer, and an explanation's time as a multiple of it, both medians."""
    score, found = scorer_of(built.runtime, built.head), {}
    for length in LENGTHS:
        pairs = []
        for text in of_length(built.texts, length, count):
            pairs.append((taken(lambda: answer(built, text)), taken(lambda: occlude(score, text, 0))))  # noqa: B023
        one, explained = np.array(pairs).T
        found[length] = float(np.median(one)), float(np.median(explained / one))
    return found


def taken(run: Callable[[], object]) -> float:
    """Milliseconds of processor time, which other programs do not lengthen; the first call brings the model back."""
    run()
    start = time.thread_time()
    run()
    return (time.thread_time() - start) * 1e3


def answer(built: Built, text: str) -> object:
    output = built.runtime.run(text)
    return read(built.head, output.logits, output.tokens, output.unknown)


def of_length(texts: Sequence[str], words: int, count: int) -> list[str]:
    """Texts of so many words, of rows joined and cut."""
    rows, found = itertools.cycle(texts), []
    while len(found) < count:
        joined = next(rows)
        while len(parts := cut(joined)) < words:
            joined += " " + next(rows)
        found.append(joined[: parts[words - 1].end])
    return found


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    table = Table(title=f"faithfulness, means over {rows} test rows")
    for column in ("set", "words ranked by", "comprehensiveness", "of IG", "sufficiency", "|delta|, median"):
        table.add_column(column, justify="left" if column in ("set", "words ranked by") else "right")
    costs = Table(title="an explanation's time as a multiple of one answer's")
    costs.add_column("set")
    for length in LENGTHS:
        costs.add_column(f"{length} words", justify="right")
    for name in sys.argv[2:] or SETS:
        built = build_device(name)
        texts = [text for text in built.texts if len(cut(text)) > 1]
        chosen = [texts[at] for at in np.linspace(0, len(texts) - 1, rows).astype(int)]
        add_rows(table, name, explain_rows(built, chosen))
        costs.add_row(name, *(f"{times:.1f} x {ms:.3f} ms" for ms, times in cost(built).values()))
    console.print(table)
    console.print(costs)


if __name__ == "__main__":
    main()
