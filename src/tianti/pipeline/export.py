"""`tianti export`: a release's models for servers of others.

Not here: making models. Invariant: a server is given the very file that the release holds, and the hash to check it by.
"""

from pathlib import Path

from tianti.errors import UsageError
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
    packages = {tier: release.package(tier) for tier in tiers}
    for tier, package in packages.items():
        if package.manifest.engine != "onnx":
            raise UsageError(
                f"the {tier}'s engine is {package.manifest.engine}; Triton is given onnx: name other tiers"
            )
        if (out / package.manifest.name).exists():
            raise UsageError(f"{out / package.manifest.name} is there already; choose another folder, or remove it")
    return [_write_model(package, out / package.manifest.name) for package in packages.values()]


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
