"""Stage `explain`: which words decide, whether they do, and where two tiers go by other words; on validation rows.

Not here: weighing (`weighing`), gradients (`gradients`), the picture (`report`). Invariants: no test row is read; no
text with something personal in it is shown; what it costs is bounded in characters, whatever the data.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from tianti.data import Row, read_prepared
from tianti.errors import StageError, needs_extra
from tianti.explain.occlusion import scorer_of
from tianti.explain.words import Word, cut
from tianti.package import read_package
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.explained import Explained
from tianti.pipeline.leaving import redactor_of
from tianti.pipeline.stages.certify import read_certificate
from tianti.pipeline.stages.teach import find_own
from tianti.pipeline.weighing import Model, Reference, class_words, compare, judge_words
from tianti.privacy import Redactor, bind_policy
from tianti.runtimes import open_package
from tianti.spec import Role, ScoreHead, Tier
from tianti.spec.ladder import LadderSpec
from tianti.store import canonical_json, write_atomic

_EXPLAINED = "explained.json"
_CHARACTERS = 16_000  # of the rows whose words are weighed
_COMPARED = 6_000  # of them, those that two tiers are compared on
_JUDGED = {Tier.DEVICE: 2_000, Tier.EDGE: 1_500, Tier.CLOUD: 1_500}  # of them, those whose words are judged


def run(context: StageContext) -> None:
    """Write explained.json."""
    spec, prepared = context.spec, read_prepared(context.inputs["prepare"])
    rows, left_out = choose_rows(prepared.rows[Role.VALIDATION], redactor_of(spec, context.base))
    texts, labels = {row.text: row.label for row in rows}, prepared.labels
    _, heads = read_certificate(context.inputs["certify"])
    models = [_open(context, tier, heads[tier]) for tier in _run_here(spec) if texts]
    judged = {}
    for done, model in enumerate(models):
        context.progress(done, len(models) + 1, f"judging words, {model.tier}")
        few, device = first(list(texts), _JUDGED[model.tier]), model.tier is Tier.DEVICE
        judged[model.tier] = judge_words(model, few, _open_reference(context, heads[model.tier]) if device else None)
    context.progress(len(models), len(models) + 1, "weighing words")
    two = len(models) > 1
    both = {text: texts[text] for text in first(list(texts), _COMPARED)} if two else {}
    differing, disagreements = compare(models[0], models[-1], both, labels) if two else (0, [])
    explained = Explained(
        rows=len(texts),
        left_out=left_out,
        tiers=judged,
        classes=class_words(models[0], list(texts), labels) if models else [],
        compared=[models[0].tier, models[-1].tier] if two else [],
        both=len(both),
        differing=differing,
        disagreements=disagreements,
    )
    write_atomic(context.out / _EXPLAINED, canonical_json(explained))


def read_explained(folder: Path) -> Explained:
    """What this stage wrote."""
    return msgspec.json.decode((folder / _EXPLAINED).read_bytes(), type=Explained)


def choose_rows(rows: Sequence[Row], redactor: Redactor) -> tuple[list[Row], int]:
    """Rows of all labels in turn, while there is room, and how many were left out: something personal is in them."""
    room, left_out = _CHARACTERS, 0
    chosen = []
    for row in _in_turn(rows):
        if len(row.text) > room or len(cut(row.text)) < 2:
            continue
        if redactor.find(row.text):
            left_out += 1
            continue
        room -= len(row.text)
        chosen.append(row)
    return chosen, left_out


def _in_turn(rows: Sequence[Row]) -> Iterable[Row]:
    """The first row of each label, then the second of each, and so on."""
    seen: dict[str, int] = defaultdict(int)
    turns = []
    for row in rows:
        turns.append(seen[row.label])
        seen[row.label] += 1
    return [rows[at] for at in np.argsort(turns, kind="stable").tolist()]


def first(texts: Sequence[str], characters: int) -> list[str]:
    """The first texts that together have no more characters; one, where there is one, at least."""
    ends = np.cumsum([len(text) for text in texts])
    return list(islice(texts, max(int(np.searchsorted(ends, characters, side="right")), 1)))


def _run_here(spec: LadderSpec) -> list[Tier]:
    """The tiers but a cloud that is called: it is not asked more than it must be."""
    return [tier for tier in spec.tiers if tier is not Tier.CLOUD or spec.cloud.endpoint is None]


def _open(context: StageContext, tier: Tier, head: ScoreHead) -> Model:
    return Model(tier, scorer_of(open_package(read_package(context.inputs[f"package-{tier}"])), head))


def _open_reference(context: StageContext, head: ScoreHead) -> Reference | None:
    """Integrated gradients of the device's student; None where it has no table of tokens to take them of."""
    with needs_extra("train"):
        import torch
    from tokenizers import Tokenizer

    from tianti.pipeline.gradients import Gradients

    find_own(context.spec.student_kind(Tier.DEVICE), context.base)  # to unpickle a student of it
    student = torch.load(context.inputs["distill-device"] / "student.pt", weights_only=False)
    package = read_package(context.inputs["package-device"])
    tokenizer = Tokenizer.from_file(str(package.tokenizer_path))
    try:
        gradients = Gradients(student, tokenizer, package.manifest.max_length, head.temperature)
    except StageError:
        return None

    def attribute(text: str, label: int) -> tuple[Sequence[Word], float]:
        found = gradients.attribute(text, label)
        return found.tokens, abs(found.delta) / max(abs(found.fall), 1e-6)

    return attribute


def explain_stage(spec: LadderSpec) -> Stage:
    """The stage that explains the tiers of a spec."""
    return Stage(
        "explain",
        run,
        needs=("prepare", "distill-device", "certify", *(f"package-{tier}" for tier in _run_here(spec))),
        parts=lambda spec, base: bind_policy(spec.privacy, base),
        rooms=(
            "certificate",
            "explain",
            "privacy",
            "runtimes",
            "package",
            "pipeline/explained.py",
            "pipeline/gradients.py",
            "pipeline/leaving.py",
            "pipeline/weighing.py",
        ),
    )
