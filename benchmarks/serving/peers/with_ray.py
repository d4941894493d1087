"""Ray Serve: one replica; batching: up to 32 texts within 2 ms."""

import os
import signal
import sys

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0"}

import ray
from classifier import Classifier
from ray import serve
from starlette.requests import Request

package, port, mode = sys.argv[1:]


@serve.deployment(max_ongoing_requests=256)
class Alone:
    def __init__(self, package: str) -> None:
        self.model = Classifier(package)

    async def __call__(self, request: Request) -> dict:
        return self.model.classify([(await request.json())["text"]])[0]


@serve.deployment(max_ongoing_requests=256)
class Batched:
    def __init__(self, package: str) -> None:
        self.model = Classifier(package)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def classify(self, texts: list[str]) -> list[dict]:
        return self.model.classify(texts)

    async def __call__(self, request: Request) -> dict:
        return await self.classify((await request.json())["text"])


PATH = {"PYTHONPATH": sys.path[0]}
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": PATH})
serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
serve.run((Batched if mode == "batching" else Alone).bind(package), route_prefix="/predict")
signal.sigwait({signal.SIGTERM, signal.SIGINT})
serve.shutdown()
ray.shutdown()
