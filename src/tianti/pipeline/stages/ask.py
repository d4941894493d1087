"""Stages `ask`, `label` and `package-cloud` of a cloud that is only called: what it says, and how it is reached.

Rows with labels of their own: calibration and test rows are asked. Rows without: all are, `cloud.calls` of them at
most, and the answers are their labels.
Not here: asking (`asking`), protocols (`runtimes.endpoint`), what leaves of a row (`leaving`).
Invariants: what certifies is what the very endpoint said that the release names; it is told what leaves, no more.
"""

import asyncio
import difflib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

import tianti
from tianti.data import Prepared, Row, keep_answered, label_rows, read_prepared, text_key, write_prepared
from tianti.errors import DataError, SpecError
from tianti.package import Golden, write_package
from tianti.pipeline.asking import Asked, answer_store, ask_all
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.leaving import Leavings, leave, redactor_of
from tianti.pipeline.profiling import Costs
from tianti.pipeline.readings import Outputs, Told, run_package, truth_of
from tianti.privacy import NOT_SEARCHED, Leaving, bind_policy
from tianti.runtimes.endpoint import EndpointClient
from tianti.spec import Endpoint, Role, Tier
from tianti.spec.ladder import SCRATCH, LadderSpec
from tianti.store import canonical_json, sha256_file, sha256_tree, write_atomic

_ENDPOINT, _ANSWERS = "endpoint.json", "answers.json"
_MEASURED = (Role.TUNING, Role.CERTIFY, Role.TEST)
_GOLDENS = 8


def run_ask(context: StageContext) -> None:
    """Write the endpoint as it was found, and what it says of what leaves of each row, by the row's text key."""
    from tianti.training import find_base

    spec, prepared = context.spec, read_prepared(context.inputs["prepare"])
    if spec.cloud.base != SCRATCH:
        find_base(spec.cloud.base, context.base)  # a mistake in it is to be found before calls are paid for
    sent = _sent(spec, prepared, context)
    texts = _choose_texts(spec, sent)
    tokenizer = _tokenizer(spec, context.base)
    endpoint = asyncio.run(_discover(_asked_endpoint(spec, context.base), tokenizer, texts[0]))
    store = answer_store(context.base, endpoint, tokenizer)
    found = ask_all(EndpointClient(endpoint, tokenizer), texts, store, context.progress)
    said = {text_key(text): asked for text, asked in found.items() if asked is not None}
    pairs = ((raw, said.get(text_key(text))) for rows in sent.values() for raw, text in rows)
    answers = {key: asked for key, asked in pairs if asked is not None}
    if spec.data.label is not None:
        _check_sense(prepared, answers)
    write_atomic(context.out / _ANSWERS, canonical_json(answers))
    write_atomic(context.out / _ENDPOINT, canonical_json(endpoint))


def _check_sense(prepared: Prepared, answers: Mapping[str, Asked]) -> None:
    """A cloud that is seldom right harms nothing below it, so a certificate would say nothing: a mistake, most likely.

    Looks at tuning rows only.

    Raises:
        SpecError: its labels are others than the rows', or it would be right twice as often if they were renamed.
    """
    rows = [row for row in prepared.rows[Role.TUNING] if text_key(row.text) in answers]
    said = [answers[text_key(row.text)].said.label for row in rows]
    known = {*prepared.labels, prepared.out_of_scope}
    strange = Counter(label for label in said if label not in known)
    if 2 * strange.total() > len(rows):
        shown = ", ".join(repr(label) for label, _ in strange.most_common(3))
        near = difflib.get_close_matches(strange.most_common(1)[0][0], prepared.labels, n=1)
        cure = f"did you mean {near[0]!r}? N" if near else "n"
        raise SpecError(
            f"cloud.endpoint: expected labels of the rows, got {shown}; {cure}ame them alike, as cloud.labels"
        )
    right = sum(label == row.label for label, row in zip(said, rows, strict=True))
    meant: dict[str, Counter[str]] = defaultdict(Counter)
    for label, row in zip(said, rows, strict=True):
        meant[label][row.label] += 1
    renamed = sum(max(truths.values()) for truths in meant.values())
    if 2 * right < renamed:
        seldom = f"right on {right:,} of {len(rows):,} rows, and with its labels renamed on {renamed:,}"
        raise SpecError(f"cloud.endpoint: {seldom}; is the order of cloud.labels that of the outputs?")


async def _discover(endpoint: Endpoint, tokenizer: Path | None, example: str) -> Endpoint:
    client = EndpointClient(endpoint, tokenizer)
    try:
        return await client.discover(example)
    finally:
        await client.aclose()


def _asked_endpoint(spec: LadderSpec, base: Path) -> Endpoint:
    """What the spec says of the endpoint; the rest is found out."""
    cloud = spec.cloud
    assert cloud.endpoint is not None
    labels = [] if cloud.labels is None else _read_labels(base / cloud.labels)
    return Endpoint(
        url=cloud.endpoint,
        protocol=cloud.protocol or "oip",
        model=cloud.model or "",
        version=cloud.version,
        key_env=cloud.key_env,
        inputs=(),
        labels=tuple(labels),
        max_length=spec.data.max_length,
    )


def _read_labels(path: Path) -> list[str]:
    try:
        labels = [line.strip() for line in path.read_text(encoding="utf-8-sig").strip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cloud.labels: {path} cannot be read as UTF-8 text: {error}") from error
    if "" in labels or len(set(labels)) < len(labels):
        wrong = next(label for label in labels if not label or labels.count(label) > 1)
        raise SpecError(
            f"cloud.labels: expected a different label in each line of {path}, got {wrong!r} again or blank"
        )
    return labels


def _tokenizer(spec: LadderSpec, base: Path) -> Path | None:
    return None if spec.cloud.tokenizer is None else base / spec.cloud.tokenizer


def _sent(spec: LadderSpec, prepared: Prepared, context: StageContext) -> dict[Role, list[tuple[str, str]]]:
    """The text key of each row that the cloud is asked about, and what leaves of it.

    Rows that cannot be searched are left out, like those that the cloud refuses.
    """
    redactor = redactor_of(spec, context.base)
    roles = tuple(prepared.rows) if spec.data.label is None else _asked_roles(spec)
    left = {role: leave(redactor, [row.text for row in prepared.rows[role]], context.progress) for role in roles}
    return {
        role: [
            (text_key(raw), leaving.text)
            for raw, leaving in zip(leavings.raw, leavings.rows, strict=True)
            if leaving is not NOT_SEARCHED
        ]
        for role, leavings in left.items()
    }


def _choose_texts(spec: LadderSpec, sent: Mapping[Role, Sequence[tuple[str, str]]]) -> list[str]:
    """The texts to ask of; of rows without labels, as many of each role as the calls are for.

    One call goes to finding out what the server takes and says.
    """
    calls = np.inf if spec.cloud.calls is None else spec.cloud.calls - 1
    if spec.data.label is not None:
        texts = list(_once([text for rows in sent.values() for _, text in rows]).values())
        if len(texts) > calls:
            got, cure = f"got {spec.cloud.calls:,}", "allow more, or lower data.calibration and data.test"
            raise SpecError(
                f"cloud.calls: expected {len(texts) + 1:,} or more for calibration and test rows, {got}; {cure}"
            )
        return _some(texts)
    every = [sorted(_once([text for _, text in rows]).items()) for rows in sent.values()]
    share = min(calls / sum(map(len, every)), 1.0)
    return _some([text for texts in every for _, text in texts[: int(len(texts) * share)]])


def _some(texts: list[str]) -> list[str]:
    if not texts:
        raise SpecError("cloud.calls: expected enough to ask about rows, got too few; allow more")
    return texts


def _asked_roles(spec: LadderSpec) -> tuple[Role, ...]:
    """Of rows with labels of their own: those that measure, and those that a search chooses on."""
    return (*_MEASURED, Role.VALIDATION) if spec.search is not None else _MEASURED


def _once(texts: Sequence[str]) -> dict[str, str]:
    """Each text once, by its text key: one with two labels, or that leaves as another does, is asked once."""
    return {text_key(text): text for text in texts}


def run_label(context: StageContext) -> None:
    """Write the prepared rows with the cloud's labels where they have none, and without what it refused."""
    answers, prepared = read_answers(context.inputs["ask"]), read_prepared(context.inputs["prepare"])
    if context.spec.data.label is None:
        known = label_rows(prepared, {key: asked.said.label for key, asked in answers.items()})
    else:
        known = keep_answered(prepared, answers, _asked_roles(context.spec))
    write_prepared(known, context.out)


def _shown(leaving: Leaving) -> str | None:
    """What a package may show to everybody; None: something readable is in it, which may leave to the cloud alone."""
    return leaving.text if sum(leaving.found.values()) == leaving.replaced else None


def run_package_cloud(context: StageContext) -> None:
    """Write a package that holds no model: how the endpoint is asked, and what it must say."""
    spec, source = context.spec, context.inputs["ask"]
    prepared, answers = read_prepared(context.inputs["prepare"]), read_answers(source)
    endpoint = msgspec.json.decode((source / _ENDPOINT).read_bytes(), type=Endpoint)
    tokenizer = _tokenizer(spec, context.base)
    redactor = redactor_of(spec, context.base)
    answered = ((row.text, answers.get(text_key(row.text))) for row in prepared.rows[Role.TUNING])
    keyed = ((_shown(redactor.leaving(text)), asked) for text, asked in answered if asked is not None)
    goldens = [
        Golden(text=text, label=asked.said.label, top={asked.said.label: round(asked.said.score, 4)})
        for text, asked in islice(
            ((text, asked) for text, asked in keyed if text is not None and asked is not None), _GOLDENS
        )
    ]
    write_package(
        context.out,
        name=f"{spec.name}-{Tier.CLOUD}",
        version=endpoint.version or "unversioned",
        labels=prepared.labels,
        max_length=endpoint.max_length,
        model=source / _ENDPOINT,
        tokenizer_json=None if tokenizer is None else tokenizer.read_text(encoding="utf-8"),
        goldens=goldens,
        card=_CARD.format(name=spec.name, model=endpoint.declared),
        architecture=f"called: {endpoint.declared}",
        lineage={"data": sha256_tree(context.inputs["prepare"]), "tianti": tianti.__version__},
        engine="endpoint",
    )


_CARD = """\
---
library_name: tianti
---
# {name}, cloud

This package holds no model. endpoint.json says how {model} is asked, which stays on its server and is known by the name
and version that the server declares, not by a hash.
"""


def read_answers(folder: Path) -> dict[str, Asked]:
    """What `ask` wrote: answers to what leaves of each row, by the row's text key."""
    return msgspec.json.decode((folder / _ANSWERS).read_bytes(), type=dict[str, Asked])


def run_tier(
    context: StageContext, tier: Tier, prepared: Prepared, rows: Sequence[Row], left: Leavings
) -> Outputs | Told:
    """What a tier says of rows: its package is run, or the endpoint's answers are looked up.

    The device sees the rows, the tiers above it what `left` of them.
    """
    if tier is Tier.CLOUD and context.spec.cloud.endpoint is not None:
        return tell(read_answers(context.inputs["ask"]), rows, prepared.labels, prepared.out_of_scope)
    texts = left.raw if tier is Tier.DEVICE else left.texts
    return run_package(context.inputs[f"package-{tier}"], texts, context.progress)


def tell(answers: Mapping[str, Asked], rows: Sequence[Row], labels: tuple[str, ...], out_of_scope: str | None) -> Told:
    """The endpoint's answers to rows; a label that the ladder does not know is one that no other tier gives.

    Raises:
        DataError: a row was not answered.
    """
    try:
        given = [answers[text_key(row.text)].said for row in rows]
    except KeyError:
        raise DataError(
            "expected an answer of the cloud to every row; it refused one, or a stage of yours changed it"
        ) from None
    index = truth_of([Row("", said.label) for said in given], labels, out_of_scope)
    return Told(index, np.array([said.score for said in given]))


def endpoint_costs(context: StageContext) -> Costs:
    """What calls took while the rows were asked."""
    took = [asked.ms for asked in read_answers(context.inputs["ask"]).values()]
    p50, p99 = np.percentile(took, [50, 99])
    size = sum(file.stat().st_size for file in context.inputs[f"package-{Tier.CLOUD}"].rglob("*") if file.is_file())
    return Costs(
        size_bytes=size,
        download_bytes=None,
        memory_bytes=None,
        latency_ms={"p50": float(p50), "p99": float(p99)},
        machine="its server, several calls at a time",
    )


def asked(spec: LadderSpec) -> tuple[str, ...]:
    """What a stage needs beside the packages to know what every tier says."""
    return () if spec.cloud.endpoint is None else ("ask",)


def _ask_parts(spec: LadderSpec, base: Path) -> object:
    files = (spec.cloud.tokenizer, spec.cloud.labels)
    digests = [sha256_file(base / name) if name is not None and (base / name).is_file() else name for name in files]
    cloud = spec.cloud
    named = [cloud.endpoint, cloud.protocol, cloud.model, cloud.version, cloud.key_env, cloud.calls, cloud.base]
    policy = bind_policy(spec.privacy, base)
    return named, spec.data.max_length, spec.data.label, spec.search is not None, digests, policy


ASK = Stage(
    "ask",
    run_ask,
    needs=("prepare",),
    parts=_ask_parts,
    rooms=("protocols", "runtimes", "privacy", "pipeline/asking.py", "pipeline/leaving.py"),
)
LABEL = Stage(
    "label",
    run_label,
    needs=("prepare", "ask"),
    parts=lambda spec, base: (spec.data.label, spec.search is not None),
    rooms=("data",),
    replaces="prepare",
    by_content=True,  # another policy may be other answers, and the same rows: nothing is trained again then
)
PACKAGE_CLOUD = Stage(
    "package-cloud",
    run_package_cloud,
    needs=("prepare", "ask"),
    parts=lambda spec, base: (spec.name, spec.cloud.tokenizer, bind_policy(spec.privacy, base)),
    rooms=("package", "privacy"),
)
