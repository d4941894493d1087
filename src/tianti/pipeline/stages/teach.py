"""Stages `teach`, `lessons` and `distill-*`: the cloud's model, what it says of old and new texts, and its students.

Of a cloud that is only called, the teacher is a model that is trained in its stead.

Not here: how to train (`training`). Invariant: only train rows fit, only validation rows stop and choose.
"""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tianti.data import Prepared, Row, read_prepared
from tianti.errors import SpecError, needs_extra
from tianti.package import ModelPackage, read_package, verify_package
from tianti.pipeline.candidates import MADE_UP, MORE
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.parent import find_parent
from tianti.spec import Role, Tier
from tianti.spec.ladder import SCRATCH, LadderSpec, StudentSpec
from tianti.spec.named import find_function
from tianti.store import sha256_file, sha256_tree

Quantization = Literal["int4", "int8", "none"]
_WIDTHS = {Tier.DEVICE: 128, Tier.EDGE: 192}
_LAYERS = 2
_VOCABULARY = "vocabulary.npz"


def run_teach(context: StageContext) -> None:
    """Write the teacher."""
    from tianti.training import find_base, fine_tune, load_tokenizer, save_teacher, teach_head, teach_scratch

    spec, prepared = context.spec, read_prepared(context.inputs["prepare"])
    train, validation = (rows_in_scope(prepared, role) for role in (Role.TRAIN, Role.VALIDATION))
    labels, longest = len(prepared.labels), spec.data.max_length
    fit = spec.cloud.fit
    if spec.cloud.package is not None:
        _keep_imported(read_package(context.base / spec.cloud.package), prepared, longest, context.out)
        return
    if spec.cloud.base == SCRATCH:
        parent = find_parent(spec, context.base)
        tokenizer = None if parent is None else load_tokenizer(parent.folders["teach"])
        teacher = teach_scratch(train, validation, labels, longest, fit, spec.seed, context.progress, tokenizer)
    else:
        base = find_base(spec.cloud.base, context.base)
        if spec.cloud.train == "head":
            teacher = teach_head(base, train, labels, longest, context.progress)
        else:
            teacher = fine_tune(base, train, validation, labels, longest, fit, spec.seed, context.progress)
    save_teacher(teacher, context.out)


def _keep_imported(package: ModelPackage, prepared: Prepared, longest: int, out: Path) -> None:
    with needs_extra("train"):
        import onnx
    from tokenizers import Tokenizer

    from tianti.compression import read_word_table
    from tianti.training import keep_imported

    verify_package(package)
    knows, wanted = set(package.manifest.labels), set(prepared.labels)
    if knows != wanted:
        lacks, more = sorted(wanted - knows)[:5], sorted(knows - wanted)[:5]
        cure = "import it with the labels of the data, or leave rows of other labels out"
        raise SpecError(
            f"cloud.package: the data have labels that it lacks: {lacks}, and it has others: {more}; {cure}"
        )
    if longest > package.manifest.max_length:
        found = package.manifest.max_length
        raise SpecError(f"data.max_length: expected at most the {found} tokens of cloud.package, got {longest}")
    table = read_word_table(onnx.load(package.model_path).graph)
    words = Tokenizer.from_file(str(package.tokenizer_path)).get_vocab_size()  # some may be special tokens beside it
    known = np.zeros((0, 1), np.float32) if table is None else (table - table.mean(axis=0))[:words]
    vectors = np.concatenate([known, np.zeros((words - len(known), known.shape[1]), np.float32)])
    keep_imported(package.folder, vectors, longest, out)


def run_lessons(context: StageContext) -> None:
    """Write ids and teacher's logits of train, unlabelled and made-up texts, and the shrunken vocabulary."""
    from tianti.training import load_teacher, make_texts

    prepared = read_prepared(context.inputs["prepare"])
    teacher, train = load_teacher(context.inputs["teach"]), rows_in_scope(prepared, Role.TRAIN)
    ids = teacher.encode(train.texts)
    vocabulary = _find_vocabulary(context, teacher, ids)
    count = _most_made_up(context.spec)
    context.progress(0, 1, "making up texts")
    made = make_texts(
        ids,
        train.labels,
        vocabulary.neighbours(),
        vocabulary.special,
        count,
        context.spec.data.max_length,
        context.spec.seed,
    )
    given = [*ids, *teacher.encode(prepared.unlabelled)]
    all_ids = [*given, *made]
    logits = teacher.label(all_ids, context.progress)
    lengths = np.array([len(tokens) for tokens in all_ids])
    flat = np.concatenate([np.asarray(tokens, dtype=np.int32) for tokens in all_ids])
    np.savez(
        context.out / "lessons.npz", flat=flat, lengths=lengths, labels=train.labels, logits=logits, given=len(given)
    )
    vocabulary.save(context.out / _VOCABULARY)


def _find_vocabulary(context: StageContext, teacher, ids):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The parent's, or what train uses."""
    from tianti.training import Vocabulary, find_base, load_teacher, shrink_vocabulary

    if (parent := find_parent(context.spec, context.base)) is None:
        tuned = context.spec.cloud.train == "fine_tune"
        base = find_base(context.spec.cloud.base, context.base) if tuned else None
        return shrink_vocabulary(teacher, ids, context.progress, base)
    if load_teacher(parent.folders["teach"]).tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
        raise SpecError("train.from: the parent's cloud has another tokenizer; keep cloud.base, or leave train out")
    return Vocabulary.load(parent.folders["lessons"] / _VOCABULARY)


def run_distill(tier: Tier, context: StageContext) -> None:
    """Write the student of a tier."""
    with needs_extra("train"):
        import torch

    from tianti.training import Lessons, Vocabulary, build_body, distill, load_teacher, warm_start

    spec, prepared = context.spec, read_prepared(context.inputs["prepare"])
    student, teacher = spec.student_of(tier), load_teacher(context.inputs["teach"])
    validation = rows_in_scope(prepared, Role.VALIDATION)
    with np.load(context.inputs["lessons"] / "lessons.npz") as kept:
        count = int(kept["given"]) + _made_up(student)
        ids = np.split(kept["flat"], np.cumsum(kept["lengths"])[:-1])[:count]
        labels, logits = kept["labels"], kept["logits"][:count]
    lessons = Lessons(ids, labels, logits, teacher.encode(validation.texts), validation.labels)
    vocabulary = Vocabulary.load(context.inputs["lessons"] / _VOCABULARY)
    kind = spec.student_kind(tier)
    build = find_own(kind, context.base) or kind
    width = student.width or _WIDTHS[tier]
    torch.manual_seed(spec.seed)
    body = build_body(build, teacher, vocabulary, len(prepared.labels), width, student.layers or _LAYERS)
    prune = student.prune
    if (parent := find_parent(spec, context.base)) is not None:
        start = torch.load(parent.folders[f"distill-{tier}"] / "student.pt", weights_only=False).body
        places = {label: place for place, label in enumerate(parent.labels)}
        assert spec.train is not None
        prune = warm_start(body, start, [places.get(label) for label in prepared.labels], spec.train.freeze, prune)
    bits = {"int4": 4, "int8": 8}.get(quantization_of(student, kind))
    warm = parent is not None
    module = distill(body, vocabulary, lessons, student.fit, bits, spec.seed, context.progress, prune, warm=warm)
    torch.save(module, context.out / "student.pt")


def find_own(kind: str, base: Path) -> Callable[..., Any] | None:
    """The function of a user's own student; None for a built-in one."""
    return find_function(kind, base) if ":" in kind and not kind.startswith("encoder:") else None


def quantization_of(student: StudentSpec, kind: str) -> Quantization:
    """How a student's table is stored: an encoder's was never trained for 4 bits."""
    return student.quantize or ("int8" if kind.startswith("encoder:") else "int4")


def _made_up(student: StudentSpec) -> int:
    return MADE_UP if student.augment is None else student.augment


def _most_made_up(spec: LadderSpec) -> int:
    """One number for all rounds of a search: what a student is trained on is then the same in each."""
    open_ones = MADE_UP if spec.search is None else MORE
    return max(open_ones if tier.augment is None else tier.augment for tier in spec.students.values())


def rows_in_scope(prepared: Prepared, role: Role):  # type: ignore[no-untyped-def]  # noqa: ANN201  (Rows, which needs torch)
    """In-scope rows of a role: out of scope is told by energy, not learnt as a class (docs/adr/0004)."""
    from tianti.training import Rows

    index = {label: position for position, label in enumerate(prepared.labels)}
    kept: list[Row] = [row for row in prepared.rows[role] if row.label in index]
    return Rows([row.text for row in kept], np.array([index[row.label] for row in kept], dtype=np.int64))


def _teach_parts(spec: LadderSpec, base: Path) -> object:
    return spec.cloud, spec.data.max_length, base_digest(spec, base), _parent_parts(spec, base)


def base_digest(spec: LadderSpec, base: Path) -> str:
    """Of an imported package its id, of a local base the bytes, of a hub's the name.

    `hf://ORG/NAME@REVISION` names one state of it for good.
    """
    if spec.cloud.package is not None:
        return read_package(base / spec.cloud.package).id
    folder = base / spec.cloud.base
    return sha256_tree(folder) if spec.cloud.base != SCRATCH and folder.is_dir() else spec.cloud.base


def _distill_parts(tier: Tier, spec: LadderSpec, base: Path) -> object:
    kind = spec.student_kind(tier)
    own = find_own(kind, base)
    student = spec.student_of(tier)  # but not its budgets, which change nothing of how it is trained
    trained = [kind, student.width, student.layers, student.fit, student.augment, student.quantize, student.prune]
    return trained, None if own is None else sha256_file(Path(inspect.getfile(own))), _parent_parts(spec, base)


def _lessons_parts(spec: LadderSpec, base: Path) -> object:
    return _most_made_up(spec), _parent_parts(spec, base)


def _parent_parts(spec: LadderSpec, base: Path) -> object:
    parent = find_parent(spec, base)
    return None if parent is None else (parent.keys, spec.train)


TEACH = Stage("teach", run_teach, needs=("prepare",), parts=_teach_parts, rooms=("training",))
LESSONS = Stage("lessons", run_lessons, needs=("prepare", "teach"), parts=_lessons_parts, rooms=("training",))
DISTILL = {
    tier: Stage(
        f"distill-{tier}",
        partial(run_distill, tier),
        needs=("prepare", "teach", "lessons"),
        parts=partial(_distill_parts, tier),
        rooms=("training",),
        apart=True,
    )
    for tier in (Tier.EDGE, Tier.DEVICE)
}
