"""`tianti import`: make a ModelPackage, and with data a ladder, of a classifier that was trained elsewhere.

Not here: reading formats (`compression.foreign`), the contract of the graph (`compression.adopt`). Invariants: the
package gives the scores of the model that came in, on the texts of `examples`; where anything fails, nothing is
written.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import yaml

import tianti
from tianti.data import Columns, Row, read_table
from tianti.errors import UsageError, needs_extra
from tianti.package import ModelPackage, read_package, write_package
from tianti.pipeline.named import find_function
from tianti.pipeline.readings import run_package
from tianti.pipeline.stages.package import make_golden
from tianti.runtimes import open_package
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
    source: str, out: Path, origin: Origin, data: Path | None = None, text: str = "text", label: str = "label"
) -> Imported:
    """Import a classifier of texts into a new folder `out`: package/, and with data ladder.yaml.

    Args:
        source: a file, a folder, or module:function that builds a torch module.
        out: the folder to make.
        origin: what the files do not say.
        data: labelled rows; the columns are `text` and `label`.

    Raises:
        UsageError: something is missing that has to be said, or the format is refused.
        StageError: the model is damaged, or no classifier of these labels.
        DataError: the rows cannot be read.
    """
    from tianti.compression import Padding, adopt, read_foreign, trace_module
    from tianti.training import find_special

    if out.exists():
        raise UsageError(f"{out} is there already; choose another folder with --out")
    path = Path(source)
    is_function = ":" in source and not path.exists()
    rows = [] if data is None else read_table(str(data), Path(), Columns(text=text, label=label))
    tokenizer = _find_tokenizer(path, origin)
    labels = _find_labels(path, origin)
    content = trace_module(find_function(source, Path()), origin.pad_to) if is_function else read_foreign(path)
    texts = [row.text for row in rows[:_GOLDENS]] or list(_EXAMPLES)
    max_length = origin.pad_to or origin.max_length or _longest(path)
    padding = Padding(find_special(tokenizer).pad, origin.pad_side, origin.pad_to)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    order = sorted(range(len(labels)), key=labels.__getitem__)
    adopted = adopt(content, len(labels), order, padding, [encoding.ids for encoding in tokenizer.encode_batch(texts)])
    max_length = min(max_length, adopted.length or max_length)
    tokenizer.no_truncation()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".tmp-") as draft:
        model = Path(draft) / "model.onnx"
        model.write_bytes(adopted.model.SerializeToString())
        about: dict[str, Any] = {
            "name": out.name,
            "version": sha256_bytes(content)[:12],
            "labels": tuple(labels[place] for place in order),
            "max_length": max_length,
            "model": model,
            "tokenizer_json": tokenizer.to_str(),
            "architecture": "imported",
            "card": _CARD.format(name=out.name, max_length=max_length),
            "lineage": {"source": sha256_bytes(content), "tianti": tianti.__version__},
        }
        runtime = open_package(write_package(Path(draft) / "plain", **about, goldens=[]))
        goldens = [make_golden(runtime, each) for each in texts]
        made = Path(draft) / "made"
        write_package(made / "package", **about, goldens=goldens)
        accuracy = _accuracy(made / "package", rows)
        if data is not None:
            write_atomic(made / "ladder.yaml", _ladder(out, data, text, label, max_length).encode())
        made.rename(out)
    return Imported(
        package=read_package(out / "package"),
        accuracy=accuracy,
        rows=len(rows),
        ladder=None if data is None else out / "ladder.yaml",
    )


def _ladder(out: Path, data: Path, text: str, label: str, max_length: int) -> str:
    try:
        source = Path(os.path.relpath(data, out)).as_posix()
    except ValueError:  # on another drive
        source = str(data.resolve())
    tree = {
        "name": out.name,
        "data": {"train": source, "text": text, "label": label, "max_length": max_length},
        "cloud": {"package": "package"},
        "device": {"size": "1.5 MB"},
    }
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
    content = source.read_text(encoding="utf-8")
    if source.suffix != ".json":
        labels = [line.strip() for line in content.splitlines() if line.strip()]
    else:
        tree = json.loads(content)
        named = tree.get("id2label", tree) if isinstance(tree, dict) else dict(enumerate(tree))
        labels = [str(named[key]) for key in sorted(named, key=int)]
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise UsageError(f"{source}: expected two or more different labels, got {labels[:5]}; name them with --labels")
    return labels


def _longest(path: Path) -> int:
    """How many tokens a text may have where nobody says: 64, or as few as the model has positions."""
    config = path / "config.json"
    positions = json.loads(config.read_bytes()).get("max_position_embeddings") if config.is_file() else None
    return min(_LONGEST, positions or _LONGEST)
