"""Run a package: one file an engine, heavy imports inside."""

from tianti.errors import PackageError
from tianti.package import ModelPackage
from tianti.runtimes.contract import Encoded, Output, Runtime
from tianti.runtimes.engine import EngineRuntime
from tianti.runtimes.litert import LiteRtRuntime
from tianti.runtimes.onnx import OnnxRuntime
from tianti.runtimes.openvino import OpenVinoBf16Runtime, OpenVinoRuntime

__all__ = [
    "Encoded",
    "LiteRtRuntime",
    "OnnxRuntime",
    "OpenVinoBf16Runtime",
    "OpenVinoRuntime",
    "Output",
    "Runtime",
    "open_package",
]


def open_package(package: ModelPackage) -> Runtime:
    """The package in the engine that its manifest names.

    Raises:
        PackageError: it cannot be loaded.
        MissingExtraError: its engine is not installed.
        UsageError: this CPU cannot run it as it must be run.
    """
    if package.manifest.engine == "endpoint":
        raise PackageError(f"{package.folder} names a server and holds no model; ask it with upstream: cloud")
    engines: dict[str, type[EngineRuntime]] = {
        "onnx": OnnxRuntime,
        "litert": LiteRtRuntime,
        "openvino": OpenVinoRuntime,
        "openvino-bf16": OpenVinoBf16Runtime,
    }
    return engines[package.manifest.engine](package)
