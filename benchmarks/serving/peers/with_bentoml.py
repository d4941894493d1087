"""BentoML: one service, one worker; with batching on, adaptive batches of up to 32."""

import os
import sys
from pathlib import Path

import bentoml
from classifier import Classifier

BATCHED = os.environ.get("PEER_MODE") == "batching"


@bentoml.service(workers=1, traffic={"timeout": 60})
class Texts:
    def __init__(self) -> None:
        self.model = Classifier(os.environ["PEER_PACKAGE"])

    if BATCHED:

        @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=10_000)
        def predict(self, texts: list[str]) -> list[dict]:
            return self.model.classify(texts)

    else:

        @bentoml.api
        def predict(self, texts: list[str]) -> list[dict]:
            return self.model.classify(texts)


if __name__ == "__main__":
    package, port, mode = sys.argv[1:]
    os.environ |= {"PEER_PACKAGE": package, "PEER_MODE": mode, "BENTOML_DO_NOT_TRACK": "True"}
    os.chdir(Path(__file__).parent)
    program = str(Path(sys.executable).with_name("bentoml"))
    os.execv(program, [program, "serve", "with_bentoml:Texts", "--host", "127.0.0.1", "--port", port, "--quiet"])
