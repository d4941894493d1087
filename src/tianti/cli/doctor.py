"""What `tianti doctor` looks at: modules, CPU features, and a self-test that runs a real engine.

Not here: printing. Invariant: what is missing comes with its cure.
"""

import importlib.metadata
import platform
import sys
from pathlib import Path

import msgspec

_EXTRAS = {
    "update": ("tuf", "cryptography", *(() if sys.version_info >= (3, 14) else ("backports.zstd",))),
    "serve": ("httptools", "prometheus_client", "uvicorn"),
    "train": (
        "torch",
        "transformers",
        "accelerate",
        "scikit-learn",
        "onnx",
        "onnx-ir",
        "matplotlib",
        "jinja2",
        "pyarrow",
    ),
    "litert": ("ai-edge-litert",),
    "litert-train": ("litert-torch", "ai-edge-quantizer"),
    "openvino": ("openvino",),
    "keras": ("keras", "tf2onnx"),
    "s3": ("s3fs",),
    "modelscope": ("modelscope",),
}
# an ONNX model of one node, y = -x: so that the engine computes, and needs no file to do it
_NEGATE = (
    b'\x08\x07\x12\x00:7\n\x0b\n\x01x\x12\x01y"\x03Neg\x12\x06negateZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08'
    b"\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
_BASE = ("numpy", "onnxruntime", "tokenizers", "msgspec", "httpx2")
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "i8mm", "bf16")


class Check(msgspec.Struct, frozen=True):
    """One thing looked at; `cure` is what to do when it is not ok."""

    name: str
    ok: bool
    found: str
    cure: str = ""


SELF_TEST = "self-test"


def examine() -> list[Check]:
    """Look at this machine and this installation."""
    return [
        Check("python", sys.version_info >= (3, 11), platform.python_version(), "install Python 3.11 or later"),
        Check("platform", True, f"{platform.system()} {platform.machine()}"),
        *(_installed(module, "pip install tianti") for module in _BASE),
        *(
            _installed(module, f"pip install 'tianti[{extra}]'")
            for extra, modules in _EXTRAS.items()
            for module in modules
        ),
        Check("cpu", True, _cpu_features()),
        _accelerator(),
        _self_test(),
    ]


def _installed(module: str, cure: str) -> Check:
    try:
        return Check(module, True, importlib.metadata.version(module))
    except importlib.metadata.PackageNotFoundError:
        return Check(module, False, "not installed", cure)


def _cpu_features() -> str:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return "features not readable on this system"
    words = set(info.read_text(encoding="utf-8").split())
    return " ".join(feature for feature in _FEATURES if feature in words) or "no vector feature known to matter"


def _accelerator() -> Check:
    try:
        import torch
    except ImportError:
        return Check("accelerator", True, "not looked for: torch is not installed")
    mps = torch.backends.mps.is_available()
    return Check("accelerator", True, "cuda" if torch.cuda.is_available() else "mps" if mps else "none, the CPU trains")


def _self_test() -> Check:
    """Tokenise a word and run a graph of one node: both native libraries load and compute."""
    cure = "pip install --force-reinstall onnxruntime tokenizers"
    try:
        import numpy as np
        import onnxruntime
        from tokenizers import Tokenizer, models

        ids = Tokenizer(models.WordLevel({"a": 0, "b": 7}, unk_token="a")).encode("b").ids  # noqa: S106
        session = onnxruntime.InferenceSession(_NEGATE, providers=["CPUExecutionProvider"])
        got = session.run(None, {"x": np.array(ids, dtype=np.float32)})[0].tolist()
    except Exception as error:  # a broken native library may raise anything; here it is a finding
        return Check(SELF_TEST, False, str(error), cure)
    providers = ", ".join(onnxruntime.get_available_providers())
    return Check(SELF_TEST, got == [-7.0], f"-7 is {got}, by onnxruntime with {providers}", cure)
