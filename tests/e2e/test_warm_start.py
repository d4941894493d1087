"""A retrain from an earlier release keeps its vocabulary and, if told so, its table; a new label can be added."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from tianti.cli.progress import Quiet
from tianti.data.sample.generate import sample_rows
from tianti.errors import SpecError, StageError
from tianti.package import read_release
from tianti.pipeline import Workspace
from tianti.pipeline.build import build_ladder
from tianti.pipeline.workspace import RunRecord
from tianti.spec import Tier

LADDER = """
name: small
data: {train: train.jsonl, calibration: calibration.jsonl, test: test.jsonl, out_of_scope: out_of_scope}
cloud: {fit: {epochs: 2}}
edge: {student: bag, width: 16, augment: 10, fit: {epochs: 1}}
device: {student: bag, width: WIDTH, augment: 500, fit: {epochs: 8}}
"""
NEW = "set_alarm"


def build(folder: Path, train: str = "", without: str | None = None, width: int = 32) -> RunRecord:
    for name, rows in sample_rows().items():
        few = rows[: {"train": 1500, "calibration": 600, "test": 300}[name]]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in few if row["label"] != without]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    path = folder / "ladder.yaml"
    path.write_text(LADDER.replace("WIDTH", str(width)) + train, encoding="utf-8")
    return build_ladder(path, Quiet())


def table(folder: Path, record: RunRecord) -> NDArray[np.generic]:
    """The codes of the device's word table, the largest tensor of its file."""
    release = read_release(Workspace(folder).releases / record.release)
    tensors = onnx.load(release.package(Tier.DEVICE).model_path).graph.initializer
    return max(
        (array for tensor in tensors if (array := numpy_helper.to_array(tensor)).ndim == 2),
        key=lambda array: array.nbytes,
    )


def labels(folder: Path, record: RunRecord) -> set[str]:
    return set(read_release(Workspace(folder).releases / record.release).record.labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warm")


def test_a_retrain_keeps_the_table_and_learns_a_new_label(folder: Path) -> None:
    parent = build(folder, without=NEW)
    train = f"train: {{from: {parent.release[:12]}, freeze: embedding}}\n"
    warm, cold = build(folder, train), build(folder)
    assert (table(folder, parent) == table(folder, warm)).all()
    assert not np.array_equal(table(folder, parent), table(folder, cold))
    assert labels(folder, warm) - labels(folder, parent) == {NEW}
    assert warm.tiers["device"]["accuracy_in_scope"] > cold.tiers["device"]["accuracy_in_scope"] - 0.03
    again = build(folder, train)
    assert again.release == warm.release and "distill-device" in again.cached


def test_a_parent_that_is_not_there_or_of_another_shape_is_an_error(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"train\.from: no run of release 'latest'.*name one by its id"):
        build(folder, "train: {from: latest}\n")
    known = Workspace(folder).runs()[0].release
    with pytest.raises(StageError, match=r"train\.from: expected .*keep the parent's student, width, layers and prune"):
        build(folder, f"train: {{from: {known}}}\n", width=48)
