"""The first thing a newcomer runs, whole, in a process of its own; then the same again in Chinese."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil


def tianti(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "tianti", *arguments]
    wide = {**os.environ, "COLUMNS": "160"}
    done = subprocess.run(command, cwd=folder, env=wide, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_and_the_sample_ladder(tmp_path: Path) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    said = tianti(tmp_path, "demo")
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before
    for line in ("Where is my parcel?", "Certified, for requests like", "Saves ", "report.html", "tianti up"):
        assert line in said
    record = json.loads(tianti(tmp_path, "run", "tianti-demo/ladder.yaml", "--json").splitlines()[-1])
    assert len(record["cached"]) == len(record["timeline"])
    levels = {level["alpha"]: level for level in record["certificate"]["levels"]}
    assert levels[0.01]["certified"] and levels[0.02]["certified"]
    assert record["certificate"]["void"] is None
    under = record["tiers"]["cloud"]["accuracy"] - record["tiers"]["device"]["accuracy"]
    assert 0.03 <= under <= 0.08
    assert "我的快递到哪了" in tianti(tmp_path, "demo", "--lang", "zh")
