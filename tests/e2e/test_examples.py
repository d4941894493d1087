"""The classic example from PyTorch runs as its reader would run it; the one from Keras is in tests/platforms."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "classic.py"


def test_the_classic_lstm_of_pytorch_reaches_a_device(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE, "torch"], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert "it is right on" in done.stdout
    assert "onnx: turn off the kitchen light -> " in done.stdout
    assert (tmp_path / "classic-torch" / ".tianti" / "releases" / "latest").is_file()
