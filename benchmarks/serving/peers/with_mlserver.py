"""MLServer without worker processes, which on one core only cost; batching: up to 32 texts within 2 ms."""

import json
import os
import socket
import sys
import tempfile
from pathlib import Path

from classifier import Classifier
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Texts(MLModel):
    async def load(self) -> bool:
        self.model = Classifier(os.environ["PEER_PACKAGE"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        answers = self.model.classify(StringCodec.decode_input(payload.inputs[0]))
        labels = StringCodec.encode_output("label", [answer["label"] for answer in answers])
        scores = [answer["score"] for answer in answers]
        outputs = [labels, ResponseOutput(name="score", shape=[len(scores), 1], datatype="FP32", data=scores)]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


if __name__ == "__main__":
    package, port, mode = sys.argv[1:]
    folder = Path(tempfile.mkdtemp())
    ports = {"http_port": int(port), "grpc_port": free_port(), "metrics_port": free_port()}
    settings = {"host": "127.0.0.1", **ports, "parallel_workers": 0, "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    batching = {"max_batch_size": 32, "max_batch_time": 0.002} if mode == "batching" else {}
    model = {"name": "texts", "implementation": "with_mlserver.Texts", **batching}
    (folder / "model-settings.json").write_text(json.dumps(model))
    os.environ |= {"PEER_PACKAGE": package, "PYTHONPATH": str(Path(__file__).parent)}
    program = str(Path(sys.executable).with_name("mlserver"))
    os.execv(program, [program, "start", str(folder)])
