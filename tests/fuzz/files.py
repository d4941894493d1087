"""What a node reads of files that others wrote: releases and their packages, which models to serve, who may ask."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.fuzz.decoder import Decoder
from tests.tiny_release import make_tokenizer_json
from tianti.errors import PackageError, SpecError
from tianti.package import read_package, read_release
from tianti.runtimes.endpoint import EndpointClient
from tianti.serving.catalogue import read_wanted
from tianti.serving.tokens import read_tokens
from tianti.spec import Endpoint, EndpointInput
from tianti.spec.parse import load_spec

HASH = "0" * 64
ENTRY = {"sha256": HASH, "size_bytes": 1}
NAMES = ("config.json", "golden.jsonl", "tokenizer.json", "onnx/model.onnx", "endpoint.json")
MANIFEST = {
    "schema": "tianti.package/1",
    "name": "tiny",
    "version": "1",
    "task": "text-classification",
    "labels": ["lights", "music"],
    "max_length": 8,
    "files": dict.fromkeys(NAMES, ENTRY),
}
CERTIFICATE = {
    "risk": "harm",
    "confidence": 0.95,
    "n": 1000,
    "path": [{"device": 0.5, "edge": 0.5, "harmful": 0, "disagreeing": 0}],
    "levels": [{"alpha": 0.01, "point": 0, "share": {"device": 0.5, "edge": 0.3, "cloud": 0.2}, "rows_needed": None}],
    "out_of_scope_share": 0.1,
    "bound": {"package.cloud": HASH},
}
RELEASE = {
    "schema": "tianti.release/1",
    "name": "tiny",
    "labels": ["lights", "music"],
    "out_of_scope": None,
    "packages": {"cloud": HASH},
    "heads": {"cloud": {"temperature": 1.0}},
    "certificate": CERTIFICATE,
}
MODELS = {"models": {"tiny": {"releases": {"1": "a", "2": "b"}, "labels": {"stable": 1}, "pin": [1, 2]}}}
FOLDER = {"models": {"tiny": {"folder": "releases", "keep": 2}}}
TOKEN = {"name": "somebody", "sha256": HASH, "scopes": ["predict"], "created": "2026-01-01T00:00:00Z", "quota_per_s": 5}
TOKENS = {"schema": 1, "tokens": [TOKEN, {**TOKEN, "expires": "2027-01-01T00:00:00Z"}]}
GOLDEN = {"text": "lamp", "label": "lights", "top": {"lights": 8.0}}
CALLED = {"url": "http://127.0.0.1:9", "protocol": "oip", "model": "big", "version": "1", "inputs": []}
IDS = EndpointInput(name="ids", holds="ids", datatype="INT64")
LADDER = {"name": "demo", "data": {"train": "train.jsonl", "validation": "10%"}, "device": {"size": "1.5 MB"}}
# what YAML's library reads and then stumbles over
YAML = (
    b"a: 2024-01-45",
    b"a: !!int x",
    b"a: !!timestamp x",
    b'a: !!float ""',
    b"a: 0x_",
    b'"\\ud800"',
    b'name: "\\ud800"',
)


def _written(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def _reader(name: str, read: Callable[[Path], Any], **others: bytes) -> Callable[[bytes], Any]:
    """Of a folder in which the file of this name has the bytes; `others`: more files, of JSON."""

    def take(body: bytes) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            for file, content in {**{f"{other}.json": given for other, given in others.items()}, name: body}.items():
                Path(folder, file).write_bytes(content)
            return read(Path(folder))

    return take


def _wanted(folder: Path) -> None:
    for wanted in read_wanted(folder / "models.yaml").values():
        wanted.versions()


def _tokenizer(folder: Path) -> None:
    endpoint = msgspec.convert({**CALLED, "inputs": [IDS]}, Endpoint)
    EndpointClient(endpoint, folder / "tokenizer.json")


_CALLED = _written({**MANIFEST, "format": "endpoint", "engine": "endpoint"})

DECODERS: Mapping[str, Decoder] = {
    "file: models": Decoder(_reader("models.yaml", _wanted), (_written(MODELS), _written(FOLDER), *YAML)),
    "file: tokens": Decoder(_reader("tokens", lambda folder: read_tokens(folder / "tokens")), (_written(TOKENS),)),
    "file: ladder": Decoder(
        _reader("ladder.yaml", lambda folder: load_spec(folder / "ladder.yaml")),
        (_written(LADDER), *YAML),
        (SpecError,),
    ),
    "file: release": Decoder(_reader("release.json", read_release), (_written(RELEASE),), (PackageError,)),
    "file: manifest": Decoder(_reader("manifest.json", read_package), (_written(MANIFEST),), (PackageError,)),
    "file: golden": Decoder(
        _reader("golden.jsonl", lambda folder: read_package(folder).goldens(), manifest=_written(MANIFEST)),
        (_written(GOLDEN) + b"\n" + _written(GOLDEN),),
        (PackageError,),
    ),
    "file: endpoint": Decoder(
        _reader("endpoint.json", lambda folder: read_package(folder).endpoint(), manifest=_CALLED),
        (_written(CALLED),),
        (PackageError,),
    ),
    "file: tokenizer": Decoder(
        _reader("tokenizer.json", _tokenizer), (make_tokenizer_json({"[PAD]": 0, "lamp": 1}).encode(),), (PackageError,)
    ),
}
