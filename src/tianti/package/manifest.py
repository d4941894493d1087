"""ModelPackage: one model ready to run, laid out as a Hugging Face model repository plus a manifest.

    config.json  tokenizer.json  onnx/model.onnx | litert/model.tflite  README.md  manifest.json  golden.jsonl

A model that is only called has endpoint.json in the model's place, and a tokenizer only where it takes tokens.
Not here: running it (`runtimes`). Invariants: manifest.json names every other file with its SHA-256 and size; the
package's id is the SHA-256 of manifest.json; nothing that is not named is read. The format's page: FORMAT.md.
"""

import shutil
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from tianti.errors import IntegrityError, PackageError
from tianti.spec import Endpoint
from tianti.store import canonical_json, sha256_bytes, sha256_file, write_atomic

SCHEMA = "tianti.package/1"
MODEL_FILES = {"onnx": "onnx/model.onnx", "litert": "litert/model.tflite", "endpoint": "endpoint.json"}
GOLDEN_TOLERANCE = 0.05
Format = Literal["onnx", "litert", "endpoint"]
Engine = Literal["onnx", "litert", "openvino", "openvino-bf16", "endpoint"]
"""What runs a package: ONNX Runtime, LiteRT, OpenVINO in float32 or bfloat16; or a server that is only called."""
# a name becomes a folder where a package is exported; ladder.yaml's own names, with a tier behind them, fit
Name = Annotated[str, msgspec.Meta(pattern=r"^(?=.*\w)[\w.-]{1,120}\Z")]
T = TypeVar("T")
_REQUIRED = {"config.json", "golden.jsonl"}


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a package."""

    sha256: str
    size_bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a package is: `labels` in the order of the model's outputs; `max_length` in tokens, special ones included.

    `format` is what the model file is; `engine` runs it: the one that the certificate was made with.
    `lineage` says what it was made from: the data's hash, the version of the code.
    """

    schema: str = SCHEMA
    name: Name
    version: str
    task: str
    format: Format = "onnx"
    engine: Engine = "onnx"
    platform: str = "any"
    labels: tuple[str, ...]
    max_length: int
    files: dict[str, FileEntry]
    lineage: dict[str, str] = {}

    @property
    def size_bytes(self) -> int:
        """Bytes that a device installs, uncompressed, the manifest itself included."""
        return sum(entry.size_bytes for entry in self.files.values()) + len(canonical_json(self))


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """One self-test: this text must give these logits within `tolerance`, and this label."""

    text: str
    label: str
    top: dict[str, float]
    tolerance: float = GOLDEN_TOLERANCE


class ModelPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package on disk whose manifest has been read; `id` is the SHA-256 of its manifest."""

    folder: Path
    manifest: Manifest
    id: str

    @property
    def model_path(self) -> Path:
        """The model file."""
        return self.folder / MODEL_FILES[self.manifest.format]

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer; it holds all that changes the model's input."""
        return self.folder / "tokenizer.json"

    def endpoint(self) -> Endpoint | None:
        """The server that holds the model; None where the package holds it itself.

        Raises:
            PackageError: what is said of it cannot be read.
        """
        if self.manifest.format != "endpoint":
            return None
        try:
            return decode_record(self.model_path.read_bytes(), Endpoint, self.model_path)
        except OSError as error:
            raise PackageError(f"{self.model_path} cannot be read: {error}; fetch the package again") from error

    def goldens(self) -> list[Golden]:
        """The self-tests that travel with the package.

        Raises:
            PackageError: one cannot be read.
        """
        path = self.folder / "golden.jsonl"
        return [decode_record(line, Golden, path) for line in path.read_bytes().splitlines() if line.strip()]


def write_package(
    folder: Path,
    *,
    name: str,
    version: str,
    labels: tuple[str, ...],
    max_length: int,
    model: Path,
    tokenizer_json: str | None,
    goldens: list[Golden],
    card: str,
    architecture: str,
    lineage: dict[str, str],
    task: str = "text-classification",
    engine: Engine = "onnx",
) -> ModelPackage:
    """Lay out a package in an empty folder and write its manifest last."""
    form: Format = "onnx" if engine == "openvino" or engine == "openvino-bf16" else engine
    model_file = MODEL_FILES[form]
    (folder / model_file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model, folder / model_file)
    config: dict[str, Any] = {
        "architectures": [architecture],
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "max_position_embeddings": max_length,
    }
    texts = {
        "config.json": canonical_json(config),
        **({} if tokenizer_json is None else {"tokenizer.json": tokenizer_json.encode()}),
        "golden.jsonl": b"".join(canonical_json(golden) + b"\n" for golden in goldens),
        "README.md": card.encode(),
    }
    for file, content in texts.items():
        write_atomic(folder / file, content)
    paths = {file: folder / file for file in (model_file, *texts)}
    files = {file: FileEntry(sha256_file(path), path.stat().st_size) for file, path in paths.items()}
    manifest = Manifest(
        name=name,
        version=version,
        task=task,
        format=form,
        engine=engine,
        labels=labels,
        max_length=max_length,
        files=files,
        lineage=lineage,
    )
    write_atomic(folder / "manifest.json", canonical_json(manifest))
    return read_package(folder)


def read_package(folder: Path) -> ModelPackage:
    """Read a package's manifest; files are not hashed (see `verify_package`).

    Raises:
        PackageError: there is no manifest, or it is malformed, of another schema, lacks a file, or names a path outside
            the folder.
    """
    try:
        content = (folder / "manifest.json").read_bytes()
    except OSError:
        raise PackageError(f"{folder} is not a model package: it has no manifest.json") from None
    manifest = decode_record(content, Manifest, folder / "manifest.json")
    if manifest.schema != SCHEMA:
        raise PackageError(f"{folder}: expected schema {SCHEMA}, got {manifest.schema!r}; update tianti")
    tokenizer = set() if manifest.format == "endpoint" else {"tokenizer.json"}
    if lacking := {*_REQUIRED, *tokenizer, MODEL_FILES[manifest.format]} - set(manifest.files):
        raise PackageError(
            f"{folder}: the manifest does not name {', '.join(sorted(lacking))}; fetch the package again"
        )
    for file in manifest.files:
        if leaves_folder(file):
            raise PackageError(f"{folder}: the manifest names {file!r}, which is outside the package")
    return ModelPackage(folder=folder, manifest=manifest, id=sha256_bytes(content))


def leaves_folder(file: str) -> bool:
    """Whether a path that a record names would leave the folder that it is below, on any system."""
    path = PurePosixPath(file)
    return path.is_absolute() or ".." in path.parts or bool(set(file) & {"\\", ":"})


def decode_record(content: bytes, kind: type[T], path: Path) -> T:
    """The record in what a file holds; `path` is for messages.

    Raises:
        PackageError: it is malformed.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PackageError(f"{path} is malformed: {error}; fetch the package again") from error


def verify_package(package: ModelPackage) -> None:
    """Check every file against the manifest.

    Raises:
        IntegrityError: a file is missing, has another size, or other bytes.
    """
    for file, entry in package.manifest.files.items():
        path = package.folder / file
        found = path.stat().st_size if path.is_file() else None
        if found != entry.size_bytes:
            raise IntegrityError(f"{path}: expected {entry.size_bytes} bytes, got {found}; fetch the package again")
        if (digest := sha256_file(path)) != entry.sha256:
            raise IntegrityError(f"{path}: expected sha256 {entry.sha256}, got {digest}; fetch the package again")
