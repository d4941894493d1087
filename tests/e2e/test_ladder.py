"""The whole way on small real text: build, run again, ask, verify, fail a gate, use one's own stage and student."""

import json
import re
import shutil
from pathlib import Path

import msgspec
import pytest

from tianti.cli.progress import Quiet
from tianti.data.sample.generate import sample_rows
from tianti.device import load
from tianti.errors import DataError, GateError, IntegrityError, SpecError, UsageError
from tianti.package import find_release, read_release
from tianti.pipeline import RunRecord, Workspace
from tianti.pipeline.build import build_ladder
from tianti.pipeline.profiling import profile_apart
from tianti.pipeline.stages.explain import read_explained
from tianti.pipeline.verify import verify
from tianti.spec import Tier

EXAMPLES = Path(__file__).parents[2] / "examples"
LADDER = """
name: small
data: {{train: train.jsonl, calibration: calibration.jsonl, test: test.jsonl, out_of_scope: out_of_scope}}
cloud: {{fit: {{epochs: 2}}}}
edge: {{student: lstm, width: 32, augment: 500, fit: {{epochs: 1}}}}
device: {{student: {student}, width: 16, augment: 500, fit: {{epochs: 2}}{budget}}}
certificate: {{groups: [lang, label]}}
evaluate: {{slices: [lang]{gate}}}
{stages}
"""


def write_ladder(folder: Path, student: str = "bag", budget: str = "", gate: str = "", stages: str = "") -> Path:
    path = folder / "ladder.yaml"
    path.write_text(LADDER.format(student=student, budget=budget, gate=gate, stages=stages), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunRecord]:
    """A small ladder, built once: its folder and its run."""
    folder = tmp_path_factory.mktemp("small")
    for name, rows in sample_rows().items():
        few = rows[: {"train": 1500, "calibration": 1800, "test": 400}[name]]
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in few)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder, build_ladder(write_ladder(folder), Quiet())


def test_the_run_says_what_the_contract_asks(built: tuple[Path, RunRecord]) -> None:
    _, record = built
    assert set(record.tiers) == {"device", "edge", "cloud"}
    for figures in record.tiers.values():
        assert {"package", "accuracy", "accuracy_in_scope", "macro_f1", "size_bytes", "latency_ms"} <= set(figures)
        assert set(figures["latency_ms"]) == {"p50", "p99"}
    assert {"risk", "confidence", "levels"} <= set(record.certificate)
    for level in record.certificate["levels"]:
        assert {"alpha", "certified", "share", "test_n", "test_harm", "test_accuracy"} <= set(level)
        assert sum(level["share"].values()) == pytest.approx(1.0)


def test_an_unchanged_run_reuses_every_stage(built: tuple[Path, RunRecord]) -> None:
    folder, record = built
    again = build_ladder(folder / "ladder.yaml", Quiet())
    assert again.cached == [done.name for done in again.timeline]
    assert again.release == record.release


def test_the_report_opens_offline(built: tuple[Path, RunRecord]) -> None:
    folder, record = built
    page = Workspace(folder).report_path(record.run).read_text(encoding="utf-8")
    assert len(page) < 2_000_000
    assert "<svg" in page and "Certificate" in page
    loaded = (
        [part.split('"')[1] for part in page.split("src=")[1:]] + page.split("<link")[1:] + page.split("<script")[1:]
    )
    assert loaded == []


def test_the_run_explains_its_tiers_and_the_words_decide(built: tuple[Path, RunRecord]) -> None:
    folder, record = built
    key = next(done.key for done in record.timeline if done.name == "explain")
    explained = read_explained(Workspace(folder).store.get(key) or folder)
    assert set(explained.tiers) == {"device", "edge", "cloud"} and explained.compared == ["device", "cloud"]
    cloud, device = explained.tiers[Tier.CLOUD], explained.tiers[Tier.DEVICE]
    assert cloud.words.comprehensiveness > 2 * cloud.chance.comprehensiveness
    assert cloud.words.sufficiency < cloud.chance.sufficiency / 2
    assert device.gradients is not None and device.delta is not None and device.delta < 0.01
    page = Workspace(folder).report_path(record.run).read_text(encoding="utf-8")
    assert "What decides" in page and "Where device and cloud differ" in page
    assert all(of.words for of in explained.classes) and explained.classes[0].words[0][0] in page


def test_the_risk_within_groups_is_bounded_and_said(built: tuple[Path, RunRecord]) -> None:
    folder, record = built
    release = read_release(Workspace(folder).releases / record.release)
    groups = release.record.certificate.groups
    languages = [group for group in groups if group.column == "lang"]
    assert {"en", "zh"} <= {group.value for group in languages}
    assert sum(group.n for group in languages) == release.record.certificate.n
    assert {group.value for group in groups if group.column == "label"} > set(release.record.labels)  # and strangers
    assert any(line.startswith("  within lang = zh") for line in verify(release.folder).lines())
    assert "Risk within groups" in Workspace(folder).report_path(record.run).read_text(encoding="utf-8")


def test_the_device_answers_and_its_goldens_hold(built: tuple[Path, RunRecord]) -> None:
    from tianti.package import read_release
    from tianti.runtimes.onnx import OnnxRuntime
    from tianti.spec import TIERS

    folder, record = built
    release = Workspace(folder).releases / record.release
    with load(release) as ladder:
        answer = ladder.predict("please set an alarm for seven")
        assert answer.tier == "device" and answer.package == record.tiers["device"]["package"]
    for tier in TIERS:
        package = read_release(release).package(tier)
        runtime = OnnxRuntime(package)
        for golden in package.goldens():
            logits = dict(zip(runtime.labels, runtime.run(golden.text).logits.tolist(), strict=True))
            assert max(logits, key=logits.__getitem__) == golden.label
            for label, expected in golden.top.items():
                assert logits[label] == pytest.approx(expected, abs=golden.tolerance)


def test_what_a_tier_costs_is_measured_in_a_process_of_its_own(built: tuple[Path, RunRecord]) -> None:
    _, record = built
    device, cloud = record.tiers["device"], record.tiers["cloud"]
    assert 0 < device["download_bytes"] < device["size_bytes"]
    assert cloud["download_bytes"] is None
    assert 20e6 < device["memory_bytes"] < 200e6  # Python and the engine; with torch it would be more than twice that
    assert device["machine"] == "this CPU"


def test_every_budget_says_by_how_much_it_is_missed(built: tuple[Path, RunRecord]) -> None:
    folder, _ = built
    budget = ", size: 1 kB, download: 1 kB, memory: 1 MB, latency: 1 us"
    with pytest.raises(GateError) as missed:
        build_ladder(write_ladder(folder, budget=budget), Quiet())
    for name in ("size", "download", "memory"):
        assert re.search(
            rf"device\.{name}: expected at most [\d,]+ bytes, got [\d,]+ \([\d,]+ over\)", str(missed.value)
        )
    assert "device.latency: expected at most 0.001 ms on this CPU" in str(missed.value)


def test_a_profile_makes_latency_mean_another_machine(built: tuple[Path, RunRecord]) -> None:
    folder, record = built
    package = Workspace(folder).releases / record.release / "packages" / "device"
    there = msgspec.structs.replace(profile_apart(package), machine="a slow board")
    slow = {name: took * 100 for name, took in there.latency_ms.items()}
    (folder / "board.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(there, latency_ms=slow)))
    slower = build_ladder(write_ladder(folder, budget=", profile: board.json"), Quiet())
    assert slower.tiers["device"]["machine"] == "a slow board"
    assert slower.tiers["device"]["latency_ms"]["p50"] > 10 * record.tiers["device"]["latency_ms"]["p50"]
    assert slower.tiers["cloud"]["machine"] == "this CPU"
    with pytest.raises(GateError, match="on a slow board"):
        build_ladder(write_ladder(folder, budget=", profile: board.json, latency: 1 us"), Quiet())

    (folder / "board.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(there, package="0" * 64)))
    with pytest.raises(SpecError, match="is of package 000000000000, which"):
        build_ladder(write_ladder(folder, budget=", profile: board.json"), Quiet())
    (folder / "board.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(there, texts=1)))
    with pytest.raises(SpecError, match="is of 1 texts, expected the package's own"):
        build_ladder(write_ladder(folder, budget=", profile: board.json"), Quiet())


def test_verify_recomputes_and_a_changed_claim_is_found(built: tuple[Path, RunRecord], tmp_path: Path) -> None:
    folder, record = built
    release = Workspace(folder).releases / record.release
    findings = verify(release, folder / "test.jsonl")
    assert findings.own is not None and findings.own.n == 400 and findings.own.void is None
    forged = tmp_path / "forged"
    shutil.copytree(release, forged)
    content = json.loads((forged / "release.json").read_bytes())
    content["certificate"]["levels"][0]["point"] = len(content["certificate"]["path"]) - 1
    (forged / "release.json").unlink()  # it may be a link to the workspace's own
    (forged / "release.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(IntegrityError, match="does not follow from its own counts"):
        verify(forged)
    identity = tmp_path / "releases" / record.release
    shutil.copytree(forged, identity)
    with pytest.raises(IntegrityError, match=r"release\.json was changed"):
        find_release(record.release, tmp_path / "releases")


def test_verify_needs_every_tier_for_own_rows(built: tuple[Path, RunRecord], tmp_path: Path) -> None:
    folder, record = built
    partial = tmp_path / "partial"
    shutil.copytree(Workspace(folder).releases / record.release, partial)
    content = json.loads((partial / "release.json").read_bytes())
    for part in ("packages", "heads"):
        del content[part]["edge"]
    (partial / "release.json").unlink()
    (partial / "release.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UsageError, match="no package of edge"):
        verify(partial, folder / "test.jsonl")


def test_verify_refuses_labels_that_the_release_does_not_know(built: tuple[Path, RunRecord]) -> None:
    """The cloud would be wrong on each such row, so that nothing below it could be harmful."""
    folder, record = built
    with pytest.raises(DataError, match="label 'en' is not one of the release's"):
        verify(Workspace(folder).releases / record.release, folder / "test.jsonl", label="lang")


def test_a_certificate_is_void_for_other_traffic(built: tuple[Path, RunRecord], tmp_path: Path) -> None:
    """Negative control: the same rows, but a third of them out of scope."""
    folder, record = built
    lines = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()[:200]
    strange = [json.dumps({"text": f"a question about topic {i}", "label": "out_of_scope"}) for i in range(100)]
    (tmp_path / "other.jsonl").write_text("\n".join(lines + strange), encoding="utf-8")
    findings = verify(Workspace(folder).releases / record.release, tmp_path / "other.jsonl")
    assert findings.own is not None and findings.own.void is not None
    assert "assumed" in findings.own.void and "seen" in findings.own.void


def test_a_missed_gate_or_budget_releases_nothing_and_says_by_how_much(built: tuple[Path, RunRecord]) -> None:
    folder, _ = built
    latest = (folder / ".tianti" / "releases" / "latest").read_text(encoding="utf-8")
    for wanted, said in (({"gate": ", min_accuracy: 99.9%"}, "short"), ({"budget": ", size: 1 kB"}, "over")):
        with pytest.raises(GateError, match=said) as caught:
            build_ladder(write_ladder(folder, **wanted), Quiet())
        assert "report.html" in str(caught.value)
    assert (folder / ".tianti" / "releases" / "latest").read_text(encoding="utf-8") == latest


def test_gc_keeps_what_the_last_runs_use(built: tuple[Path, RunRecord]) -> None:
    folder, record = built
    again = build_ladder(write_ladder(folder), Quiet())
    workspace = Workspace(folder)
    workspace.collect(keep_runs=1)
    assert [run.run for run in workspace.runs()] == [again.run]
    assert set(workspace.store.keys()) == {done.key for done in again.timeline}
    assert (workspace.releases / record.release / "release.json").is_file()
    assert build_ladder(folder / "ladder.yaml", Quiet()).cached == [done.name for done in again.timeline]


def test_a_stage_and_a_student_of_ones_own(built: tuple[Path, RunRecord]) -> None:
    folder, record = built
    for example in EXAMPLES.glob("own_*.py"):
        shutil.copy(example, folder)
    stages = 'stages: [{use: "own_stage:drop_short", after: prepare}]'
    own = build_ladder(write_ladder(folder, student='"own_student:build"', stages=stages), Quiet())
    assert "prepare+own_stage.drop_short" in [done.name for done in own.timeline]
    assert own.tiers["device"]["package"] != record.tiers["device"]["package"]


@pytest.mark.parametrize("risk", ["disagree", "net"])
def test_another_risk_is_certified_measured_and_verified(built: tuple[Path, RunRecord], risk: str) -> None:
    folder, harm = built
    path = write_ladder(folder, stages=f"certificate: {{risk: {risk}, levels: [2%, 5%]}}")
    record = build_ladder(path, Quiet())
    release = Workspace(folder).releases / record.release
    certificate = read_release(release).record.certificate
    assert (record.certificate["risk"], certificate.risk) == (risk, risk)
    assert record.release != harm.release
    level = record.certificate["levels"][-1]
    assert level["certified"] and level["share"]["cloud"] < 1
    compared = level["test_risk"] - level["test_harm"]
    assert compared >= 0 if risk == "disagree" else compared <= 0
    found = verify(release, folder / "test.jsonl")
    assert f"({risk}, 95% confidence, all together)" in "\n".join(found.lines())
    assert found.own is not None and found.own.levels[-1].test_risk == level["test_risk"]
    page = Workspace(folder).report_path(record.run).read_text(encoding="utf-8")
    assert f"{risk} on test" in page


def test_hints_know_the_texts_that_the_release_was_made_for(built: tuple[Path, RunRecord]) -> None:
    folder, record = built
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()]

    def shift(texts: list[str]) -> tuple[float, float]:
        with load(Workspace(folder).releases / record.release) as ladder:
            ladder.predict_many(texts)
            hints = ladder.status().hints
        assert hints is not None and hints.score_shift is not None and hints.answers == len(texts)
        return hints.score_shift, hints.unknown_share - hints.usual_unknown_share

    usual = shift([row["text"] for row in rows])
    strange = shift([f"zq{number} xv{number * 7} 龘{number}" for number in range(300)])
    assert usual[0] < 0.2 < strange[0]
    assert abs(usual[1]) < 0.05
