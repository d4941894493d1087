"""PyTriton: Triton's server with its Python backend; batching: up to 32 texts within 2 ms."""

import socket
import sys

import numpy as np
from classifier import Classifier
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

package, port, mode = sys.argv[1:]
model = Classifier(package)


def classify(rows: np.ndarray) -> dict[str, np.ndarray]:
    answers = model.classify([text.decode() for text in rows.reshape(-1)])
    labels = np.array([[answer["label"].encode()] for answer in answers], dtype=object)
    return {"label": labels, "score": np.array([[answer["score"]] for answer in answers], dtype=np.float32)}


@batch
def batched(text: np.ndarray) -> dict[str, np.ndarray]:
    return classify(text)


def alone(requests: list) -> list[dict[str, np.ndarray]]:
    return [{name: column[0] for name, column in classify(request["text"]).items()} for request in requests]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


on = mode == "batching"
config = ModelConfig(max_batch_size=32, batcher=DynamicBatcher(max_queue_delay_microseconds=2000))
here = "127.0.0.1"
http = {"http_address": here, "http_port": int(port), "grpc_address": here, "grpc_port": free_port()}
ports = TritonConfig(**http, metrics_address=here, metrics_port=free_port())
with Triton(config=ports) as triton:
    triton.bind(
        model_name="texts",
        infer_func=batched if on else alone,
        inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
        outputs=[Tensor(name="label", dtype=bytes, shape=(1,)), Tensor(name="score", dtype=np.float32, shape=(1,))],
        config=config if on else ModelConfig(batching=False),
        strict=False,
    )
    triton.serve()
