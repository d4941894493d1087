"""The in-process limit: the same texts and model on the same core, no server: tokenise, engine, softmax, JSON.

    python -m benchmarks.serving.limit PACKAGE SECONDS [BATCH ...]

Texts are sorted by length, so that a batch holds next to no padding; the best size of batch is the limit. Prints JSON.
"""

import json
import os
import subprocess
import sys
import time

import msgspec
import numpy as np

from benchmarks.serving.process import ENVIRONMENT

BATCHES = (1, 8, 16, 32)


class Limit(msgspec.Struct):
    """Of one size of batch. `call_p50_ms` is of one batch; `cpu_us` is user and system time per text."""

    batch: int
    per_second: float
    cpu_us: float
    call_p50_ms: float


def measure(package: str, seconds: float, core: int, batches: tuple[int, ...] = BATCHES) -> list[Limit]:
    """Run in a process of its own, on one core; every size of batch for at least `seconds` and one pass."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.limit", package, str(seconds), *map(str, batches)],
        stdout=subprocess.PIPE,
        check=True,
        env=os.environ | ENVIRONMENT,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    return msgspec.json.decode(done.stdout, type=list[Limit])


def main(package: str, seconds: str, *batches: str) -> None:
    from benchmarks.serving.bf16 import classifier_of
    from benchmarks.serving.texts import make_texts

    model = classifier_of(package)
    texts = make_texts()
    lengths = [len(encoding.ids) for encoding in model.tokenizer.encode_batch(texts)]
    texts = [texts[index] for index in np.argsort(lengths, kind="stable")]
    model.classify(texts[-32:])
    print(json.dumps([msgspec.to_builtins(_run(model, texts, int(batch), float(seconds))) for batch in batches]))


def _run(model, texts: list[str], batch: int, seconds: float) -> Limit:  # noqa: ANN001
    groups = [texts[at : at + batch] for at in range(0, len(texts), batch)]
    encode, times, passes = msgspec.json.encode, [], 0
    cpu_s, start = time.process_time(), time.perf_counter()
    while passes == 0 or time.perf_counter() - start < seconds:  # whole passes: the texts are sorted
        for group in groups:
            before = time.perf_counter()
            for answer in model.classify(group):
                encode(answer)
            times.append(time.perf_counter() - before)
        passes += 1
    count = passes * len(texts)
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_s
    return Limit(batch, count / wall_s, cpu_s / count * 1e6, float(np.median(times)) * 1e3)


if __name__ == "__main__":
    main(*sys.argv[1:])
