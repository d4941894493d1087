"""What `tianti doctor` looks at: modules, CPU features, and a self-test that runs a real engine.

Not here: printing. Invariant: what is missing comes with its cure.
"""

import importlib.metadata
import platform
import sys
from pathlib import Path

import msgspec

_EXTRAS = {
    "serve": ("starlette", "uvicorn"),
    "train": ("torch", "transformers", "accelerate", "scikit-learn", "onnx", "matplotlib", "jinja2", "pyarrow"),
}
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "i8mm", "bf16")


class Check(msgspec.Struct, frozen=True):
    """One thing looked at; `cure` is what to do when it is not ok."""

    name: str
    ok: bool
    found: str
    cure: str = ""


def examine() -> list[Check]:
    """Look at this machine and this installation."""
    return [
        Check("python", sys.version_info >= (3, 11), platform.python_version(), "install Python 3.11 or later"),
        Check("platform", True, f"{platform.system()} {platform.machine()}"),
        *(_installed(module, extra) for extra, modules in _EXTRAS.items() for module in modules),
        Check("cpu", True, _cpu_features()),
        _accelerator(),
        _self_test(),
    ]


def _installed(module: str, extra: str) -> Check:
    try:
        return Check(module, True, importlib.metadata.version(module))
    except importlib.metadata.PackageNotFoundError:
        return Check(module, False, "not installed", f"pip install 'tianti[{extra}]'")


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
    """Tokenise and run a two-node graph: proves that both native libraries load and compute."""
    try:
        import numpy as np
        import onnxruntime
        from tokenizers import Tokenizer, models

        ids = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")).encode("b").ids  # noqa: S106
        providers = ", ".join(onnxruntime.get_available_providers())
        correct = ids == [1] and float(np.dot([3.0], [2.0])) == 6.0
    except Exception as error:  # a broken native library may raise anything; here it is a finding
        return Check("self-test", False, str(error), "pip install --force-reinstall onnxruntime tokenizers")
    return Check("self-test", correct, f"onnxruntime with {providers}", "pip install --force-reinstall tokenizers")
