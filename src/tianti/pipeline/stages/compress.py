"""Stages `encoder` and `compress-*`: a trained model as a small file for the engine that runs it.

Not here: how to shrink (`compression`), which engine is taken (`engines`), the package (`package`). Invariant: a file
that is written here was run, and answers as its parent does.
"""

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tianti.data import read_prepared
from tianti.errors import StageError, needs_extra
from tianti.package import Engine, ModelPackage, read_package, write_package
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.engines import Sample, choose_engine, engines_of
from tianti.pipeline.stages.teach import (
    Quantization,
    base_digest,
    find_own,
    quantization_of,
    rows_in_scope,
)
from tianti.runtimes.measure import machine_name
from tianti.spec import Role, Tier
from tianti.spec.ladder import SCRATCH, LadderSpec, StudentSpec
from tianti.store import canonical_json, write_atomic

MODEL, TOKENIZER, ARCHITECTURE, PARITY = "model.onnx", "tokenizer.json", "architecture.txt", "parity.json"
ENGINE = "engine.json"
FILES: dict[Engine, str] = {"onnx": MODEL, "openvino": MODEL, "openvino-bf16": MODEL, "litert": "model.tflite"}
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
        quantize(exported, context.out / MODEL, embedding="int8", matmul="int8")


def run_compress(tier: Tier, context: StageContext) -> None:
    """Write the model's file, tokenizer.json, what it is in words, its engine, and how it compares with its parent."""
    from tianti.training import load_teacher

    teacher, prepared = load_teacher(context.inputs["teach"]), read_prepared(context.inputs["prepare"])
    kind = teacher.architecture if tier is Tier.CLOUD else context.spec.student_kind(tier)
    rows = rows_in_scope(prepared, Role.VALIDATION)
    texts = rows.texts[:_PARITY_ROWS]
    ids = teacher.encode(texts)
    tokenizer_json = teacher.tokenizer_json()

    def draft(folder: Path, engine: Engine, model: Path) -> ModelPackage:
        return write_package(
            folder,
            name="draft",
            version="draft",
            labels=prepared.labels,
            max_length=context.spec.data.max_length,
            model=model,
            tokenizer_json=tokenizer_json,
            goldens=[],
            card="",
            architecture=kind,
            lineage={},
            engine=engine,
        )

    with TemporaryDirectory() as folder:
        parent, files = _write_models(tier, teacher, context, Path(folder))
        context.progress(2, 3, "comparing with the parent")
        logits = _run_module(parent, ids, teacher.pad_id)
        known = set(prepared.labels)
        sample = Sample(
            source=context.inputs["prepare"] / f"{Role.VALIDATION}.jsonl.gz",
            lines=[line for line, row in enumerate(prepared.rows[Role.VALIDATION], 1) if row.label in known],
            exact=_is_float(tier, context.spec),
            texts=texts,
            ids=ids,
            parent=logits,
            truth=rows.labels[:_PARITY_ROWS],
        )
        chosen, trials = choose_engine(files, draft, sample)
        made = files[chosen.engine]
        shutil.copyfile(made, context.out / made.name)
    write_atomic(context.out / TOKENIZER, tokenizer_json.encode())
    write_atomic(context.out / ARCHITECTURE, kind.encode())
    write_atomic(context.out / PARITY, canonical_json(chosen.parity))
    tried = ", ".join(trial.line() for trial in trials if len(trials) > 1)
    write_atomic(context.out / ENGINE, canonical_json({"engine": chosen.engine, "tried": tried}))


def _write_models(tier: Tier, teacher, context: StageContext, folder: Path):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The torch module of a tier, and its file for each engine that is asked for, or why there is none."""
    if tier is Tier.CLOUD:
        _write_cloud(teacher, context, folder / MODEL)
        return teacher.module, {"onnx": folder / MODEL}
    with needs_extra("train"):
        import torch

    find_own(context.spec.student_kind(tier), context.base)  # its module must be there to unpickle a student of it
    module = torch.load(context.inputs[f"distill-{tier}"] / "student.pt", weights_only=False)
    files: dict[Engine, Path | StageError] = {}
    for engine in engines_of(context.spec.student_of(tier)):
        (folder / engine).mkdir()
        files[engine] = folder / engine / FILES[engine]
        try:
            _write_student(engine, tier, module, teacher, context, folder / engine / FILES[engine])
        except StageError as error:
            files[engine] = error
    return module, files


def _write_student(engine: Engine, tier: Tier, module, teacher, context: StageContext, path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    from tianti.compression import export_litert, export_onnx, quantize

    student = context.spec.student_of(tier)
    table, matmul = quantization_of(student, context.spec.student_kind(tier)), _matmul_of(student)
    if engine == "litert":
        context.progress(1, 3, "converting to LiteRT")
        export_litert(module, path, max_length=context.spec.data.max_length, quantized=matmul != "none")
        return
    exported = path.with_name("float.onnx")
    export_onnx(module, exported, example_ids=_example_ids(teacher, context), pad_id=teacher.pad_id)
    context.progress(1, 3, "quantising")
    # OpenVINO computes what ONNX Runtime's dynamic quantisation means in another way, a point and more off
    quantize(exported, path, embedding=table, matmul=matmul if engine == "onnx" else "none")


def _is_float(tier: Tier, spec: LadderSpec) -> bool:
    if tier is Tier.CLOUD:
        return False
    student = spec.student_of(tier)
    return student.matmul != "bf16" and (student.quantize, _matmul_of(student)) == ("none", "none")


def _matmul_of(student: StudentSpec) -> Quantization:
    """As the file holds them: bfloat16 is the engine's business."""
    if student.matmul == "bf16":
        return "none"
    return student.matmul or ("none" if student.quantize == "none" else "int8")


def _write_cloud(teacher, context: StageContext, path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    from tianti.compression import attach_head, export_onnx, quantize
    from tianti.training import EncoderClassifier

    module = teacher.module
    if context.spec.cloud.package is not None:
        shutil.copyfile(read_package(context.inputs["teach"] / "package").model_path, path)
    elif keeps_encoder(context.spec):
        assert isinstance(module, EncoderClassifier)
        tensors = (module.encoder.centre, module.head.weight, module.head.bias)
        centre, weight, bias = (tensor.detach().numpy() for tensor in tensors)
        attach_head(context.inputs["encoder"] / MODEL, path, centre, weight, bias)
    else:
        exported = path.with_name("float.onnx")
        export_onnx(module, exported, example_ids=_example_ids(teacher, context), pad_id=teacher.pad_id)
        context.progress(1, 3, "quantising")
        quantize(exported, path, embedding="int8", matmul="int8")


def _run_module(module, ids, pad_id: int):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Logits float32 [rows, labels] of a torch module, in float32, in batches as they come, padded."""
    with needs_extra("train"):
        import torch

    from tianti.training.loop import pad_batch

    batches = [ids[start : start + _EXAMPLES] for start in range(0, len(ids), _EXAMPLES)]
    with torch.inference_mode():
        return np.concatenate([module.eval()(pad_batch(batch, pad_id)).numpy() for batch in batches])


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


def keeps_encoder(spec: LadderSpec) -> bool:
    """Whether the cloud is a frozen encoder with a head that is shipped."""
    return spec.cloud.base != SCRATCH and spec.cloud.train == "head" and spec.cloud.endpoint is None


def compress_stage(tier: Tier, spec: LadderSpec) -> Stage:
    """The stage that makes a tier's file."""
    trained = (f"distill-{tier}",) if tier is not Tier.CLOUD else ("encoder",) if keeps_encoder(spec) else ()
    table = None if tier is Tier.CLOUD else quantization_of(spec.student_of(tier), spec.student_kind(tier))
    matmul = None if tier is Tier.CLOUD else _matmul_of(spec.student_of(tier))
    engines = ["onnx"] if tier is Tier.CLOUD else engines_of(spec.student_of(tier))
    return Stage(
        f"compress-{tier}",
        partial(run_compress, tier),
        needs=("prepare", "teach", *trained),
        # which of several engines is the fastest depends on the machine
        parts=lambda spec, base: (table, matmul, engines, machine_name() if len(engines) > 1 else None),
        rooms=("compression", "training", "runtimes", "package", "pipeline/engines.py"),
    )


ENCODER = Stage(
    "encoder",
    run_encoder,
    parts=lambda spec, base: (base_digest(spec, base), spec.data.max_length),
    rooms=("compression", "training/encoder.py"),
)
