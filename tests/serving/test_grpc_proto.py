"""The messages that are checked in are those that the .proto files make, and register nothing of somebody else's."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from tianti.serving.grpc.proto import oip_pb2, tfs_pb2

ROOT = Path(__file__).parents[2]
FOLDER = Path("tianti/serving/grpc/proto")


def test_the_generated_files_are_fresh(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    made_with = (ROOT / "src" / FOLDER / "__init__.py").read_text(encoding="utf-8").split("grpcio-tools ")[1].split()[0]
    if not importlib.metadata.version("grpcio-tools").startswith(f"{made_with}."):
        pytest.skip(f"the messages were made with grpcio-tools {made_with}")
    files = [str(ROOT / "src" / FOLDER / f"{name}.proto") for name in ("oip", "tfs")]
    command = ["-m", "grpc_tools.protoc", "-I", str(ROOT / "src"), f"--python_out={tmp_path}", *files]
    subprocess.run([sys.executable, *command], check=True)
    for name in ("oip_pb2.py", "tfs_pb2.py"):
        assert (tmp_path / FOLDER / name).read_bytes() == (ROOT / "src" / FOLDER / name).read_bytes()


def test_nothing_is_registered_under_names_of_others() -> None:
    for module, package in ((oip_pb2, "tianti.oip"), (tfs_pb2, "tianti.tfs")):
        assert module.DESCRIPTOR.package == package
        assert module.DESCRIPTOR.name.startswith("tianti/")
