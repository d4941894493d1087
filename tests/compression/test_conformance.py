"""A quantised model, a tokenizer and goldens make a package that the device's runtime runs and proves."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tests.compression.stand_ins import BASE_VOCABULARY, LABELS, Transformer
from tianti.compression import export_onnx, quantize
from tianti.package import Golden, ModelPackage, verify_package, write_package
from tianti.runtimes.measure import measure_latency
from tianti.runtimes.onnx import OnnxRuntime

NAMES = tuple(f"label{number}" for number in range(LABELS))
TEXTS = ["Word7 word8", "word499 nonsense word5", "word3"]


def word_tokenizer() -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [f"word{number}" for number in range(len(special), BASE_VOCABULARY)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(special + words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def write(folder: Path, model: Path, goldens: list[Golden]) -> ModelPackage:
    return write_package(
        folder,
        name="demo-device",
        version="1",
        labels=NAMES,
        max_length=16,
        model=model,
        tokenizer_json=word_tokenizer().to_str(),
        goldens=goldens,
        card="# demo",
        architecture="Transformer",
        lineage={},
    )


def test_a_package_of_a_quantised_model_runs_and_proves_itself(tmp_path: Path) -> None:
    module = Transformer()
    export_onnx(module, tmp_path / "full.onnx", example_ids=torch.randint(4, BASE_VOCABULARY, (2, 12)))
    quantize(tmp_path / "full.onnx", tmp_path / "model.onnx", embedding="int4", matmul="int8")
    draft = OnnxRuntime(write(tmp_path / "draft", tmp_path / "model.onnx", []))
    goldens = []
    for text in TEXTS:
        logits = draft.run(text).logits
        best = np.argsort(logits)[::-1][:3]
        goldens.append(Golden(text=text, label=NAMES[best[0]], top={NAMES[i]: float(logits[i]) for i in best}))
    package = write(tmp_path / "package", tmp_path / "model.onnx", goldens)
    verify_package(package)
    runtime = OnnxRuntime(package)
    for golden in package.goldens():
        output = runtime.run(golden.text)
        assert NAMES[int(output.logits.argmax())] == golden.label
        for label, value in golden.top.items():
            assert abs(output.logits[NAMES.index(label)] - value) <= golden.tolerance
    assert runtime.run(TEXTS[1]).unknown == 1
    assert runtime.run("word5 " * 40).truncated
    assert set(measure_latency(runtime.run, TEXTS, warmup=1, runs=5)) == {"p50", "p99"}


def test_the_file_answers_like_torch_through_the_tokenizer(tmp_path: Path) -> None:
    module = Transformer()
    export_onnx(module, tmp_path / "full.onnx", example_ids=torch.randint(4, BASE_VOCABULARY, (2, 12)))
    runtime = OnnxRuntime(write(tmp_path / "package", tmp_path / "full.onnx", []))
    for text in TEXTS:
        with torch.no_grad():
            expected = module(torch.tensor([word_tokenizer().encode(text).ids])).numpy()[0]
        np.testing.assert_allclose(runtime.run(text).logits, expected, atol=1e-5)
