"""What does `Ladder.predict` cost over the two calls it cannot do without?

    python -m benchmarks.device_overhead

One process; bare and ladder take turns on the same text, so that both see the same machine. Bare is `tokenizer.encode`
and `session.run`; the ladder adds the score, 150 probabilities and the decision. Then the same with a decision
log, and after the breaker of a dead upstream has opened. Times are microseconds, p50 of the pairs.
"""

import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from tests.tiny_release import make_release
from tokenizers import Tokenizer

from tianti.device import Ladder, load

LABELS = 150
ROUNDS = 4000


def bare_call(package: Path) -> Callable[[str], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(package / "onnx/model.onnx", options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(package / "tokenizer.json"))
    return lambda text: session.run(None, {"input_ids": np.array([tokenizer.encode(text).ids], dtype=np.int64)})


def measure(bare: Callable[[str], object], ladder: Ladder, text: str) -> tuple[float, float, float]:
    """p50 of bare, of the ladder, and of their difference within a pair, in microseconds."""
    pairs = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        bare(text)
        middle = time.perf_counter()
        ladder.predict(text)
        pairs.append((middle - start, time.perf_counter() - middle))
    columns = ([b for b, _ in pairs], [p for _, p in pairs], [p - b for b, p in pairs])
    p50 = [statistics.median(column) * 1e6 for column in columns]
    return p50[0], p50[1], p50[2]


def dead_url() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def main() -> None:
    words = {f"label{i}": (f"w{i}a", f"w{i}b", f"w{i}c") for i in range(LABELS)}
    with tempfile.TemporaryDirectory() as folder:
        release = make_release(Path(folder), words=words)
        bare = bare_call(release.folder / "packages/device")
        print(f"{'':<34}{'bare':>9}{'predict':>9}{'adds':>9}   us, p50 of {ROUNDS} pairs, {LABELS} labels")
        with load(release.folder) as ladder:
            for name, text in (("answered", "w7a"), ("answered, 8 tokens", "w7a " * 8), ("no_upstream", "w7b")):
                print(f"{name:<34}{'{:9.1f}{:9.1f}{:9.1f}'.format(*measure(bare, ladder, text))}")
        with load(release.folder, log=Path(folder) / "log.jsonl") as ladder:
            print(f"{'answered, logged':<34}{'{:9.1f}{:9.1f}{:9.1f}'.format(*measure(bare, ladder, 'w7a'))}")
        with load(release.folder, upstream=[dead_url(), dead_url()]) as ladder:
            while ladder.predict("w7b").decision.reason != "breaker_open":
                time.sleep(0.01)
            print(f"{'breaker open':<34}{'{:9.1f}{:9.1f}{:9.1f}'.format(*measure(bare, ladder, 'w7b'))}")
            print("last answer:", ladder.predict("w7b").decision)


if __name__ == "__main__":
    main()
