"""The lines of TensorFlow Serving's page "RESTful API", with our texts in the place of its numbers, through curl."""

import json
import shlex
import shutil
import subprocess
from typing import Any

import pytest

from tests.conformance.node import Served

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")


def curl(node: Served, line: str) -> tuple[int, Any]:
    """Runs a line of the page; its status and its JSON."""
    command = shlex.split(line.replace("localhost:8501", node.http))
    assert command.pop(0) == "curl"
    ran = subprocess.run(
        ["curl", "-s", "--noproxy", "*", "--max-time", "10", "-w", "\n%{http_code}", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    body, _, status = ran.stdout.rpartition("\n")
    return int(status), json.loads(body)


def test_status(node: Served) -> None:
    status, said = curl(node, "curl http://localhost:8501/v1/models/tiny/versions/1")
    assert status == 200
    assert said == {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }


def test_predict_in_rows_and_in_columns(node: Served) -> None:
    model = "http://localhost:8501/v1/models/tiny:predict"
    status, said = curl(node, f"""curl -d '{{"instances": ["lamp", "sonata"]}}' -X POST {model}""")
    assert (status, [row["label"] for row in said["predictions"]]) == (200, ["lights", "music"])
    status, said = curl(node, f"""curl -d '{{"inputs": {{"text": ["lamp", "sonata"]}}}}' -X POST {model}""")
    assert (status, said["outputs"]["label"]) == (200, ["lights", "music"])


def test_regress_with_its_signature_named(node: Served) -> None:
    line = """curl -d '{"signature_name": "tensorflow/serving/regress", "examples": [{"text": "lamp"}, {"text": "x"}]}'
      -X POST http://localhost:8501/v1/models/tiny:regress"""
    status, said = curl(node, line)
    assert status == 200
    assert [0.0 <= score <= 1.0 for score in said["results"]] == [True, True]


def test_classify(node: Served) -> None:
    line = """curl -d '{"examples": [{"text": "lamp"}]}' -X POST http://localhost:8501/v1/models/tiny:classify"""
    status, said = curl(node, line)
    assert (status, [label for label, _score in said["results"][0]]) == (200, ["lights", "music"])


def test_another_model_is_not_found(node: Served) -> None:
    line = """curl -i -d '{"instances": ["lamp"]}' -X POST http://localhost:8501/v1/models/half:predict"""
    status, said = curl(node, line.replace(" -i", ""))
    assert status == 404 and "half" in said["error"]
    status, said = curl(node, "curl -d 'no JSON' -X POST http://localhost:8501/v1/models/tiny:predict")
    assert status == 400 and list(said) == ["error"]
