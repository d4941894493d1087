"""LitServe: one worker; with batching on, up to 32 texts that came within 2 ms."""

import sys

import litserve
from classifier import Classifier

package, port, mode = sys.argv[1:]


class Alone(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = Classifier(package)

    def decode_request(self, request: dict) -> str:
        return request["text"]

    def predict(self, text: str) -> dict:
        return self.model.classify([text])[0]

    def encode_response(self, output: dict) -> dict:
        return output


class Batched(Alone):
    def predict(self, texts: list[str]) -> list[dict]:
        return self.model.classify(texts)


if __name__ == "__main__":
    api = Batched(max_batch_size=32, batch_timeout=0.002) if mode == "batching" else Alone()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(port), log_level="warning", access_log=False, generate_client_file=False)
