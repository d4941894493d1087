"""Triton's model repository holds the release's own files, laid out as the server wants them."""

from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest

from tests.tiny_release import make_release
from tianti.errors import IntegrityError, UsageError
from tianti.pipeline.export import export_triton
from tianti.spec import TIERS, Tier


def test_a_model_repository_of_triton(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release")
    folders = export_triton(release, tmp_path / "models", TIERS)
    assert [folder.name for folder in folders] == [release.package(tier).manifest.name for tier in TIERS]
    for tier, folder in zip(TIERS, folders, strict=True):
        package = release.package(tier)
        assert (folder / "1" / "model.onnx").read_bytes() == package.model_path.read_bytes()
        assert (folder / "labels.txt").read_text(encoding="utf-8").split() == list(package.manifest.labels)
        config = (folder / "config.pbtxt").read_text(encoding="utf-8")
        session = onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"))
        (given,), (gives,) = session.get_inputs(), session.get_outputs()
        assert (
            given.type == "tensor(int64)" and f'name: "{given.name}", data_type: TYPE_INT64, dims: [ -1, -1 ]' in config
        )
        logits = session.run(None, {given.name: np.array([[1, 2, 3]])})[0]
        assert f'name: "{gives.name}", data_type: TYPE_FP32, dims: [ -1, {logits.shape[1]} ]' in config
        assert package.id in config and 'backend: "onnxruntime"' in config
        assert package.manifest.files["onnx/model.onnx"].sha256 in config


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release")
    export_triton(release, tmp_path / "models", (Tier.DEVICE,))
    with pytest.raises(UsageError, match="is there already"):
        export_triton(release, tmp_path / "models", TIERS)
    assert len(list((tmp_path / "models").iterdir())) == 1


def test_a_changed_byte_is_not_exported(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release")
    path = release.package(Tier.EDGE).model_path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="expected sha256"):
        export_triton(release, tmp_path / "models", TIERS)
    assert not (tmp_path / "models").exists()


def test_a_tier_that_the_release_lacks_is_named(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release")
    packages = {Tier.DEVICE: release.record.packages[Tier.DEVICE]}
    lacking = msgspec.structs.replace(release, record=msgspec.structs.replace(release.record, packages=packages))
    with pytest.raises(UsageError, match="has no package of edge, cloud; name others with --tier"):
        export_triton(lacking, tmp_path / "models", TIERS)
