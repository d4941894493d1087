"""What is exported is the module; what cannot be is refused, and no file is left."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from tests.compression.conftest import Run
from tests.compression.stand_ins import Bag, Lstm, Transformer
from tianti.compression import export_onnx, quantize
from tianti.errors import StageError


@pytest.mark.parametrize("kind", [Bag, Transformer, Lstm])
def test_the_file_is_the_module(kind: type[nn.Module], tmp_path: Path, example_ids: Tensor, run: Run) -> None:
    module = kind()
    path = tmp_path / "model.onnx"
    export_onnx(module, path, example_ids=example_ids)
    ids = torch.randint(1, 200, (4, 31))  # longer than the example, another batch
    ids[1, 5:] = 0
    with torch.no_grad():
        np.testing.assert_allclose(run(path, ids), module(ids).numpy(), atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_the_contract_of_the_file(tmp_path: Path, example_ids: Tensor) -> None:
    export_onnx(Transformer(), tmp_path / "model.onnx", example_ids=example_ids)
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    (given,), (got,) = model.graph.input, model.graph.output
    assert (given.name, got.name) == ("input_ids", "logits")
    assert [d.dim_param for d in given.type.tensor_type.shape.dim] == ["batch", "tokens"]
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]


def test_dropout_is_off_in_the_file(tmp_path: Path, example_ids: Tensor, run: Run) -> None:
    module = Bag().train()
    export_onnx(module, tmp_path / "model.onnx", example_ids=example_ids)
    once, again = (run(tmp_path / "model.onnx", example_ids) for _ in range(2))
    assert not module.training
    assert (once == again).all()


class _Branching(Bag):
    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) * (2.0 if ids.shape[1] > 8 else 1.0)


def test_a_branch_on_the_shape_is_found(tmp_path: Path, example_ids: Tensor) -> None:
    with pytest.raises(StageError, match=r"shape \(1, 6\): expected .*, got .*branches on shapes"):
        export_onnx(_Branching(), tmp_path / "model.onnx", example_ids=example_ids)
    assert not list(tmp_path.iterdir())


def test_an_answer_that_depends_on_padding_is_found(tmp_path: Path, example_ids: Tensor) -> None:
    with pytest.raises(StageError, match="a text with and without padding"):
        export_onnx(Lstm(forgets_padding=True), tmp_path / "model.onnx", example_ids=example_ids)
    assert not list(tmp_path.iterdir())


def test_half_precision_is_refused(tmp_path: Path, example_ids: Tensor) -> None:
    with pytest.raises(StageError, match=r"expected float32 parameters, got torch.bfloat16 .* module.float"):
        export_onnx(Bag().to(torch.bfloat16), tmp_path / "model.onnx", example_ids=example_ids)


class _Squeezing(Bag):
    """The tracer writes an If for the squeeze of a dimension that it does not know."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) + self.words(ids % 3)[:, :1].squeeze(1).sum(1, keepdim=True)


def test_nested_graphs_keep_the_names_that_they_read(tmp_path: Path, example_ids: Tensor, run: Run) -> None:
    module, full, small = _Squeezing(), tmp_path / "full.onnx", tmp_path / "small.onnx"
    export_onnx(module, full, example_ids=example_ids)
    assert "If" in {node.op_type for node in onnx.load(full).graph.node}
    quantize(full, small, embedding="int8", matmul="int8")
    np.testing.assert_allclose(run(small, example_ids), run(full, example_ids), atol=0.1)
