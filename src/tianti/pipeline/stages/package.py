"""Stages `compress-*` and `package-*`: a trained model as a small file, then as a ModelPackage that proves itself.

Not here: how to shrink (`compression`), the format (`package`). Invariant: a package's goldens were made by running
the very file that it holds.
"""

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import tianti
from tianti.data import read_prepared
from tianti.errors import needs_extra
from tianti.package import Golden, ModelPackage, read_package, write_package
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.stages.teach import (
    Quantization,
    base_digest,
    find_own,
    quantization_of,
    rows_in_scope,
)
from tianti.runtimes.onnx import OnnxRuntime
from tianti.spec import Role, Tier
from tianti.spec.ladder import SCRATCH, LadderSpec
from tianti.store import canonical_json, sha256_bytes, sha256_file, sha256_tree, write_atomic

MODEL, TOKENIZER, ARCHITECTURE, PARITY = "model.onnx", "tokenizer.json", "architecture.txt", "parity.json"
_GOLDENS, _GOLDEN_LABELS = 8, 3
_EXAMPLES = 8
_PARITY_ROWS = 300
_ENCODER_EXAMPLES = ("two texts that an encoder is traced with, of which this is the longer", "the shorter")


def run_encoder(context: StageContext) -> None:
    """Write the frozen encoder of the base, exported and quantised once for every head that is put on it."""
    from tianti.compression import export_onnx, quantize
    from tianti.training import Pool, encode_texts, find_base, find_special, load_encoder, load_tokenizer

    base = find_base(context.spec.cloud.base, context.base)
    tokenizer = load_tokenizer(base)
    pad_id = find_special(tokenizer).pad
    examples = _padded(encode_texts(tokenizer, _ENCODER_EXAMPLES, context.spec.data.max_length), pad_id)
    with TemporaryDirectory() as folder:
        exported = Path(folder) / "float.onnx"
        pool = Pool(load_encoder(base, pad_id))
        export_onnx(pool, exported, example_ids=examples, pad_id=pad_id, output="embedding")
        context.progress(1, 2, "quantising")
        quantize(exported, context.out / MODEL, embedding="int8", matmul=True)


def run_compress(tier: Tier, context: StageContext) -> None:
    """Write model.onnx, tokenizer.json, what the model is in words, and how it compares with its parent."""
    from tianti.compression import check_parity, compare, run_rows
    from tianti.training import load_teacher

    teacher = load_teacher(context.inputs["teach"])
    write_atomic(context.out / TOKENIZER, teacher.tokenizer_json().encode())
    kind = teacher.architecture if tier is Tier.CLOUD else context.spec.student_kind(tier)
    write_atomic(context.out / ARCHITECTURE, kind.encode())
    parent = _write_model(tier, teacher, context)
    context.progress(2, 3, "comparing with the parent")
    rows = rows_in_scope(read_prepared(context.inputs["prepare"]), Role.VALIDATION)
    ids, truth = teacher.encode(rows.texts[:_PARITY_ROWS]), rows.labels[:_PARITY_ROWS]
    parity = compare(_run_module(parent, ids, teacher.pad_id), run_rows(context.out / MODEL, ids), truth)
    check_parity(parity)
    write_atomic(context.out / PARITY, canonical_json(parity))


def _write_model(tier: Tier, teacher, context: StageContext):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Write model.onnx; the torch module that it was made from."""
    with needs_extra("train"):
        import torch

    from tianti.compression import attach_head, export_onnx, quantize
    from tianti.training import EncoderClassifier

    module: torch.nn.Module = teacher.module
    if tier is Tier.CLOUD and context.spec.cloud.package is not None:
        shutil.copyfile(read_package(context.inputs["teach"] / "package").model_path, context.out / MODEL)
        return module
    if tier is Tier.CLOUD and keeps_encoder(context.spec):
        assert isinstance(module, EncoderClassifier)
        tensors = (module.encoder.centre, module.head.weight, module.head.bias)
        centre, weight, bias = (tensor.detach().numpy() for tensor in tensors)
        attach_head(context.inputs["encoder"] / MODEL, context.out / MODEL, centre, weight, bias)
        return module
    table: Quantization = "int8"
    if tier is not Tier.CLOUD:
        kind = context.spec.student_kind(tier)
        find_own(kind, context.base)  # its module must be there to unpickle a student of it
        module = torch.load(context.inputs[f"distill-{tier}"] / "student.pt", weights_only=False)
        table = quantization_of(context.spec.student_of(tier), kind)
    with TemporaryDirectory() as folder:
        exported = Path(folder) / "float.onnx"
        export_onnx(module, exported, example_ids=_example_ids(teacher, context), pad_id=teacher.pad_id)
        context.progress(1, 3, "quantising")
        quantize(exported, context.out / MODEL, embedding=table, matmul=table != "none")
    return module


def _run_module(module, ids, pad_id: int):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Logits float32 [rows, labels] of a torch module, in float32, in batches as they come, padded."""
    with needs_extra("train"):
        import torch

    from tianti.training.loop import pad_batch

    batches = [ids[start : start + _EXAMPLES] for start in range(0, len(ids), _EXAMPLES)]
    with torch.inference_mode():
        return np.concatenate([module.eval()(pad_batch(batch, pad_id)).numpy() for batch in batches])


def run_package(tier: Tier, context: StageContext) -> None:
    """Write the package."""
    spec, prepared = context.spec, read_prepared(context.inputs["prepare"])
    source = context.inputs[f"compress-{tier}"]
    architecture = (source / ARCHITECTURE).read_text(encoding="utf-8")

    def write(folder: Path, goldens: list[Golden]) -> ModelPackage:
        return write_package(
            folder,
            name=f"{spec.name}-{tier}",
            version=sha256_file(source / MODEL)[:12],
            task=spec.task,
            labels=prepared.labels,
            max_length=spec.data.max_length,
            model=source / MODEL,
            tokenizer_json=(source / TOKENIZER).read_text(encoding="utf-8"),
            goldens=goldens,
            card=_card(spec, tier, architecture),
            architecture=architecture,
            lineage={
                "data": sha256_tree(context.inputs["prepare"]),
                "spec": sha256_bytes(canonical_json(spec)),
                "tianti": tianti.__version__,
                "architecture": architecture,
            },
        )

    with TemporaryDirectory() as draft:
        runtime = OnnxRuntime(write(Path(draft), []))
        goldens = [make_golden(runtime, row.text) for row in prepared.rows[Role.VALIDATION][:_GOLDENS]]
    write(context.out, goldens)


def make_golden(runtime: OnnxRuntime, text: str) -> Golden:
    """What a package must give for a text, taken from what it gives here."""
    logits = runtime.run(text).logits
    best = np.argsort(-logits)[:_GOLDEN_LABELS]
    top = {runtime.labels[index]: round(float(logits[index]), 4) for index in best}
    return Golden(text=text, label=runtime.labels[best[0]], top=top)


def _example_ids(teacher, context: StageContext):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    rows = read_prepared(context.inputs["prepare"]).rows[Role.TRAIN][:_EXAMPLES]
    return _padded(teacher.encode([row.text for row in rows]), teacher.pad_id)


def _padded(ids: list[list[int]], pad_id: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """The longest first, since an export's first example must hold no padding."""
    from tianti.training.loop import pad_batch

    ids = sorted(ids, key=len, reverse=True)
    longest = max(len(ids[0]), 4)
    first = [*ids[0], *ids[0][-1:] * (longest - len(ids[0]))]
    return pad_batch([first, *ids[1:]], pad_id)


def _card(spec: LadderSpec, tier: Tier, architecture: str) -> str:
    return f"""\
---
pipeline_tag: {spec.task}
library_name: tianti
---
# {spec.name}, {tier}

{architecture}, made by [Tianti](https://pypi.org/project/tianti) from the data that manifest.json names by hash.
Input: `input_ids` int64 [batch, tokens] of tokenizer.json, at most {spec.data.max_length} tokens. Output: `logits`.
golden.jsonl holds texts and what they must give. Accuracy, limits and the certificate are in the release that ships it.
"""


def keeps_encoder(spec: LadderSpec) -> bool:
    """Whether the cloud is a frozen encoder with a head."""
    return spec.cloud.base != SCRATCH and spec.cloud.train == "head"


def compress_stage(tier: Tier, spec: LadderSpec) -> Stage:
    """The stage that makes a tier's file."""
    trained = (f"distill-{tier}",) if tier is not Tier.CLOUD else ("encoder",) if keeps_encoder(spec) else ()
    table = None if tier is Tier.CLOUD else quantization_of(spec.student_of(tier), spec.student_kind(tier))
    return Stage(
        f"compress-{tier}",
        partial(run_compress, tier),
        needs=("prepare", "teach", *trained),
        parts=lambda spec, base: table,
        rooms=("compression", "training"),
    )


def package_stage(tier: Tier, spec: LadderSpec) -> Stage:
    """The stage that makes a tier's package."""
    return Stage(
        f"package-{tier}",
        partial(run_package, tier),
        needs=("prepare", f"compress-{tier}"),
        parts=lambda spec, base: spec,
        rooms=("package", "runtimes"),
    )


ENCODER = Stage(
    "encoder",
    run_encoder,
    parts=lambda spec, base: (base_digest(spec, base), spec.data.max_length),
    rooms=("compression", "training/encoder.py"),
)
