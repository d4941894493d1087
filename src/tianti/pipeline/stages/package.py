"""Stages `package-*`: a model's file as a ModelPackage that proves itself.

Not here: the file (`compress`), the format (`package/`). Invariants: a package's goldens were made by running the very
file that it holds; whoever gets it reads no personal data in them.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

import tianti
from tianti.data import read_prepared
from tianti.package import Golden, ModelPackage, write_package
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.leaving import without_personal_data
from tianti.pipeline.stages.compress import ARCHITECTURE, ENGINE, FILES, TOKENIZER
from tianti.privacy import bind_policy
from tianti.runtimes import Runtime, open_package
from tianti.spec import Role, Tier
from tianti.spec.ladder import LadderSpec
from tianti.store import sha256_file, sha256_tree

_GOLDENS, _GOLDEN_LABELS = 8, 3


def run_package(tier: Tier, context: StageContext) -> None:
    """Write the package."""
    spec, prepared = context.spec, read_prepared(context.inputs["prepare"])
    source = context.inputs[f"compress-{tier}"]
    architecture = (source / ARCHITECTURE).read_text(encoding="utf-8")
    ran = msgspec.json.decode((source / ENGINE).read_bytes())
    model = source / FILES[ran["engine"]]

    def write(folder: Path, goldens: list[Golden]) -> ModelPackage:
        return write_package(
            folder,
            name=f"{spec.name}-{tier}",
            version=sha256_file(model)[:12],
            task=spec.task,
            labels=prepared.labels,
            max_length=spec.data.max_length,
            model=model,
            engine=ran["engine"],
            tokenizer_json=(source / TOKENIZER).read_text(encoding="utf-8"),
            goldens=goldens,
            card=_card(spec, tier, architecture),
            architecture=architecture,
            lineage={
                "data": sha256_tree(context.inputs["prepare"]),
                "tianti": tianti.__version__,
                "architecture": architecture,
                **({"engines": ran["tried"]} if ran["tried"] else {}),
            },
        )

    with TemporaryDirectory() as draft:
        runtime = open_package(write(Path(draft), []))
        rows = prepared.rows[Role.VALIDATION][:_GOLDENS]
        texts = without_personal_data([row.text for row in rows], spec.privacy, context.base)
        goldens = [make_golden(runtime, text) for text in texts]
    write(context.out, goldens)


def make_golden(runtime: Runtime, text: str) -> Golden:
    """What a package must give for a text, taken from what it gives here."""
    logits = runtime.run(text).logits
    best = np.argsort(-logits)[:_GOLDEN_LABELS]
    top = {runtime.labels[index]: round(float(logits[index]), 4) for index in best}
    return Golden(text=text, label=runtime.labels[best[0]], top=top)


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


def _parts(spec: LadderSpec, base: Path) -> object:
    """All that is read of it."""
    policy = bind_policy(spec.privacy, base)
    return spec.name, spec.task, spec.data.max_length, policy.regions, policy.own


def package_stage(tier: Tier, spec: LadderSpec) -> Stage:
    """The stage that makes a tier's package."""
    return Stage(
        f"package-{tier}",
        partial(run_package, tier),
        needs=("prepare", f"compress-{tier}"),
        parts=_parts,
        rooms=("package", "privacy", "runtimes", "pipeline/leaving.py"),
    )
