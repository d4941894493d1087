"""OpenVINO in bfloat16, where the CPU computes in it: what a text gets alone is what it gets in company."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.platforms.test_engines import (
    KEPT,
    LABELS,
    LONGEST,
    TEXTS,
    VOCABULARY,
    ids_of,
    make_package,
    skip_without,
    write_model,
)
from tianti.errors import UsageError
from tianti.package import Engine
from tianti.runtimes import OpenVinoRuntime, Runtime, open_package
from tianti.runtimes.openvino import check_precision
from tianti.serving.costs import batches_are_faithful, measure
from tianti.training.students import Student, TransformerBody


def wide_student() -> Student:
    torch.manual_seed(1)
    alias = torch.randint(1, KEPT, (VOCABULARY,))
    alias[0] = 0
    return Student(TransformerBody(KEPT, LABELS, 128, layers=4, max_length=LONGEST), alias).eval()


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> dict[Engine, Runtime]:
    skip_without("openvino-bf16")
    folder = tmp_path_factory.mktemp("bf16")
    model = write_model("onnx", wide_student(), folder)
    engines: tuple[Engine, ...] = ("openvino", "openvino-bf16")
    return {engine: open_package(make_package(folder / engine, engine, model)) for engine in engines}


def test_it_is_bfloat16_and_near_what_torch_gives(runtimes: dict[Engine, Runtime]) -> None:
    """The control is float32."""
    module = wide_student()
    with torch.no_grad():
        expected = np.stack([module(ids_of(text))[0].numpy() for text in TEXTS])
    off = {
        engine: np.abs(np.stack([r.run(t).logits for t in TEXTS]) - expected).max() for engine, r in runtimes.items()
    }
    print(f"from torch at most: {off}")
    assert off["openvino"] <= 1e-5 < 1e-3 < off["openvino-bf16"] <= 0.1


def test_whatever_the_batch_no_bit_is_another_than_alone(runtimes: dict[Engine, Runtime]) -> None:
    """So no decision is. The control is the same engine without the padding."""
    runtime = runtimes["openvino-bf16"]
    assert isinstance(runtime, OpenVinoRuntime)
    rows = [list(encoded.ids) for encoded in runtime.encode_many(TEXTS + TEXTS[::-1])]
    batches = [rows[start:end] for start, end in pairwise((0, 1, 3, 6, 13, 29, 61, 125, 200, 232, 300, 400))]

    def farthest() -> float:
        alone = [np.stack([runtime.run_ids(row) for row in batch]) for batch in batches]
        return max(float(np.abs(runtime.run_rows(b) - a).max()) for b, a in zip(batches, alone, strict=True))

    assert farthest() == 0.0
    assert batches_are_faithful(runtime, TEXTS[:16]) and measure(runtime, TEXTS[:16]).most > 1
    runtime.length_step = 4
    assert farthest() > 1e-3
    assert not batches_are_faithful(runtime, TEXTS[:16])
    del runtime.length_step


def test_another_precision_than_was_asked_for_is_refused() -> None:
    check_precision("f32", "f32", ["FP32"])
    check_precision("bf16", "bf16", ["BF16", "FP32"])
    for compiled, native in (("f32", ["FP32", "INT8"]), ("bf16", ["FP32"]), ("f16", ["FP32", "FP16"])):
        with pytest.raises(UsageError, match=r"expected OpenVINO to compute in bf16.*avx512_bf16 or amx_bf16"):
            check_precision("bf16", compiled, native)
