"""The models that are served, each as a release whose cloud holds it: small, encoder, minilm.

    small    embedding mean-pool and a hidden layer     encoder  4 layers of 256, vocabulary 8,000
    minilm   the real all-MiniLM-L6-v2 with a head

encoder-bf16 and minilm-bf16 are the same files, run by OpenVINO in bfloat16.
Heads, and all of small and encoder, are random: it is their cost that is measured, and their cost is real.
"""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import onnxruntime
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import BertConfig, BertModel

from benchmarks.real_data import WORK, encoder_folder
from benchmarks.serving.texts import MAX_TOKENS, make_texts, read_texts
from tianti.compression import export_onnx
from tianti.package import Golden, ReleaseRecord, bind, write_package, write_release
from tianti.spec import Certificate, Level, ScoreHead, Tested, Tier
from tianti.training import load_encoder, load_tokenizer
from tianti.training.encoder import Encoder
from tianti.training.students import BagBody
from tianti.training.tokenizer import train_tokenizer

NAMES = ("small", "encoder", "minilm")
BF16 = ("encoder-bf16", "minilm-bf16")
LABELS = tuple(f"intent{index}" for index in range(77))
_FOLDER = WORK / "serving"
_CORPUS = ("banking77_en", "clinc150_en", "sst2_en")


def release_of(name: str) -> Path:
    """The folder of a model's release, made on the first call."""
    folder = _FOLDER / name
    if not (folder / "release" / "release.json").is_file():
        torch.manual_seed(0)
        kind = name.removesuffix("-bf16")
        tokenizer = load_tokenizer(encoder_folder()) if kind == "minilm" else _small_tokenizer()
        _write(name, folder, _module(kind, tokenizer.get_vocab_size()).eval(), tokenizer)
    return folder / "release"


def package_of(name: str) -> Path:
    """The folder of a model's package."""
    return release_of(name) / "packages" / "cloud"


def _small_tokenizer() -> Tokenizer:
    return train_tokenizer([text for name in _CORPUS for text in read_texts(name, "train")])


def _module(name: str, vocabulary: int) -> nn.Module:
    if name == "small":
        return BagBody(vocabulary, len(LABELS), 128)
    if name == "minilm":
        encoder = load_encoder(encoder_folder(), 0)
    else:
        shape = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
        config = BertConfig(vocab_size=vocabulary, **shape, attn_implementation="eager")
        encoder = Encoder(BertModel(config, add_pooling_layer=False), 0, "mean")
    return nn.Sequential(encoder, nn.Linear(encoder.width, len(LABELS)))


def _write(name: str, folder: Path, module: nn.Module, tokenizer: Tokenizer) -> None:
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    texts = make_texts()[:3]
    example = torch.tensor([tokenizer.encode(texts[0]).ids])
    folder.mkdir(parents=True, exist_ok=True)
    export_onnx(module, folder / "model.onnx", example_ids=example)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    logits = {text: session.run(None, {"input_ids": [tokenizer.encode(text).ids]})[0][0] for text in texts}
    best = {text: int(row.argmax()) for text, row in logits.items()}
    package = write_package(
        folder / "package",
        name=name,
        version="1",
        labels=LABELS,
        max_length=MAX_TOKENS,
        model=folder / "model.onnx",
        tokenizer_json=tokenizer.to_str(),
        goldens=[Golden(text=t, label=LABELS[k], top={LABELS[k]: float(logits[t][k])}) for t, k in best.items()],
        card="A benchmark's model, with random weights.",
        architecture=type(module).__name__,
        lineage={},
        engine="openvino-bf16" if name in BF16 else "onnx",
    )
    packages, heads = {Tier.CLOUD: package.id}, {Tier.CLOUD: ScoreHead()}
    record = ReleaseRecord(
        name=name,
        labels=LABELS,
        out_of_scope=None,
        packages=packages,
        heads=heads,
        certificate=_nothing(packages, heads),
    )
    write_release(folder / "release", record, {Tier.CLOUD: folder / "package"})


def _nothing(packages: dict[Tier, str], heads: dict[Tier, ScoreHead]) -> Certificate:
    """A certificate that certifies nothing, so that the cloud answers all."""
    return Certificate(
        risk="harm",
        confidence=0.95,
        n=1,
        path=(Tested(device=2.0, edge=2.0, harmful=0),),
        levels=(Level(alpha=0.01, point=None, share={Tier.CLOUD: 1.0}, rows_needed=300),),
        out_of_scope_share=0.0,
        bound=bind(packages, heads),
    )
