"""A preset over seeds: the device beside its own fine-tuned teacher, what it costs, and what quantising cost of that.

    python -m benchmarks.presets [fast|quality|none] [clinc150_en|banking77_en] [SEEDS] [unlabelled] [DEVICE]

Accuracies are of in-scope test rows, before any rejection, of the shipped files; "float" is the device before it was
quantised. With `unlabelled` the students also learn from the train texts of the other English sets, without their
labels. DEVICE is more that is said of it, such as "matmul: int4".
Without arguments: fast, CLINC150, 5 seeds, which takes most of an hour on two cores.
"""

import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from benchmarks.real_data import WORK, build, console, data_folder, encoder_folder
from tianti.data import Columns, read_prepared, read_table
from tianti.pipeline import Workspace
from tianti.pipeline.stages.teach import rows_in_scope
from tianti.spec import Role
from tianti.training import load_teacher
from tianti.training.teacher import accuracy_of

ENGLISH = {"clinc150_en": "text", "banking77_en": "text", "trec6_en": "text", "tatoeba_en_zh": "source"}
COLUMNS = ("seed", "teacher", "device", "points under", "float", "installed", "download", "rejected at 5 %", "s")


def run_seed(preset: str, name: str, seed: int, others: Path | None, said: str) -> list[float]:
    data = data_folder(name)
    strangers = "\n  out_of_scope: oos" if name == "clinc150_en" else ""
    unlabelled = "" if others is None else f"\n  unlabelled: {others}"
    workspace = f"preset-{name}-{seed}"  # of all presets: what they share is trained once
    record, _ = build(
        workspace,
        f"""
name: {name}
{"" if preset == "none" else f"preset: {preset}"}
seed: {seed}
data:
  train: {data}/train.jsonl.gz
  calibration: {data}/validation.jsonl.gz
  test: {data}/test.jsonl.gz{strangers}{unlabelled}
cloud: {{base: {encoder_folder()}}}
device: {{size: 1.5 MB, {said}}}
""",
    )
    store = Workspace(WORK / workspace).store
    folders = {stage.name: store.get(stage.key) for stage in record.timeline}
    test = rows_in_scope(read_prepared(folders["prepare"]), Role.TEST)  # type: ignore[arg-type]
    teacher = load_teacher(folders["teach"])  # type: ignore[arg-type]
    student = torch.load(folders["distill-device"] / "student.pt", weights_only=False)  # type: ignore[operator]
    whole = accuracy_of(student, teacher.encode(test.texts), teacher.pad_id, test.labels)
    cloud, device = record.tiers["cloud"], record.tiers["device"]
    accuracy, best = device["accuracy_in_scope"], cloud["accuracy_in_scope"]
    sizes = [device["size_bytes"], device["download_bytes"]]
    return [best, accuracy, 100 * (best - accuracy), whole, *sizes, device["rejected_at_5"] or np.nan, record.seconds]


def main() -> None:
    preset, name, seeds = [*sys.argv[1:4], *("fast", "clinc150_en", "5")[len(sys.argv[:4]) - 1 :]]
    others = write_others(name) if "unlabelled" in sys.argv[4:] else None
    said = next((word for word in sys.argv[4:] if word != "unlabelled"), "")
    table = Table(title=" ".join(["preset", *sys.argv[1:]]))
    for column in COLUMNS:
        table.add_column(column, justify="right")
    found = []
    for seed in range(int(seeds)):
        found.append(run_seed(preset, name, seed, others, said))
        add_row(table, str(seed), found[-1])
    figures = np.array(found)
    add_row(table, "median", np.median(figures, axis=0).tolist())
    add_row(table, "spread", np.ptp(figures, axis=0).tolist())
    console.print(table)


def write_others(name: str) -> Path:
    """The train texts of the other English sets, one a line."""
    texts = []
    for other, column in ENGLISH.items():
        if other != name:
            folder = data_folder(other)
            rows = read_table("train.jsonl.gz", folder, Columns(text=column, label=None))
            texts += [" ".join(row.text.split()) for row in rows]
    WORK.mkdir(exist_ok=True)
    path = WORK / f"not-{name}.txt"
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def add_row(table: Table, name: str, figures: list[float]) -> None:
    forms = ("{:.2%}", "{:.2%}", "{:.2f}", "{:.2%}", "{:,.0f}", "{:,.0f}", "{:.3f}", "{:.0f}")
    table.add_row(name, *(form.format(figure) for form, figure in zip(forms, figures, strict=True)))


if __name__ == "__main__":
    main()
