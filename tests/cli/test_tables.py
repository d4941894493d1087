"""What people read about a run says no more than what was proven."""

from pathlib import Path
from typing import Any

import pytest

from tianti.cli.tables import print_comparison, print_run
from tianti.pipeline import RunRecord
from tianti.pipeline.assess import Question, conclude
from tianti.spec import TIERS, Tier


def level(alpha: float, device: float, *, certified: bool = True, rows: int | None = None) -> dict[str, Any]:
    share = {"device": device, "edge": 0.0, "cloud": 1 - device}
    return {"alpha": alpha, "certified": certified, "share": share, "cost_per_1000": 0.1, "rows_needed": rows}


def record(
    *levels: dict[str, Any], void: str | None = None, confidence: float = 0.95, tiers: tuple[Tier, ...] = TIERS
) -> RunRecord:
    figures = {
        "accuracy": 0.9,
        "accuracy_in_scope": 0.9,
        "size_bytes": 1000,
        "latency_ms": {"p50": 1.0, "p99": 2.0},
        "parity": {"agreement": 1.0},
    }
    return RunRecord(
        run="r",
        name="[odd]",
        started="",
        seconds=1.0,
        cached=[],
        release="0" * 64,
        tiers=dict.fromkeys(tiers, figures),
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


@pytest.mark.parametrize("certified", [True, False])
def test_what_the_policy_holds_is_said(certified: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = level(0.01, 0.5, certified=certified)
    assert "3.0% of the test rows stay on the device" in said(record({**one, "held": 0.03}), tmp_path, capsys)
    assert "stay on the device" not in said(record({**one, "held": 0.0}), tmp_path, capsys)


def test_too_few_rows_and_too_much_harm_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "300 certify rows would do" in said(record(level(0.01, 0, certified=False, rows=300)), tmp_path, capsys)
    harmful = said(record(level(0.01, 0, certified=False)), tmp_path, capsys)
    assert "risked too much" in harmful and "None" not in harmful


def test_runs_are_compared_level_by_level(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(record(level(0.005, 0.1), level(0.01, 0.4)), record(level(0.01, 0.5)))
    text = capsys.readouterr().out
    assert "40.0% -> 50.0%" in text and "10.0% -> -" in text


def test_a_ladder_without_an_edge_shows_none_and_assumes_no_price_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(record(level(0.01, 0.5), tiers=(Tier.DEVICE, Tier.CLOUD)), tmp_path, capsys)
    assert "│ edge" not in text and "assuming cloud 0.2 per 1,000" in text


def assessed(*levels: dict[str, Any], per_month: int | None = None, repeated: float = 0.0) -> str:
    question = Question(
        texts=Path("logs.jsonl"), column="text", encoding=None, cloud={}, level="1%", price=0.2, per_month=per_month
    )
    return "\n".join(conclude(record(*levels), question, repeated).lines())


def test_an_assessment_says_share_and_saving_at_the_prices_that_it_assumes() -> None:
    fresh = {"test_risk": 0.004, "test_n": 1500}
    text = assessed(level(0.01, 0.78) | fresh, level(0.02, 0.9) | fresh, per_month=20_000_000)
    assert "78.0% of these calls can be answered on the device, at most 1% disagreement" in text
    assert "at 2%: 90.0%" in text
    assert "0.40% were answered otherwise" in text
    assert "Saves 3,120 a month at 20,000,000 calls and 0.2 per 1,000 calls" in text
    assert "78% of the bill (assumed: 0.2 per 1,000 calls" in assessed(level(0.01, 0.78) | fresh)


def test_an_assessment_of_calls_that_repeat_says_what_it_speaks_of() -> None:
    fresh = {"test_risk": 0.004, "test_n": 1500}
    text = assessed(level(0.01, 0.78) | fresh, repeated=0.3)
    assert "78.0% of the distinct texts of these calls" in text
    assert "30% of the logged calls repeat a text, which counts once" in text


def test_an_assessment_that_proves_nothing_says_so_and_what_would_do() -> None:
    text = assessed(level(0.01, 0.0, certified=False, rows=407) | {"test_risk": 0.0, "test_n": 90}, per_month=10)
    assert "None of these calls can be shown" in text and "407 certify rows" in text and "Saves" not in text
