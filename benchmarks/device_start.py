"""From process start to the first answer: the device's file of CLINC150, beside a bare tokenizers + onnxruntime script.

    python -m benchmarks.device_start

Each row is a new Python process; the rows take turns, so that all see the same machine. Milliseconds, p50.
"""

import statistics
import subprocess
import sys
import time

from rich.table import Table

from benchmarks.clinc150 import build_clinc150
from benchmarks.real_data import console

ROUNDS = 15
BARE = """
import sys, numpy, onnxruntime, tokenizers
folder = sys.argv[1] + "/packages/device/"
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(folder + "onnx/model.onnx", options)
tokenizer = tokenizers.Tokenizer.from_file(folder + "tokenizer.json")
session.run(None, {"input_ids": numpy.array([tokenizer.encode("what is my balance").ids])})
"""
SCRIPTS = {
    "python": "pass",
    "python, import tianti": "import tianti",
    "bare script, first answer": BARE,
    "tianti, first answer": "import sys, tianti; tianti.load(sys.argv[1]).predict('what is my balance')",
}


def main() -> None:
    _, release = build_clinc150()
    taken: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    for _ in range(ROUNDS):
        for name, script in SCRIPTS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", script, str(release)], check=True)
            taken[name].append(time.perf_counter() - start)
    p50 = {name: statistics.median(times) * 1e3 for name, times in taken.items()}
    over = {"python": "python", "bare script, first answer": "python"}
    over |= {"python, import tianti": "python", "tianti, first answer": "bare script, first answer"}
    table = Table(title=f"p50 of {ROUNDS} processes")
    for column in ("process", "ms", "more", "than"):
        table.add_column(column, justify="right" if column in ("ms", "more") else "left")
    for name in SCRIPTS:
        table.add_row(name, f"{p50[name]:.0f}", f"{p50[name] - p50[over[name]]:+.0f}", over[name])
    console.print(table)


if __name__ == "__main__":
    main()
