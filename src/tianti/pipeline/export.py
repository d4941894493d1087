"""`tianti export`: a release's models for servers of others.

Not here: making models. Invariant: a server is given the very file that the release holds, and the hash to check it by.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from tianti.errors import StageError, UsageError, needs_extra
from tianti.package import ModelPackage, Release
from tianti.spec import Tier
from tianti.store import sha256_file, write_atomic

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
        UsageError: a model is not ONNX, or its folder is there already.
    """
    return [_write_model(package, out / package.manifest.name) for package in _onnx_packages(release, out, tiers)]


def _onnx_packages(release: Release, out: Path, tiers: tuple[Tier, ...]) -> list[ModelPackage]:
    packages = {tier: release.package(tier) for tier in tiers}
    for tier, package in packages.items():
        if package.manifest.engine != "onnx":
            raise UsageError(
                f"the {tier}'s engine is {package.manifest.engine}, expected onnx; name others with --tier"
            )
        if (out / package.manifest.name).exists():
            raise UsageError(f"{out / package.manifest.name} is there already; choose another folder, or remove it")
    return list(packages.values())


def export_saved_models(release: Release, out: Path, tiers: tuple[Tier, ...]) -> list[Path]:
    """Write SavedModels as TF Serving watches them: NAME/1/saved_model.pb, labels and tokenizer in assets.extra.

    Each is run on the package's own self-tests before it is put in its place.

    Returns:
        The folder of each model.

    Raises:
        UsageError: a model is not ONNX, or its folder is there already.
        StageError: an operator has no counterpart, or a self-test gives something else.
        MissingExtraError: TensorFlow is not installed.
    """
    return [_write_saved_model(package, out / package.manifest.name) for package in _onnx_packages(release, out, tiers)]


def _write_saved_model(package: ModelPackage, folder: Path) -> Path:
    from tianti.compression.saved_model import write_saved_model

    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".tmp-") as draft:
        made = Path(draft) / "1"
        write_saved_model(package.model_path, made)
        _check_goldens(package, made)
        write_atomic(made / "assets.extra" / "tokenizer.json", package.tokenizer_path.read_bytes())
        write_atomic(made / "assets.extra" / "labels.txt", "".join(f"{x}\n" for x in package.manifest.labels).encode())
        folder.mkdir()
        made.rename(folder / "1")
    return folder


def _check_goldens(package: ModelPackage, saved_model: Path) -> None:
    with needs_extra("keras"):
        import tensorflow as tf
    from tokenizers import Tokenizer

    serve = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    tokenizer = Tokenizer.from_file(str(package.tokenizer_path))
    tokenizer.enable_truncation(package.manifest.max_length)
    for number, golden in enumerate(package.goldens(), 1):
        ids = tf.constant([tokenizer.encode(golden.text).ids], tf.int64)
        logits = dict(zip(package.manifest.labels, serve(input_ids=ids)["logits"].numpy()[0].tolist(), strict=True))
        off = max(abs(logits[label] - logit) for label, logit in golden.top.items())
        if not off <= golden.tolerance:
            where = f"golden {number} of {package.folder}"
            raise StageError(f"{where}: expected logits within {golden.tolerance}, the SavedModel gives {off:.3f} away")


def _write_model(package: ModelPackage, folder: Path) -> Path:
    manifest = package.manifest
    config = _CONFIG.format(
        package=package.id, digest=sha256_file(package.model_path), name=manifest.name, labels=len(manifest.labels)
    )
    write_atomic(folder / "1" / "model.onnx", package.model_path.read_bytes())
    write_atomic(folder / "tokenizer.json", package.tokenizer_path.read_bytes())
    write_atomic(folder / "labels.txt", "".join(f"{label}\n" for label in manifest.labels).encode())
    write_atomic(folder / "config.pbtxt", config.encode())  # last: without it the server does not see the model
    return folder
