"""What an update of the device's model costs on the wire, for each way to retrain it: real data, the int8 student.

    python -m benchmarks.patch_sizes [SET ...]

The parent is trained on four fifths of the rows, its successors on all of them. `full` is the packed new file, `patch`
what a device fetches that has the parent's; `all files` is the same for everything that the device installs.
"""

import gzip
import random
import statistics
import sys
import time
from pathlib import Path

from rich.table import Table

from benchmarks.real_data import WORK, build, console, data_folder, encoder_folder
from tianti.package.packed import pack
from tianti.package.patch import Patch, apply_patch, make_patch
from tianti.pipeline import RunRecord
from tianti.spec import Tier

SETS = ("banking77_en", "trec6_en")
MODEL = "onnx/model.onnx"
WAYS = {
    "all weights": ("train: {from: PARENT}", "", 20.0),
    "frozen embedding": ("train: {from: PARENT, freeze: embedding}", "", 13.0),
    "head only": ("train: {from: PARENT, freeze: all}", "", 0.5),
    "head only, 1e-4 once": ("train: {from: PARENT, freeze: all}", "learning_rate: 0.0001, epochs: 1", 0.5),
    "all weights, as if cold": ("train: {from: PARENT}", "learning_rate: 0.002, epochs: 8", None),
    "cold": ("", "", None),
}
"""What ladder.yaml says of the start and of the device's `fit`, and the most that the patch may be, in percent."""


def main() -> None:
    for name in sys.argv[1:] or SETS:
        show(name)


def show(name: str) -> None:
    write_rows(name)
    old, parent = build_on(name, "old", "", "")
    before = device_files(parent)
    table = Table(title=f"{name}: the parent is right on {old.tiers[Tier.DEVICE]['accuracy_in_scope']:.2%} of test")
    for column in ("retrained", "right", "full", "patch", "codec", "of full", "must", "apply, ms CPU", "all files"):
        table.add_column(column, justify="left" if column == "retrained" else "right")
    for way, (train, fit, must) in WAYS.items():
        record, folder = build_on(name, "new", train.replace("PARENT", old.release), fit)
        table.add_row(way, f"{record.tiers[Tier.DEVICE]['accuracy_in_scope']:.2%}", *costs(before, folder, must))
    console.print(table)


def write_rows(name: str) -> None:
    folder = WORK / f"patch_sizes-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(data_folder(name) / "train.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = list(file)
    random.Random(0).shuffle(lines)
    (folder / "old.jsonl").write_text("".join(lines[: len(lines) * 4 // 5]), encoding="utf-8")
    (folder / "new.jsonl").write_text("".join(lines), encoding="utf-8")


def build_on(name: str, rows: str, train: str, fit: str) -> tuple[RunRecord, Path]:
    data = data_folder(name)
    return build(
        f"patch_sizes-{name}",
        f"""
name: {name}
data:
  train: {rows}.jsonl
  validation: 5%
  calibration: {data}/validation.jsonl.gz
  test: {data}/test.jsonl.gz
cloud: {{base: {encoder_folder()}}}
edge: {{student: bag, width: 32, augment: 1000, fit: {{epochs: 1}}}}
device: {{quantize: int8, augment: 4000, fit: {{{fit}}}}}
{train}
""",
    )


def device_files(release: Path) -> dict[str, bytes]:
    folder = release / "packages" / Tier.DEVICE
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def costs(before: dict[str, bytes], release: Path, must: float | None) -> list[str]:
    after = device_files(release)
    full, patch = len(pack(after[MODEL])), make_patch(before[MODEL], after[MODEL])
    fetched = sum(fetch(before.get(path), content) for path, content in after.items())
    return [
        f"{full:,}",
        "none" if patch is None else f"{len(patch.content):,}",
        "" if patch is None else patch.codec,
        "100 %" if patch is None else f"{len(patch.content) / full:.2%}",
        "" if must is None else f"{must} %",
        "" if patch is None else f"{apply_ms(before[MODEL], after[MODEL], patch):.1f}",
        f"{fetched:,}",
    ]


def fetch(old: bytes | None, new: bytes) -> int:
    """Bytes on the wire for one file."""
    if old == new:
        return 0
    patch = None if old is None else make_patch(old, new)
    return min(len(pack(new)), len(new)) if patch is None else len(patch.content)


def apply_ms(old: bytes, new: bytes, patch: Patch) -> float:
    times = []
    for _ in range(9):
        begun = time.process_time()
        made = apply_patch(patch.codec, old, patch.content, len(new))
        times.append(time.process_time() - begun)
        assert made == new
    return statistics.median(times) * 1000


if __name__ == "__main__":
    main()
