"""Texts without labels teach the students what the cloud says of them."""

import json
from pathlib import Path

import numpy as np
import torch

from tianti.data import read_prepared
from tianti.data.sample.generate import sample_rows
from tianti.pipeline import StageDone
from tianti.pipeline.run import run_stages
from tianti.pipeline.stages import ladder_stages
from tianti.spec.parse import parse_spec
from tianti.store import ArtifactStore
from tianti.training import load_teacher
from tianti.training.loop import compute_all

LADDER = """
name: small
data: {{train: train.jsonl, calibration: 100, {unlabelled}out_of_scope: out_of_scope}}
cloud: {{fit: {{epochs: 2}}}}
edge: {{student: bag, width: 8, augment: 0, fit: {{epochs: 1}}}}
device: {{student: bag, width: 32, augment: 0, fit: {{epochs: 10}}}}
"""


def agreement(folder: Path, unlabelled: str, texts: list[str]) -> float:
    """How often the device says what the cloud says of texts that neither saw."""
    spec = parse_spec(LADDER.format(unlabelled=unlabelled))
    stages = [stage for stage in ladder_stages(spec, folder) if stage.name in WANTED]
    folders, _ = run_stages(stages, spec, folder, ArtifactStore(folder / "store"), Deaf())
    teacher = load_teacher(folders["teach"])
    prepared = read_prepared(folders["prepare"])
    with np.load(folders["lessons"] / "lessons.npz") as lessons:
        assert lessons["given"] == len(lessons["labels"]) + len(prepared.unlabelled) == len(lessons["logits"])
    ids = teacher.encode(texts)
    student = torch.load(folders["distill-device"] / "student.pt", weights_only=False)
    answers = compute_all(student, ids, teacher.pad_id, silent, "")
    return float(np.mean(answers.argmax(axis=1) == teacher.label(ids, silent).argmax(axis=1)))


WANTED = {"prepare", "teach", "lessons", "distill-device"}


def silent(done: int, total: int, note: str) -> None:
    """No progress."""


class Deaf:
    """A listener that hears nothing."""

    def started(self, stage: str) -> None: ...
    def progressed(self, stage: str, done: int, total: int, note: str) -> None: ...
    def finished(self, done: StageDone, folder: Path) -> None: ...


def test_a_device_that_saw_unlabelled_texts_agrees_more_with_its_cloud(tmp_path: Path) -> None:
    rows = sample_rows()["train"]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:800]), encoding="utf-8")
    texts = list(dict.fromkeys(row["text"] for row in rows[800:3000]))
    (tmp_path / "asked.txt").write_text("\n".join(texts[200:]), encoding="utf-8")
    without = agreement(tmp_path, "", texts[:200])
    assert agreement(tmp_path, "unlabelled: asked.txt, ", texts[:200]) > without + 0.05
