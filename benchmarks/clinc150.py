"""CLINC150 with a real encoder: the three tiers, the certificate on fresh rows at the calibrated mix, and its control.

    python -m benchmarks.clinc150 [fine_tune]

Calibration is the data set's validation file. The 20 subsamples of the test file have the calibrated mix (4,500 in
scope + 149 out of scope); the whole test file has 18 % out of scope, for which the certificate must declare itself
void.
"""

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from rich.table import Table

from benchmarks.real_data import build, console, data_folder, encoder_folder
from tianti.certificate import REJECTED, Answers, LadderAnswers, decide, void_reason
from tianti.data import Columns, read_table
from tianti.package import ReleaseRecord, read_release
from tianti.pipeline import RunRecord
from tianti.pipeline.readings import run_package, truth_of
from tianti.spec import TIERS, Tier

SUBSAMPLES, OUT_OF_SCOPE_ROWS = 20, 149


def build_clinc150(train: str = "head", engine: str = "onnx") -> tuple[RunRecord, Path]:
    """Build the ladder; its run and the folder of its release."""
    data = data_folder("clinc150_en")
    return build(
        f"clinc150-{train}",
        f"""
name: clinc150
data:
  train: {data}/train.jsonl.gz
  calibration: {data}/validation.jsonl.gz
  test: {data}/test.jsonl.gz
  out_of_scope: oos
cloud: {{base: {encoder_folder()}, train: {train}}}
device: {{size: {"1.5 MB" if engine == "onnx" else "2.5 MB"}, engine: {engine}}}
""",
    )


def main() -> None:
    data = data_folder("clinc150_en")
    record, folder = build_clinc150(*sys.argv[1:])
    release = read_release(folder).record
    rows = read_table(str(data / "test.jsonl.gz"), data, Columns(text="text", label="label"))
    truth = truth_of(rows, release.labels, release.out_of_scope)
    answers = {}
    for tier in TIERS:
        said = run_package(folder / "packages" / tier, [row.text for row in rows]).read(release.heads[tier])
        answers[tier] = Answers(said.score, said.right(truth))
    print_tiers(record)
    print_levels(release, answers, truth)
    share = f"assumed {release.certificate.out_of_scope_share:.1%}, seen {(truth == REJECTED).mean():.1%}"
    void = void_reason(release.certificate, int((truth == REJECTED).sum()), len(truth))
    console.print(f"whole test, negative control ({share}): {'VOID: ' + void if void else 'NOT DECLARED VOID'}")


def print_tiers(record: RunRecord) -> None:
    table = Table(title=f"CLINC150 tiers ({record.seconds:.0f} s, {len(record.cached)} stages kept)")
    for column in ("tier", "in scope", "strangers rejected at 5 %", "size_bytes", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "tier" else "right")
    for tier in TIERS:
        f = record.tiers[tier]
        latency = f["latency_ms"]
        table.add_row(
            tier,
            f"{f['accuracy_in_scope']:.2%}",
            f"{f['rejected_at_5']:.3f}",
            f"{f['size_bytes']:,}",
            f"{latency['p50']:.3f}",
            f"{latency['p99']:.3f}",
        )
    console.print(table)


def print_levels(release: ReleaseRecord, answers: LadderAnswers, truth: NDArray[np.int64]) -> None:
    rng = np.random.default_rng(0)
    inside, outside = np.flatnonzero(truth != REJECTED), np.flatnonzero(truth == REJECTED)
    draws = [np.concatenate([inside, rng.choice(outside, OUT_OF_SCOPE_ROWS, replace=False)]) for _ in range(SUBSAMPLES)]
    table = Table(title=f"{SUBSAMPLES} subsamples of test at the calibrated mix; last column: whole test, void")
    for column in ("alpha", "mean harm", "above alpha", "device", "device + edge", "accuracy", "harm, whole test"):
        table.add_column(column, justify="right")
    for level in release.certificate.levels:
        thresholds = release.certificate.thresholds(level.alpha)
        outcomes = [decide({t: Answers(a.score[d], a.right[d]) for t, a in answers.items()}, thresholds) for d in draws]
        device = np.mean([outcome.share[Tier.DEVICE] for outcome in outcomes])
        table.add_row(
            f"{level.alpha:.1%}" if level.point is not None else f"{level.alpha:.1%} not certified",
            f"{np.mean([outcome.harm for outcome in outcomes]):.2%}",
            f"{sum(outcome.harm > level.alpha for outcome in outcomes)} of {SUBSAMPLES}",
            f"{device:.1%}",
            f"{device + np.mean([outcome.share[Tier.EDGE] for outcome in outcomes]):.1%}",
            f"{np.mean([outcome.accuracy for outcome in outcomes]):.2%}",
            f"{decide(answers, thresholds).harm:.2%}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
