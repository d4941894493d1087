"""A search on small real text: it prices ladders, keeps to budgets, goes on where it was, and says what would fit."""

import json
from pathlib import Path
from typing import Any

import pytest

from tianti.cli.progress import Quiet
from tianti.data.sample.generate import sample_rows
from tianti.errors import GateError, StageError
from tianti.pipeline import Workspace
from tianti.pipeline.build import build_ladder
from tianti.pipeline.contract import Stage
from tianti.pipeline.run import run_stages
from tianti.spec.ladder import LadderSpec

LADDER = """
name: small
data: {{train: train.jsonl, calibration: calibration.jsonl, test: test.jsonl, out_of_scope: out_of_scope}}
cloud: {{fit: {{epochs: 2}}}}
edge: {{student: bag, width: 48, augment: 200, fit: {{epochs: 4}}}}
device: {{student: bag, augment: 200, fit: {{epochs: 4}}{budget}}}
search: {{minutes: {minutes}}}
"""
DEFAULT_WIDTH, WIDE, NARROW = "bag augment 200", "bag width 256 augment 200", "bag width 64 augment 200"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    for name, rows in sample_rows().items():
        few = rows[: {"train": 1200, "calibration": 1500, "test": 300}[name]]
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in few)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def write(folder: Path, budget: str = "", minutes: float = 5) -> Path:
    path = folder / "ladder.yaml"
    path.write_text(LADDER.format(budget=budget, minutes=minutes), encoding="utf-8")
    return path


def test_the_cheapest_ladder_is_chosen_and_the_search_goes_on_where_it_was(folder: Path) -> None:
    first = build_ladder(write(folder, minutes=0.0001), Quiet())  # time for one round only
    assert first.search is not None and first.search["left"] == 2
    record = build_ladder(write(folder), Quiet())
    assert {"teach (1)", "distill-device (1)", "teach (2)"} <= set(record.cached)
    assert not {"distill-device (2)", "distill-device (3)"} & set(record.cached)
    assert record.search is not None and record.search["left"] == 0
    devices = {tried["name"]: tried for tried in record.search["tried"] if tried["tier"] == "device"}
    assert set(devices) == {DEFAULT_WIDTH, WIDE, NARROW}
    chosen = next(tried for tried in devices.values() if tried["chosen"])
    assert chosen["cost_per_1000"] == min(tried["cost_per_1000"] for tried in devices.values())
    assert record.tiers["device"]["size_bytes"] == chosen["costs"]["size_bytes"]
    assert record.tiers["device"]["latency_ms"] == chosen["costs"]["latency_ms"]  # what fits there fits here
    page = Workspace(folder).report_path(record.run).read_text(encoding="utf-8")
    assert "<h2>Search</h2>" in page and WIDE in page


def test_a_budget_keeps_out_what_does_not_fit_without_training_again(folder: Path) -> None:
    record = build_ladder(write(folder, budget=", size: 200 kB"), Quiet())
    assert {f"distill-device ({number})" for number in (1, 2, 3)} <= set(record.cached)
    assert record.search is not None
    missed = {tried["name"]: tried["missed"] for tried in record.search["tried"] if tried["tier"] == "device"}
    assert "device.size: expected at most 200,000 bytes" in missed[WIDE][0] and missed[NARROW] == []
    assert record.tiers["device"]["size_bytes"] <= 200_000


def test_a_candidate_that_cannot_be_made_is_dropped_with_the_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_wide(stages: list[Stage], spec: LadderSpec, *rest: Any) -> Any:
        if spec.device.width == 256:
            raise StageError("expected finite logits")
        return run_stages(stages, spec, *rest)

    monkeypatch.setattr("tianti.pipeline.search.run_stages", refuse_wide)
    record = build_ladder(write(folder), Quiet())
    assert record.search is not None
    assert record.search["dropped"] == [{"tier": "device", "name": WIDE, "why": "expected finite logits"}]
    assert {tried["name"] for tried in record.search["tried"] if tried["tier"] == "device"} == {DEFAULT_WIDTH, NARROW}
    page = Workspace(folder).report_path(record.run).read_text(encoding="utf-8")
    assert "dropped: expected finite logits" in page


def test_a_budget_that_nothing_meets_says_by_how_much_and_what_comes_nearest(folder: Path) -> None:
    releases = len(list(Workspace(folder).releases.iterdir()))
    told = rf"none of 3 candidates; nearest is {NARROW}: .*over\); raise the budget.*; see (.*)$"
    with pytest.raises(GateError, match=told) as caught:
        build_ladder(write(folder, budget=", size: 1 kB"), Quiet())
    page = Path(str(caught.value).rpartition("; see ")[2]).read_text(encoding="utf-8")
    assert "<h2>Search</h2>" in page and WIDE in page
    assert len(list(Workspace(folder).releases.iterdir())) == releases
