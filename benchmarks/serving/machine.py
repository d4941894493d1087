"""What a run was made on: the processor, and the versions of what takes part."""

import importlib.metadata
import platform
from pathlib import Path

from benchmarks.serving.process import CORES, LOAD_CORE, SERVER_CORE

_OURS = ("tianti", "msgspec", "numpy", "onnxruntime", "tokenizers", "uvloop", "httptools", "uvicorn", "starlette")
PACKAGES = {
    "fastapi": ("fastapi", "uvicorn", "uvloop", "httptools"),
    "litserve": ("litserve",),
    "bentoml": ("bentoml",),
    "mlserver": ("mlserver",),
    "pytriton": ("nvidia-pytriton",),
    "ray": ("ray",),
}


def describe(peers: Path) -> str:
    """A few lines."""
    lines = [
        f"{_cpu('model name')}, {len(CORES)} cores; Linux {platform.release()}, Python {platform.python_version()}",
        f"server on core {SERVER_CORE}, load generator on core {LOAD_CORE}; a thread for the engine and none beside it",
        f"ours: {_versions(_OURS, None)}",
        *(f"{name}: {_versions(packages, peers / name)}" for name, packages in PACKAGES.items()),
    ]
    return "\n".join(lines)


def bf16_unit() -> str:
    """What the processor multiplies bfloat16 with; empty: nothing."""
    flags = _cpu("flags").split()
    return "AMX" if "amx_bf16" in flags else "AVX512_BF16" if "avx512_bf16" in flags else ""


def _cpu(field: str) -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return platform.machine()


def _versions(packages: tuple[str, ...], venv: Path | None) -> str:
    where = {} if venv is None else {"path": [str(path) for path in venv.glob("lib/python3*/site-packages")]}
    found = {each.metadata["Name"].lower(): each.version for each in importlib.metadata.distributions(**where)}
    shown = [f"{package} {found[package]}" for package in packages if package in found]
    return ", ".join(shown) or "not installed"
