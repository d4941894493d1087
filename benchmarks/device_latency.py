"""One text on the device's model, beside the cloud's encoder in float32, in int8, and in the `transformers` pipeline.

    python -m benchmarks.device_latency

CLINC150 test texts, one at a time, one thread, tokenisation included, in turns. Memory: the most that a process of
its own has held which loads the model and answers.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import onnxruntime
import torch
from rich.table import Table
from transformers import AutoTokenizer, BertForSequenceClassification, pipeline

from benchmarks.clinc150 import build_clinc150
from benchmarks.real_data import console, data_folder, encoder_folder
from benchmarks.turns import p50_in_turns
from tianti.compression import export_onnx
from tianti.data import Columns, read_table
from tianti.package import read_package
from tianti.pipeline.profiling import profile_apart
from tianti.runtimes import open_package
from tianti.training import Pool, load_encoder, load_tokenizer

TEXTS, LABELS = 300, 150
PIPELINE_MEMORY = """
import sys, torch
from transformers import AutoTokenizer, BertForSequenceClassification, pipeline
torch.set_num_threads(1)
base = sys.argv[1]
model = BertForSequenceClassification.from_pretrained(base, num_labels=150)
answer = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(base))
answer("what is my balance")
print(next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def main() -> None:
    torch.set_num_threads(1)
    _, release = build_clinc150()
    base, data = encoder_folder(), data_folder("clinc150_en")
    rows = read_table(str(data / "test.jsonl.gz"), data, Columns(text="text", label="label"))
    texts = [row.text for row in rows[:: len(rows) // TEXTS][:TEXTS]]
    packages = {"device": release / "packages" / "device"}
    if importlib.util.find_spec("litert_torch") is None:
        console.print("LiteRT skipped: pip install 'tianti[litert-train]'")
    else:
        packages["device in LiteRT"] = build_clinc150(engine="litert")[1] / "packages" / "device"
    packages["cloud's encoder, int8"] = release / "packages" / "cloud"
    runners: dict[str, Callable[[str], object]] = {
        **{name: open_package(read_package(folder)).run for name, folder in packages.items()},
        "cloud's encoder, float32": float_runner(base),
        "transformers pipeline": pipeline_runner(base),
    }
    p50 = p50_in_turns(runners, texts)
    memory = {
        **{name: profile_apart(folder).memory_bytes for name, folder in packages.items()},
        "transformers pipeline": int(
            subprocess.run(
                [sys.executable, "-c", PIPELINE_MEMORY, str(base)], capture_output=True, text=True, check=True
            ).stdout
        ),
    }
    table = Table(title=f"p50 of {len(texts)} texts, in turns")
    for column in ("model", "p50 ms", "times the device", "memory, MB", "times the device"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name in runners:
        held = memory.get(name)
        times = ("-", "-") if held is None else (f"{held / 1e6:.0f}", f"{held / (memory['device'] or 1):.1f}")
        table.add_row(name, f"{p50[name]:.3f}", f"{p50[name] / p50['device']:.1f}", *times)
    console.print(table)


def float_runner(base: Path) -> Callable[[str], object]:
    """The encoder as exported, before it is quantised."""
    tokenizer = load_tokenizer(base)
    tokenizer.no_padding()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        example = torch.tensor([tokenizer.encode("a text of some words").ids])
        export_onnx(Pool(load_encoder(base, 0)), path, example_ids=example, output="embedding")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda text: session.run(None, {"input_ids": np.array([tokenizer.encode(text).ids], dtype=np.int64)})


def pipeline_runner(base: Path) -> Callable[[str], object]:
    """What most would write; its head is random, which costs the same."""
    model = BertForSequenceClassification.from_pretrained(base, num_labels=LABELS)
    return pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(base))


if __name__ == "__main__":
    main()
