"""What people read about a run says no more than what was proven."""

from pathlib import Path
from typing import Any

import pytest

from tianti.cli.tables import print_comparison, print_run
from tianti.pipeline import RunRecord
from tianti.spec import TIERS


def level(alpha: float, device: float, *, certified: bool = True, rows: int | None = None) -> dict[str, Any]:
    share = {"device": device, "edge": 0.0, "cloud": 1 - device}
    return {"alpha": alpha, "certified": certified, "share": share, "cost_per_1000": 0.1, "rows_needed": rows}


def record(*levels: dict[str, Any], void: str | None = None, confidence: float = 0.95) -> RunRecord:
    figures = {
        "accuracy": 0.9,
        "accuracy_in_scope": 0.9,
        "size_bytes": 1000,
        "latency_ms": {"p50": 1.0, "p99": 2.0},
    }
    return RunRecord(
        run="r",
        name="[odd]",
        started="",
        seconds=1.0,
        cached=[],
        release="0" * 64,
        tiers=dict.fromkeys(TIERS, figures),
        certificate={"risk": "harm", "confidence": confidence, "void": void, "levels": list(levels)},
        served=next((each["alpha"] for each in levels if each["certified"]), None),
        prices={"edge": 0.02, "cloud": 0.2},
        timeline=[],
    )


def said(run: RunRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    print_run(run, tmp_path)
    return capsys.readouterr().out


def test_a_level_is_never_rounded_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(record(level(0.0025, 0.5), confidence=0.999), tmp_path, capsys)
    assert "at most 0.25% of its accuracy (99.9% confidence)" in text


def test_a_void_certificate_is_said_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(record(level(0.01, 0.5), void="assumed 3 %, seen 18 %"), tmp_path, capsys)
    assert 0 < text.index("seen 18 %") < text.index("Certified, for requests like the calibration rows")


def test_too_few_rows_and_too_much_harm_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "300 certify rows would do" in said(record(level(0.01, 0, certified=False, rows=300)), tmp_path, capsys)
    harmful = said(record(level(0.01, 0, certified=False)), tmp_path, capsys)
    assert "risked too much" in harmful and "None" not in harmful


def test_runs_are_compared_level_by_level(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(record(level(0.005, 0.1), level(0.01, 0.4)), record(level(0.01, 0.5)))
    text = capsys.readouterr().out
    assert "40.0% -> 50.0%" in text and "10.0% -> -" in text
