"""Files get smaller, and still say what the model says."""

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from tests.compression.conftest import Run
from tests.compression.stand_ins import BASE_VOCABULARY, Bag, Lstm, Transformer
from tianti.compression import export_onnx, quantize, row_scales
from tianti.compression.scales import quantize_rows
from tianti.errors import StageError

Kind = Literal["int4", "int8", "none"]


def stored(path: Path) -> dict[tuple[int, ...], str]:
    """Shape of each initializer -> its type."""
    model = onnx.load(path)
    return {tuple(t.dims): onnx.TensorProto.DataType.Name(t.data_type) for t in model.graph.initializer}


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(1, BASE_VOCABULARY, (40, 9))


@pytest.mark.parametrize(("embedding", "bits"), [("int4", 4), ("int8", 8)])
def test_the_file_is_the_module_with_a_fake_quantised_table(
    embedding: Kind, bits: int, tmp_path: Path, example_ids: Tensor, ids: Tensor, run: Run
) -> None:
    module = Transformer()
    export_onnx(module, tmp_path / "full.onnx", example_ids=example_ids)
    quantize(tmp_path / "full.onnx", tmp_path / "small.onnx", embedding=embedding, matmul="none")
    table = module.words.weight.detach().numpy()
    scales = row_scales(table, bits)
    with torch.no_grad():
        module.words.weight.copy_(torch.from_numpy(quantize_rows(table, scales, bits) * scales[:, None]))
        module.positions.weight.copy_(module.positions.weight.half().float())
        expected = module(ids).numpy()
    np.testing.assert_allclose(run(tmp_path / "small.onnx", ids), expected, atol=1e-5)
    onnx.checker.check_model(onnx.load(tmp_path / "small.onnx"), full_check=True)


@pytest.mark.parametrize("kind", [Bag, Transformer, Lstm])
@pytest.mark.parametrize(
    ("embedding", "matmul"), [("none", "int8"), ("int8", "none"), ("int8", "int8"), ("int4", "int8"), ("int4", "int4")]
)
def test_every_variant_is_smaller_and_near(
    kind: type[nn.Module], embedding: Kind, matmul: Kind, tmp_path: Path, example_ids: Tensor, ids: Tensor, run: Run
) -> None:
    full, small = tmp_path / "full.onnx", tmp_path / "small.onnx"
    export_onnx(kind(), full, example_ids=example_ids)
    quantize(full, small, embedding=embedding, matmul=matmul)
    assert small.stat().st_size < full.stat().st_size
    expected, got = run(full, ids), run(small, ids)
    assert np.corrcoef(expected.ravel(), got.ravel())[0, 1] > (0.9 if embedding == "int4" else 0.995)


def test_four_bit_matmuls_take_in_the_head_too(tmp_path: Path, example_ids: Tensor) -> None:
    export_onnx(Transformer(), tmp_path / "full.onnx", example_ids=example_ids)
    quantize(tmp_path / "full.onnx", tmp_path / "small.onnx", embedding="int4", matmul="int4")
    assert "MatMulNBits" in operators(tmp_path / "small.onnx")
    assert "Gemm" not in operators(tmp_path / "small.onnx")


def test_tables_are_stored_as_asked(tmp_path: Path, example_ids: Tensor) -> None:
    full, small = tmp_path / "full.onnx", tmp_path / "small.onnx"
    export_onnx(Transformer(positions=48), full, example_ids=example_ids)
    quantize(full, small, embedding="int4", matmul="int8")
    found = stored(small)
    assert found[200, 16] == "UINT8"  # two codes a byte
    assert found[200, 1] == "FLOAT"  # too small to be worth narrowing
    assert found[48, 32] == "FLOAT16"  # positions
    assert found[BASE_VOCABULARY,] == "INT16"  # alias map
    assert found[32, 96] == "INT8"


def test_positions_are_not_taken_for_words(tmp_path: Path, example_ids: Tensor) -> None:
    full, small = tmp_path / "full.onnx", tmp_path / "small.onnx"
    export_onnx(Transformer(rows=40, positions=512), full, example_ids=example_ids)
    quantize(full, small, embedding="int8", matmul="none")
    found = stored(small)
    assert found[40, 32] == "INT8"
    assert found[512, 32] == "FLOAT16"


def test_an_alias_map_to_many_rows_keeps_its_ids(tmp_path: Path, run: Run) -> None:
    module = Bag(rows=40_000, width=4)
    module.alias = torch.arange(39_000, 39_000 + BASE_VOCABULARY)
    ids = torch.randint(1, BASE_VOCABULARY, (5, 8))
    full, small = tmp_path / "full.onnx", tmp_path / "small.onnx"
    export_onnx(module, full, example_ids=ids)
    quantize(full, small, embedding="int8", matmul="none")
    assert stored(small)[BASE_VOCABULARY,] == "INT32"
    np.testing.assert_allclose(run(small, ids), run(full, ids), atol=0.05)


def test_lstm_weights_are_found(tmp_path: Path, example_ids: Tensor) -> None:
    full, small = tmp_path / "full.onnx", tmp_path / "small.onnx"
    export_onnx(Lstm(), full, example_ids=example_ids)
    quantize(full, small, embedding="none", matmul="int8")
    assert "DynamicQuantizeLSTM" in operators(small)


def test_only_standard_operators_for_a_transformer(tmp_path: Path, example_ids: Tensor) -> None:
    full, small = tmp_path / "full.onnx", tmp_path / "small.onnx"
    export_onnx(Transformer(), full, example_ids=example_ids)
    quantize(full, small, embedding="int4", matmul="int8")
    assert {node.domain for node in onnx.load(small).graph.node} == {""}


def test_a_model_without_words_is_refused(tmp_path: Path) -> None:
    class Sums(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            return ids.float().sum(1, keepdim=True)

    full = tmp_path / "full.onnx"
    export_onnx(Sums(), full, example_ids=torch.randint(1, 9, (2, 8)))
    with pytest.raises(StageError, match="expected a float table looked up by input_ids, found none"):
        quantize(full, tmp_path / "small.onnx", embedding="int4", matmul="none")
    assert not (tmp_path / "small.onnx").exists()


def test_an_odd_width_is_refused(tmp_path: Path, example_ids: Tensor) -> None:
    full = tmp_path / "full.onnx"
    export_onnx(Bag(width=33), full, example_ids=example_ids)
    with pytest.raises(StageError, match="expected an even width for 4-bit codes, got 33"):
        quantize(full, tmp_path / "small.onnx", embedding="int4", matmul="none")
