"""A foreign cloud: MLServer, in an environment of its own, holds the cloud model; `assess` and a ladder run over it."""

import gzip
import json
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tianti.cli.progress import Quiet
from tianti.device import load
from tianti.package import read_release
from tianti.pipeline import Workspace
from tianti.pipeline.build import build_ladder
from tianti.spec import Tier

BIN = Path(sys.prefix) / "mlserver" / "bin"
TRAINED = """
name: clinc
data: {{train: "{data}/train.jsonl.gz", test: "{data}/test.jsonl.gz", out_of_scope: oos}}
edge: null
device: {{student: bag, width: 8, augment: 0, fit: {{epochs: 1}}}}
cloud: {{fit: {{epochs: 6}}}}
"""


class MLServer:
    """Started and ready once constructed."""

    def __init__(self, folder: Path, package: Path, labels: tuple[str, ...]) -> None:
        model = folder / "big"
        model.mkdir(parents=True)
        shutil.copyfile(package / "onnx" / "model.onnx", model / "model.onnx")
        shutil.copyfile(Path(__file__).with_name("mlserver_model.py"), model / "mlserver_model.py")
        settings = {
            "name": "big",
            "implementation": "mlserver_model.Held",
            "parameters": {"version": "3"},
            "inputs": [{"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]}],
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, len(labels)]}],
        }
        (model / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
        ports = [_free_port() for _ in range(3)]
        names = ("http_port", "grpc_port", "metrics_port")
        server = {"host": "127.0.0.1", "parallel_workers": 0, **dict(zip(names, ports, strict=True))}
        (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
        self.url = f"http://127.0.0.1:{ports[0]}"
        self._process = subprocess.Popen(
            [BIN / "mlserver", "start", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=model
        )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.url}/v2/models/big/ready", timeout=1).close()
                return
            except (urllib.error.URLError, OSError):
                assert self._process.poll() is None, "MLServer ended"
                time.sleep(0.1)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


@pytest.fixture(scope="module")
def served(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Path]]:
    """CLINC150's cloud on MLServer: its URL, its tokenizer, a file of its labels."""
    if not (BIN / "mlserver").is_file():
        pytest.skip(f"no MLServer in {BIN}: make test-platforms installs it")
    folder = tmp_path_factory.mktemp("trained")
    (folder / "ladder.yaml").write_text(TRAINED.format(data=shared_data / "clinc150_en"), encoding="utf-8")
    record = build_ladder(folder / "ladder.yaml", Quiet())
    package = read_release(Workspace(folder).releases / record.release).package(Tier.CLOUD)
    (folder / "labels.txt").write_text("\n".join(package.manifest.labels), encoding="utf-8")
    server = MLServer(tmp_path_factory.mktemp("mlserver"), package.folder, package.manifest.labels)
    yield server.url, package.tokenizer_path, folder / "labels.txt"
    server.stop()


def texts_of(data: Path, *names: str) -> list[str]:
    files = [gzip.decompress((data / "clinc150_en" / f"{name}.jsonl.gz").read_bytes()) for name in names]
    found = [json.loads(line)["text"] for file in files for line in file.splitlines()]
    random.Random(0).shuffle(found)
    return found


def test_assess_without_labels_and_what_fresh_texts_then_get(
    served: tuple[str, Path, Path], shared_data: Path, tmp_path: Path
) -> None:
    url, tokenizer, labels = served
    texts = texts_of(shared_data, "train", "validation")
    fresh = texts[-1500:]
    (tmp_path / "logs.txt").write_text("\n".join(texts[:-1500]), encoding="utf-8")
    command = [sys.executable, "-m", "tianti", "assess", "--text", "logs.txt", "--cloud", url, "--json"]
    options = ["--tokenizer", str(tokenizer), "--labels", str(labels), "--calls", "9000", "--per-month", "1000000"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["certified"] and said["share"] > 0.4
    assert said["saved"] == pytest.approx(said["share"] * 200)
    release = next((tmp_path / "assessment" / ".tianti" / "releases").glob("*/release.json")).parent
    with load(release, upstream="cloud", point=0.01, audits=0.0, deadline_ms=10_000) as ladder:
        answers = [ladder.predict(text) for text in fresh]
    kept = [(text, answer) for text, answer in zip(fresh, answers, strict=True) if answer.tier is Tier.DEVICE]
    truth = ask_all(release, [text for text, _ in kept])
    differing = sum(label != answer.label for label, (_, answer) in zip(truth, kept, strict=True))
    print(f"\nMLServer: device keeps {len(kept) / len(fresh):.1%}, differs on {differing / len(fresh):.2%} of all")
    assert all(answer.decision.certified for answer in answers)
    assert differing <= 0.01 * len(fresh)
    # the control: keeping everything on the device breaks the promise
    with load(release, audits=0.0) as alone:
        labels_alone = [alone.predict(text).label for text in fresh]
    assert sum(a != b for a, b in zip(labels_alone, ask_all(release, fresh), strict=True)) > 0.01 * len(fresh)


def ask_all(release: Path, texts: list[str]) -> list[str]:
    import asyncio

    from tianti.runtimes.endpoint import client_of

    async def run() -> list[str]:
        client = client_of(read_release(release).package(Tier.CLOUD))
        try:
            return [(await client.ask(text))[0].label for text in texts]
        finally:
            await client.aclose()

    return asyncio.run(run())
