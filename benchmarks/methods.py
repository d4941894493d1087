"""Every way to make the device's model smaller, side by side on CLINC150 under one teacher.

    python -m benchmarks.methods

Each row is a whole run of the pipeline (kept stages are not done again) with that device; in scope is on the test file,
"as its parent" is agreement with the float model that the file was made from, "as the cloud" with the cloud's label on
the test file; the median latency is of 300 test texts, all models in turns. One seed: differences below half a point
are noise.
"""

import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.real_data import build, console, data_folder, encoder_folder
from benchmarks.turns import p50_in_turns
from tianti.data import Columns, read_table
from tianti.package import read_package
from tianti.pipeline.readings import run_package
from tianti.runtimes import open_package

DEVICES = {
    "default: width 128, int4 table, int8 matmuls": "",
    "no quantisation": "quantize: none",
    "int8 table": "quantize: int8",
    "float matmuls": "matmul: none",
    "int4 matmuls": "matmul: int4",
    "width 96": "width: 96",
    "width 64, 1 layer": "width: 64, layers: 1",
    "1 layer": "layers: 1",
    "half of the neurons cut": "prune: {neurons: 50%}",
    "2 of 4 heads cut": "prune: {heads: 2}",
    "half of the weights zero": "prune: {weights: 50%}",
    "80 % of the weights zero": "prune: {weights: 80%}",
    "no made-up texts": "augment: 0",
    "60,000 made-up texts": "augment: 60000",
    "bag, width 256": "student: bag, width: 256",
    "lstm, width 128": "student: lstm",
    "encoder:1": "student: encoder:1",
}


def main() -> None:
    data = data_folder("clinc150_en")
    table = Table(title="Methods, device of CLINC150 (teacher: frozen encoder with a head)")
    columns = (
        "method",
        "installed",
        "download",
        "memory",
        "in scope",
        "as its parent",
        "as the cloud",
        "p50 ms",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "method" else "right")
    texts = [row.text for row in read_table(str(data / "test.jsonl.gz"), data, Columns(text="text", label="label"))]
    cloud: NDArray[np.int64] | None = None
    rows: dict[str, list[str]] = {}
    packages: dict[str, Path] = {}
    for method, device in DEVICES.items():
        if sys.argv[1:] and not any(word in method for word in sys.argv[1:]):
            continue
        record, folder = build(
            "methods",
            f"""
name: clinc150
data:
  train: {data}/train.jsonl.gz
  calibration: {data}/validation.jsonl.gz
  test: {data}/test.jsonl.gz
  out_of_scope: oos
cloud: {{base: {encoder_folder()}}}
edge: {{student: bag, width: 64, augment: 0}}
device: {{{device}}}
""",
        )
        packages[method] = folder / "packages" / "device"
        if cloud is None:
            cloud = run_package(folder / "packages" / "cloud", texts).logits.argmax(axis=1)
        answers = run_package(packages[method], texts).logits.argmax(axis=1)
        figures = record.tiers["device"]
        rows[method] = [
            f"{figures['size_bytes']:,}",
            f"{figures['download_bytes']:,}",
            f"{figures['memory_bytes'] / 1e6:.0f} MB",
            f"{figures['accuracy_in_scope']:.2%}",
            f"{figures['parity']['agreement']:.1%}",
            f"{np.mean(answers == cloud):.1%}",
        ]
        console.print(f"{method}: {figures['accuracy_in_scope']:.2%}")
    runners = {method: open_package(read_package(folder)).run for method, folder in packages.items()}
    for method, p50 in p50_in_turns(runners, texts[:: len(texts) // 300]).items():
        table.add_row(method, *rows[method], f"{p50:.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
