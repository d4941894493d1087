"""min-tfs-client and TensorFlow Serving's own stubs, which need a protobuf of their own time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.node import Served

PYTHON = Path(sys.prefix) / "min-tfs" / "bin" / "python"


def test_predict_classify_regress_and_status(node: Served) -> None:
    if not PYTHON.is_file():
        pytest.skip(f"no min-tfs-client at {PYTHON}: make test-platforms installs it")
    command = [PYTHON, "-I", Path(__file__).with_name("min_tfs.py"), *node.grpc.split(":")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    (regression,) = said.pop("regressions")
    assert 0.9 < regression <= 1.0
    assert said == {
        "newest": ["lights", "music"],
        "newest scores": [2, 2],
        "numbered": ["lights", "music"],
        "numbered scores": [2, 3],
        "other": "NOT_FOUND",
        "classes": ["lights", "music"],
        "tasks": ["classification_result", "regression_result"],
        "versions": [[2, 30], [1, 30]],
    }
