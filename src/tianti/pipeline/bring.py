"""`tianti import`: make a ModelPackage, and with data a ladder, of a classifier that was trained elsewhere.

Not here: reading formats (`compression.foreign`), the contract of the graph (`compression.adopt`). Invariants: the
package gives the scores of the model that came in, on examples; where anything fails, nothing is written.
"""

import json
import os
import re
import tempfile
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import yaml

import tianti
from tianti.data import Columns, Row, read_table
from tianti.errors import DataError, UsageError, needs_extra
from tianti.package import ModelPackage, read_package, write_package
from tianti.pipeline.leaving import without_personal_data
from tianti.pipeline.readings import run_package
from tianti.pipeline.stages.package import make_golden
from tianti.runtimes import open_package
from tianti.spec.named import find_function
from tianti.store import sha256_bytes, write_atomic

with needs_extra("train"):
    from tokenizers import Tokenizer

_HEADER = """\
# The cloud is the model that was imported; edge and device are distilled from it. Every key: docs/en/ladder.md
# Rows that the model was trained on must not certify or test it: name others as data.calibration and data.test.
"""
_EXAMPLES = ("ok", "Where is my parcel? It should have been here on Monday.", "我的包裹在哪里？", "refund")
_GOLDENS = 8
_LONGEST = 64
_SHOWN_LABELS = 5
_CARD = """\
---
pipeline_tag: text-classification
library_name: tianti
---
# {name}

A classifier that was trained elsewhere, imported by `tianti import`. Input: `input_ids` int64 [batch, tokens] of
tokenizer.json, at most {max_length} tokens. Output: `logits`. golden.jsonl holds texts and what they must give.
"""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's own files do not say. None: look beside it, or take the usual."""

    tokenizer: Path | None = None
    labels: Path | None = None
    max_length: int | None = None
    pad_to: int | None = None
    pad_side: Literal["left", "right"] = "right"


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `accuracy` is on the rows of the data, None without any."""

    package: ModelPackage
    accuracy: float | None
    rows: int
    ladder: Path | None


def import_model(
    source: str,
    out: Path,
    origin: Origin,
    data: Path | None = None,
    text: str = "text",
    label: str = "label",
    encoding: str | None = None,
) -> Imported:
    """Import a classifier of texts into a new folder `out`: package/, and with data ladder.yaml.

    Args:
        source: a file, a folder, or module:function that builds a torch module.
        out: the folder to make.
        origin: what the files do not say.
        data: labelled rows; the columns are `text` and `label`.
        text: the column of texts.
        label: the column of labels.
        encoding: of the data; None means UTF-8.

    Raises:
        UsageError: something is missing that has to be said, or the format is refused.
        StageError: the model is damaged, or no classifier of these labels.
        DataError: the rows cannot be read, or their labels are not the model's.
    """
    from tianti.compression import Padding, adopt, read_foreign, trace_module
    from tianti.training import find_special

    if out.exists():
        raise UsageError(f"{out} is there already; choose another folder with --out")
    path = Path(source)
    is_function = ":" in source and not path.exists()
    tokenizer = _find_tokenizer(path, origin)
    labels = _find_labels(path, origin)
    rows = [] if data is None else _read_rows(data, Columns(text=text, label=label), encoding, labels)
    padding = Padding(find_special(tokenizer).pad, origin.pad_side, origin.pad_to)
    build = find_function(source, Path()) if is_function else None
    foreign = read_foreign(path, padding.id) if build is None else trace_module(build, origin.pad_to)
    texts = without_personal_data([row.text for row in rows[:_GOLDENS]]) or list(_EXAMPLES)
    max_length = origin.pad_to or origin.max_length or _longest(path)
    order = sorted(range(len(labels)), key=labels.__getitem__)
    adopted = adopt(foreign, len(labels), order, padding, _example_ids(tokenizer, texts, max_length))
    max_length = min(max_length, adopted.length or max_length)
    name = re.sub(r"[^\w.-]+", "-", out.name).strip(".-")[:100] or "imported"  # as ladder.yaml allows
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".tmp-") as draft:
        model = Path(draft) / "model.onnx"
        model.write_bytes(adopted.model.SerializeToString())
        about: dict[str, Any] = {
            "name": name,
            "version": sha256_bytes(foreign.content)[:12],
            "labels": tuple(labels[place] for place in order),
            "max_length": max_length,
            "model": model,
            "tokenizer_json": tokenizer.to_str(),
            "architecture": "imported",
            "card": _CARD.format(name=name, max_length=max_length),
            "lineage": {"source": sha256_bytes(foreign.content), "tianti": tianti.__version__},
        }
        runtime = open_package(write_package(Path(draft) / "plain", **about, goldens=[]))
        goldens = [make_golden(runtime, each) for each in texts]
        made = Path(draft) / "made"
        write_package(made / "package", **about, goldens=goldens)
        accuracy = _accuracy(made / "package", rows)
        if data is not None:
            said = {"text": text, "label": label, **({"encoding": encoding} if encoding else {})}
            ladder = _ladder(name, {"train": _path_from(out, data), **said, "max_length": max_length})
            write_atomic(made / "ladder.yaml", ladder.encode())
        made.rename(out)
    return Imported(
        package=read_package(out / "package"),
        accuracy=accuracy,
        rows=len(rows),
        ladder=None if data is None else out / "ladder.yaml",
    )


def _read_rows(data: Path, columns: Columns, encoding: str | None, labels: list[str]) -> list[Row]:
    """The rows that a run would keep; their labels are the model's, all of them, since a run asks for that."""
    rows = read_table(str(data), Path(), columns, encoding)
    rows = [row for row in rows if row.text.strip() and row.label]
    found, known = {row.label for row in rows}, set(labels)
    for side, wrong, cure in (
        ("the data alone have", found - known, "name them as the data do with --labels, or leave those rows out"),
        ("the model alone has", known - found, "add rows of them, or leave --data out"),
    ):
        if wrong:
            shown = ", ".join(map(repr, sorted(wrong)[:_SHOWN_LABELS])) + (", …" if len(wrong) > _SHOWN_LABELS else "")
            raise DataError(f"{data}: expected the model's labels, got {len(wrong)} that {side}: {shown}; {cure}")
    return rows


def _example_ids(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[list[int]]:
    """Of each text, and of one that is as long as any in service."""
    tokenizer.enable_truncation(max_length)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    tokenizer.no_truncation()
    return [*ids, list(islice(cycle(chain.from_iterable(ids)), max_length))]


def _path_from(out: Path, data: Path) -> str:
    try:
        return Path(os.path.relpath(data, out)).as_posix()
    except ValueError:  # on another drive
        return str(data.resolve())


def _ladder(name: str, data: dict[str, str | int]) -> str:
    tree = {"name": name, "data": data, "cloud": {"package": "package"}, "device": {"size": "1.5 MB"}}
    return _HEADER + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _accuracy(folder: Path, rows: list[Row]) -> float | None:
    if not rows:
        return None
    labels = read_package(folder).manifest.labels
    best = run_package(folder, [row.text for row in rows]).logits.argmax(axis=1)
    return float(np.mean([labels[index] == row.label for index, row in zip(best, rows, strict=True)]))


def _find_tokenizer(path: Path, origin: Origin) -> Tokenizer:
    beside = path if path.is_dir() else path.parent
    found = origin.tokenizer or beside / "tokenizer.json"
    found = found / "tokenizer.json" if found.is_dir() else found
    if not found.is_file():
        cure = "name one with --tokenizer: a tokenizer.json of the tokenizers library"
        raise UsageError(f"no tokenizer: expected {found}; {cure}")
    try:
        return Tokenizer.from_file(str(found))
    except Exception as error:  # the library raises bare exceptions
        raise UsageError(f"{found} is no tokenizer.json that can be read: {error}") from error


def _find_labels(path: Path, origin: Origin) -> list[str]:
    """The labels in the order of the outputs."""
    source = origin.labels or path / "config.json"
    if not source.is_file():
        raise UsageError("no labels: name a file with --labels, one a line in the order of the model's outputs")
    try:
        labels = _read_labels(source, origin.labels is None)
    except (ValueError, TypeError) as error:  # other bytes than UTF-8, broken JSON, keys that are no numbers
        cure = 'write one a line in the order of the outputs, or JSON: a list, or {"0": "…", "1": "…"}; as UTF-8'
        raise UsageError(f"{source}: expected labels, got: {error}; {cure}; and name the file with --labels") from error
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise UsageError(f"{source}: expected two or more different labels, got {labels[:5]}; name them with --labels")
    return labels


def _read_labels(source: Path, is_config: bool) -> list[str]:
    content = source.read_text(encoding="utf-8-sig")
    if source.suffix != ".json":
        return [line.strip() for line in content.splitlines() if line.strip()]
    tree = json.loads(content)
    if not isinstance(tree, dict):
        return [str(label) for label in tree]
    named = tree.get("id2label", {} if is_config else tree)  # transformers leaves its own two labels out
    return [str(named[key]) for key in sorted(named, key=int)]


def _longest(path: Path) -> int:
    """How many tokens a text may have where nobody says: 64, or as few as the model has positions."""
    config = path / "config.json"
    positions = json.loads(config.read_bytes()).get("max_position_embeddings") if config.is_file() else None
    return min(_LONGEST, positions or _LONGEST)
