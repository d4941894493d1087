"""The classic example from Keras answers on the device in ONNX Runtime and in LiteRT."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "classic.py"


def test_the_classic_lstm_of_keras_reaches_a_device_in_two_engines(tmp_path: Path) -> None:
    for module in ("tensorflow", "litert_torch"):
        pytest.importorskip(module, reason=f"needs {module}: make test-platforms", exc_type=ImportError)
    done = subprocess.run(
        [sys.executable, EXAMPLE, "keras"], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    for engine in ("onnx", "litert"):
        assert f"{engine}: turn off the kitchen light -> " in done.stdout
