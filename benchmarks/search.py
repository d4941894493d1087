"""The ladder that a search chooses beside the default preset's: what 1,000 requests cost at 1 %, on test rows.

    python -m benchmarks.search [MINUTES] [SET ...]

Both are built on the same rows, certified by themselves, and compared on the same test file; harm is how often a text
that was answered below the cloud is wrong where the cloud is right. Also: the most accurate device that was tried.
"""

import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from rich.table import Table

from benchmarks.real_data import build, console, data_folder, encoder_folder
from tianti.pipeline import RunRecord

ALPHA = 0.01
SETS = {
    "clinc150_en": "english",
    "banking77_en": "english",
    "thucnews_titles_zh": "scratch",
    "shop_sentiment_zh": "scratch",
}


def ladder(name: str, minutes: float | None) -> str:
    data = data_folder(name)
    strangers = "\n  out_of_scope: oos" if name == "clinc150_en" else ""
    cloud = f"cloud: {{base: {encoder_folder()}}}" if SETS[name] == "english" else ""
    search = "" if minutes is None else f"search: {{minutes: {minutes}}}"
    return f"""
name: {name}
data:
  train: {data}/train.jsonl.gz
  calibration: {data}/validation.jsonl.gz
  test: {data}/test.jsonl.gz{strangers}
{cloud}
device: {{size: 1.5 MB, download: 1 MB}}
{search}
"""


def add(table: Table, name: str, what: str, record: RunRecord) -> None:
    level = next(level for level in record.certificate["levels"] if level["alpha"] == ALPHA)
    tried = (record.search or {}).get("tried", [])
    devices = [each for each in tried if each["tier"] == "device" and not each["missed"]]
    chosen = next((each for each in devices if each["chosen"]), None)
    best = max(devices, key=lambda each: each["accuracy"], default=None)
    table.add_row(
        name,
        what,
        "yes" if level["certified"] else "no",
        f"{level['cost_per_1000']:.4f}",
        f"{level['share']['cloud']:.1%}",
        f"{level['test_harm']:.2%}",
        "" if chosen is None else f"{chosen['name']} ({chosen['accuracy']:.2%})",
        "" if best is None else f"{best['name']} ({best['accuracy']:.2%}, {best['cost_per_1000']:.4f})",
    )


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    table = Table(title=f"search of {minutes:g} minutes beside the default preset, at {ALPHA:.0%}")
    for column in (
        "data",
        "ladder",
        "certified",
        "cost of 1,000",
        "to the cloud",
        "harm",
        "device",
        "most accurate device",
    ):
        table.add_column(column)
    for name in sys.argv[2:] or SETS:
        add(table, name, "default", build(f"search-{name}", ladder(name, None))[0])
        add(table, name, "searched", build(f"search-{name}", ladder(name, minutes))[0])
    console.print(table)


if __name__ == "__main__":
    main()
