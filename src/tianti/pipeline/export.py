"""`tianti export`: a release's models for servers of others.

Not here: making models. Invariants: a server is given the very file that the release holds, and the hash to check it
by; where one model fails, none is written.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from tianti.errors import UsageError, needs_extra
from tianti.package import MODEL_FILES, ModelPackage, Release, verify_release
from tianti.runtimes.goldens import check_goldens
from tianti.spec import Tier
from tianti.store import write_atomic

# Triton Inference Server's model configuration, docs/user_guide/model_configuration.md of its server repository.
# No batching on the server: int8 activations are scaled over a batch, so an answer would depend on its batch mates.
_CONFIG = """\
# package {package}; model.onnx is sha256 {digest}
name: "{name}"
backend: "onnxruntime"
max_batch_size: 0
input [ {{ name: "input_ids", data_type: TYPE_INT64, dims: [ -1, -1 ] }} ]
output [ {{ name: "logits", data_type: TYPE_FP32, dims: [ -1, {labels} ], label_filename: "labels.txt" }} ]
"""


def export_triton(release: Release, out: Path, tiers: tuple[Tier, ...]) -> list[Path]:
    """Write a model repository of Triton Inference Server: NAME/config.pbtxt, NAME/1/model.onnx, labels and tokenizer.

    A client tokenises with tokenizer.json, cuts at the manifest's `max_length`, and reads the score itself.

    Returns:
        The folder of each model.

    Raises:
        UsageError: a tier has no package, a model is not ONNX, or its folder is there already.
        IntegrityError: the release is not what it says.
    """
    return _write_all(_onnx_packages(release, out, tiers), out, _write_model)


def _onnx_packages(release: Release, out: Path, tiers: tuple[Tier, ...]) -> list[ModelPackage]:
    verify_release(release)
    if missing := ", ".join(tier for tier in tiers if tier not in release.record.packages):
        raise UsageError(f"{release.folder} has no package of {missing}; name others with --tier")
    packages = {tier: release.package(tier) for tier in tiers}
    for tier, package in packages.items():
        if package.manifest.engine != "onnx":
            raise UsageError(
                f"the {tier}'s engine is {package.manifest.engine}, expected onnx; name others with --tier"
            )
        if (out / package.manifest.name).exists():
            raise UsageError(f"{out / package.manifest.name} is there already; choose another folder, or remove it")
    return list(packages.values())


def _write_all(packages: list[ModelPackage], out: Path, write: Callable[[ModelPackage, Path], None]) -> list[Path]:
    """Write every model to a draft, then move all of them to their places."""
    out.mkdir(parents=True, exist_ok=True)
    names = [package.manifest.name for package in packages]
    with TemporaryDirectory(dir=out, prefix=".tmp-") as draft:
        for name, package in zip(names, packages, strict=True):
            write(package, Path(draft) / name)
        return [(Path(draft) / name).rename(out / name) for name in names]


def export_saved_models(release: Release, out: Path, tiers: tuple[Tier, ...]) -> list[Path]:
    """Write SavedModels as TF Serving watches them: NAME/1/saved_model.pb, labels and tokenizer in assets.extra.

    Each is run on the package's own self-tests before it is put in its place.

    Returns:
        The folder of each model.

    Raises:
        UsageError: a tier has no package, a model is not ONNX, or its folder is there already.
        StageError: an operator has no counterpart.
        IntegrityError: the release is not what it says, or a SavedModel fails a self-test.
        MissingExtraError: TensorFlow is not installed.
    """
    return _write_all(_onnx_packages(release, out, tiers), out, _write_saved_model)


def _write_saved_model(package: ModelPackage, folder: Path) -> None:
    from tianti.compression.saved_model import write_saved_model

    made = folder / "1"
    write_saved_model(package.model_path, made)
    check_goldens(package, _runner(package, made), "the SavedModel")
    write_atomic(made / "assets.extra" / "tokenizer.json", package.tokenizer_path.read_bytes())
    write_atomic(made / "assets.extra" / "labels.txt", _label_lines(package))


def _runner(package: ModelPackage, saved_model: Path) -> Callable[[str], NDArray[np.float32]]:
    with needs_extra("keras"):
        import tensorflow as tf
    from tokenizers import Tokenizer

    loaded = tf.saved_model.load(str(saved_model))
    tokenizer = Tokenizer.from_file(str(package.tokenizer_path))
    tokenizer.enable_truncation(package.manifest.max_length)

    def run(text: str) -> NDArray[np.float32]:
        ids = tf.constant([tokenizer.encode(text).ids], tf.int64)
        logits: NDArray[np.float32] = loaded.signatures["serving_default"](input_ids=ids)["logits"].numpy()[0]
        return logits

    return run


def _write_model(package: ModelPackage, folder: Path) -> None:
    manifest = package.manifest
    config = _CONFIG.format(
        package=package.id,
        digest=manifest.files[MODEL_FILES["onnx"]].sha256,
        name=manifest.name,
        labels=len(manifest.labels),
    )
    write_atomic(folder / "1" / "model.onnx", package.model_path.read_bytes())
    write_atomic(folder / "tokenizer.json", package.tokenizer_path.read_bytes())
    write_atomic(folder / "labels.txt", _label_lines(package))
    write_atomic(folder / "config.pbtxt", config.encode())


def _label_lines(package: ModelPackage) -> bytes:
    return "".join(f"{label}\n" for label in package.manifest.labels).encode()
