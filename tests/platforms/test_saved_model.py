"""What TF Serving is given answers as the release does, on the very numbers of its quantised files."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.pipeline.test_bring import Classic, export
from tests.tiny_release import make_release
from tianti.cli.progress import Quiet
from tianti.data.sample.generate import sample_rows
from tianti.errors import StageError
from tianti.package import Release, bind, read_release, write_package, write_release
from tianti.pipeline import Workspace
from tianti.pipeline.build import build_ladder
from tianti.pipeline.export import export_saved_models
from tianti.runtimes import open_package
from tianti.spec import TIERS, Tier

LADDER = """
name: small
data: {train: train.jsonl, calibration: calibration.jsonl, test: test.jsonl, out_of_scope: out_of_scope}
cloud: {fit: {epochs: 2}}
edge: {student: bag, width: 16, augment: 10, fit: {epochs: 1}}
device: {width: 16, layers: 1, augment: 10, fit: {epochs: 2}}
"""


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="needs tensorflow: make test-platforms", exc_type=ImportError)


@pytest.mark.filterwarnings("ignore")
def test_every_tier_answers_as_its_package(tf: Any, tmp_path: Path) -> None:
    rows = sample_rows()
    for name, count in {"train": 1200, "calibration": 600, "test": 300}.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows[name][:count])
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "ladder.yaml").write_text(LADDER, encoding="utf-8")
    record = build_ladder(tmp_path / "ladder.yaml", Quiet())
    release = read_release(Workspace(tmp_path).releases / record.release)
    for tier, folder in zip(TIERS, export_saved_models(release, tmp_path / "models", TIERS), strict=True):
        serve = tf.saved_model.load(str(folder / "1")).signatures["serving_default"]
        runtime = open_package(release.package(tier))
        assert (folder / "1" / "assets.extra" / "labels.txt").read_text(encoding="utf-8").split() == list(
            runtime.labels
        )
        for row in rows["test"][:50]:
            ids = runtime._tokenizer.encode(row["text"]).ids  # the very ids of the package
            logits = serve(input_ids=tf.constant([ids], tf.int64))["logits"].numpy()[0]
            # rounding of an activation may fall on the other side now and then
            np.testing.assert_allclose(logits, runtime.run(row["text"]).logits, atol=0.05)


@pytest.mark.filterwarnings("ignore")
def test_an_operator_without_counterpart_is_an_error(tf: Any, tmp_path: Path) -> None:
    import torch

    from tianti.compression.saved_model import write_saved_model

    path = export(Classic(), tmp_path / "model.onnx", (torch.ones((1, 5), dtype=torch.int64),))
    with pytest.raises(StageError, match=r"LSTM.*cannot be written as a SavedModel; serve the ONNX file"):
        write_saved_model(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def with_an_lstm(release: Release, folder: Path) -> Release:
    """The release with another edge."""
    import torch

    edge = release.package(Tier.EDGE)
    axes = {"ids": {0: "batch", 1: "tokens"}}
    example = (torch.ones((1, 5), dtype=torch.int64),)
    model = export(Classic(), folder / "lstm.onnx", example, input_names=["ids"], dynamic_axes=axes)
    package = write_package(
        folder / "edge",
        name=edge.manifest.name,
        version="1",
        labels=edge.manifest.labels,
        max_length=8,
        model=model,
        tokenizer_json=edge.tokenizer_path.read_text(encoding="utf-8"),
        goldens=[],
        card="A test's model.",
        architecture="Classic",
        lineage={},
    )
    ids = {**release.record.packages, Tier.EDGE: package.id}
    certificate = msgspec.structs.replace(release.record.certificate, bound=bind(ids, release.record.heads))
    record = msgspec.structs.replace(release.record, packages=ids, certificate=certificate)
    folders = {tier: release.package(tier).folder for tier in TIERS}
    return write_release(folder / "with-lstm", record, {**folders, Tier.EDGE: package.folder})


@pytest.mark.filterwarnings("ignore")
def test_where_one_tier_cannot_be_written_none_is(tf: Any, tmp_path: Path) -> None:
    release = with_an_lstm(make_release(tmp_path / "release"), tmp_path)
    for _ in range(2):  # nothing is in the way of the second time
        with pytest.raises(StageError, match="LSTM"):
            export_saved_models(release, tmp_path / "models", TIERS)
        assert not list((tmp_path / "models").iterdir())
    export_saved_models(release, tmp_path / "models", (Tier.DEVICE,))
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny-device"]
