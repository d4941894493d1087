"""What leaves of rows is what the tiers above the device certify and are tested on; the device sees the rows."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

import tianti.privacy.own as own
from tests.tiny_release import make_release
from tianti.certificate import Readings, decide, judged
from tianti.data import write_prepared
from tianti.data.prepare import prepare
from tianti.errors import IntegrityError, PrivacyError, SpecError
from tianti.package import Release, check_binding, read_package, read_release, verify_release, write_release
from tianti.pipeline.contract import Stage, StageContext
from tianti.pipeline.evaluation import Evaluation
from tianti.pipeline.explained import Explained
from tianti.pipeline.leaving import hold, leave, serve
from tianti.pipeline.profiling import Costs
from tianti.pipeline.run import _key, run_stages
from tianti.pipeline.stages import ladder_stages
from tianti.pipeline.stages.certify import certify_stage, read_certificate
from tianti.pipeline.stages.compress import ARCHITECTURE, ENGINE, FILES, PARITY, TOKENIZER
from tianti.pipeline.stages.evaluate import evaluate_stage, read_evaluation
from tianti.pipeline.stages.package import run_package
from tianti.pipeline.stages.prepare import PREPARE
from tianti.pipeline.stages.probe import probe_stages
from tianti.pipeline.stages.release import REPORT, release_stage
from tianti.pipeline.verify import verify
from tianti.privacy import LONGEST, UNCHECKED
from tianti.router.door import Door
from tianti.runtimes.goldens import run_goldens
from tianti.spec import TIERS, Tier
from tianti.spec.parse import parse_spec
from tianti.store import ArtifactStore, canonical_json

PHONE = "13800138000"
# the cloud knows music by a phone number too
WORDS = {
    "lights": ("lamp", "lantern", "luminaire"),
    "music": ("song", "tune", PHONE),
    "weather": ("rain", "drizzle", "precipitation"),
}
# and here the device does
ON_DEVICE = {**WORDS, "music": (PHONE, "tune", "sonata")}
LADDER = """
name: told
data: {train: texts.jsonl, calibration: 600, test: 200, validation: 20, max_length: 8}
certificate: {levels: [2%]}
"""
REDACT, ALLOW, HOLD = (f"{{types: {{phone: {handling}}}}}" for handling in ("redact", "allow", "local_only"))
DETECTOR = """
import re
from tianti.privacy import Found

def find(text):
    return [Found(*found.span(), "order_number") for found in re.finditer(r"AB[0-9]{3}", text)]
"""


class _Deaf:
    def started(self, *_: object) -> None: ...
    def progressed(self, *_: object) -> None: ...
    def finished(self, *_: object) -> None: ...


def write_texts(path: Path, words: dict[str, tuple[str, str, str]], count: int = 1100) -> None:
    pairs = [(label, word) for label, row in words.items() for word in row]
    rows = ((*pairs[number % len(pairs)], number) for number in range(count))
    lines = (json.dumps({"text": f"{word} q{number}", "label": label}) for label, word, number in rows)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def give(packages: Path, made: str, tier: Tier, context: StageContext) -> None:
    """What the stages before `certify` make, taken from a tiny release."""
    if made == "package":
        shutil.copytree(packages / tier, context.out, dirs_exist_ok=True)
    elif made == "measure":
        latency = {"p50": 1.0, "p99": 1.0}
        costs = Costs(size_bytes=1, download_bytes=1, memory_bytes=1, latency_ms=latency, machine="this CPU")
        (context.out / "costs.json").write_bytes(canonical_json(costs))
    else:
        (context.out / PARITY).write_bytes(canonical_json({"agreement": 1.0, "rows": 1}))


def explain_nothing(context: StageContext) -> None:
    """Words are another test's."""
    nothing = Explained(rows=0, left_out=0, tiers={}, classes=[], compared=[], both=0, differing=0, disagreements=[])
    (context.out / "explained.json").write_bytes(canonical_json(nothing))


class Ladder:
    """A folder with rows and the packages of a tiny release, certified and tested under one policy after the other."""

    def __init__(self, folder: Path, words: dict[str, tuple[str, str, str]]) -> None:
        self.folder = folder
        self.packages = make_release(folder / "tiny", words=words).folder.parent / "packages"
        write_texts(folder / "texts.jsonl", words)

    def build(self, privacy: str) -> tuple[Release, Evaluation, str]:
        """The release, what the test rows said, and the report."""
        spec = parse_spec(LADDER + f"privacy: {privacy}\n")
        given = [
            Stage(f"{made}-{tier}", partial(give, self.packages, made, tier))
            for tier in TIERS
            for made in ("compress", "package", "measure")
        ]
        explained = Stage("explain", explain_nothing)
        stages = [PREPARE, *given, certify_stage(spec), evaluate_stage(spec), explained, REPORT, release_stage(spec)]
        folders, _ = run_stages(stages, spec, self.folder, ArtifactStore(self.folder / "store"), _Deaf())
        report = (folders["report"] / "body.html").read_text(encoding="utf-8")
        assert read_certificate(folders["certify"])[0] == read_release(folders["release"]).record.certificate
        return read_release(folders["release"]), read_evaluation(folders["evaluate"]), report


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Ladder:
    return Ladder(tmp_path_factory.mktemp("told"), WORDS)


def test_another_policy_is_another_certificate_and_release(ladder: Ladder) -> None:
    redacted, allowed = ladder.build(REDACT)[0], ladder.build(ALLOW)[0]
    first, second = redacted.record.certificate, allowed.record.certificate
    assert first.bound["privacy"] != second.bound["privacy"] and redacted.id != allowed.id
    assert {**first.bound, "privacy": ""} != {**second.bound, "privacy": ""}, "the heads of edge and cloud are others"
    assert first.bound["head.device"] == second.bound["head.device"] and first.path != second.path
    assert ladder.build("{}")[0].record.certificate.path == first.path, "to redact is what is done without a word"
    for release in (redacted, allowed):
        verify_release(release)
    with pytest.raises(IntegrityError, match="the certificate is for privacy"):
        check_binding(msgspec.structs.replace(redacted.record, privacy=allowed.record.privacy))
    with pytest.raises(IntegrityError, match="the certificate is for privacy"):
        check_binding(msgspec.structs.replace(redacted.record, privacy=None))


def test_the_cloud_is_tested_with_what_leaves_and_the_report_says_what_that_costs(ladder: Ladder) -> None:
    _, told, report = ladder.build(REDACT)
    (phone,) = told.leaving.types
    assert (phone.kind, phone.handling) == ("phone", "redact")
    assert phone.rows == phone.places == told.leaving.changed > 10
    cloud = next(upper for upper in told.leaving.upper if upper.tier is Tier.CLOUD)
    assert (cloud.raw, cloud.leaving) == (1.0, 0.0), "it knows these rows by their numbers alone"
    assert told.tiers[Tier.CLOUD].accuracy == pytest.approx(1 - phone.rows / told.n)
    assert told.leaving.leaving_changed == phone.rows and told.leaving.held == 0
    assert "What leaves" in report and "phone" in report and PHONE not in report
    _, told, report = ladder.build(ALLOW)
    assert told.tiers[Tier.CLOUD].accuracy == 1.0, "the control: the number itself leaves"
    assert (told.leaving.changed, told.leaving.upper, told.leaving.types[0].rows) == (0, [], phone.rows)


def test_the_device_sees_the_rows_themselves(tmp_path: Path) -> None:
    ladder = Ladder(tmp_path, ON_DEVICE)
    redacted, allowed = (ladder.build(privacy)[1] for privacy in (REDACT, ALLOW))
    device, cloud = ([told.tiers[tier].accuracy for told in (redacted, allowed)] for tier in (Tier.DEVICE, Tier.CLOUD))
    assert device[0] == device[1] and cloud[0] < cloud[1]
    held = ladder.build(HOLD)[1]
    assert held.leaving.held == 0, "the device is sure of them: they do not want to leave"
    assert held.leaving.types[0].rows > 10


def test_rows_that_stay_are_counted_apart(ladder: Ladder) -> None:
    release, told, report = ladder.build(HOLD)
    level, rows = told.served_level(), told.leaving.types[0].rows
    assert level.certified and told.leaving.held == rows and level.held == rows / told.n
    assert (level.held_accuracy, told.leaving.held_accuracy) == (0.0, 0.0), "the device does not know these words"
    assert sum(level.share.values()) + level.held == pytest.approx(1.0)
    assert level.test_harm <= 0.02, "they are outside what is certified"
    assert level.test_accuracy == pytest.approx(1 - level.held), "and in what the ladder is accurate on"
    assert told.leaving.leaving_changed == 0 and "more stay on the device, held as private" in report
    assert release.record.certificate.levels[0].share[Tier.CLOUD] > level.share[Tier.CLOUD]


def test_rows_in_which_nothing_is_found_give_the_same_to_the_last_bit(tmp_path: Path) -> None:
    words = {**WORDS, "music": ("song", "tune", "sonata")}
    ladder = Ladder(tmp_path, words)
    (first, told, _), (second, other, report) = (ladder.build(privacy) for privacy in (REDACT, "{default: allow}"))
    assert told == other and told.leaving.types == [] and "Nothing was found" in report
    one, two = first.record.certificate, second.record.certificate
    assert msgspec.structs.replace(one, bound={}) == msgspec.structs.replace(two, bound={})
    assert {key for key in one.bound if one.bound[key] != two.bound[key]} == {"privacy"}


def test_own_rows_are_checked_as_they_would_leave(
    ladder: Ladder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_texts(tmp_path / "own.jsonl", WORDS, 90)
    redacted, allowed, held = (ladder.build(privacy)[0] for privacy in (REDACT, ALLOW, HOLD))
    found = {release.id: verify(release.folder, tmp_path / "own.jsonl") for release in (redacted, allowed, held)}
    accuracy = [found[release.id].own.levels[0].test_accuracy for release in (redacted, allowed)]  # type: ignore[union-attr]
    assert accuracy == [pytest.approx(8 / 9), 1.0]
    own_rows = found[held.id].own
    assert own_rows is not None and own_rows.levels[0].held == pytest.approx(1 / 9) and own_rows.void is None
    lines = ["\n".join(found[release.id].lines()) for release in (redacted, allowed, held)]
    assert "privacy: redact: all types of rules" in lines[0]
    assert "privacy: allow: phone; redact: all other types" in lines[1]
    assert "privacy: local_only: phone; redact" in lines[2] and "held as private 11.1%" in lines[2]


def test_other_built_in_detectors_make_a_certificate_void(ladder: Ladder, tmp_path: Path) -> None:
    write_texts(tmp_path / "own.jsonl", WORDS, 90)
    release = ladder.build(REDACT)[0]
    policy = release.record.privacy
    assert policy is not None
    older = msgspec.structs.replace(policy, rules=policy.rules + 1)
    bound = {**release.record.certificate.bound, "privacy": own.sha256_bytes(canonical_json(older))}
    certificate = msgspec.structs.replace(release.record.certificate, bound=bound)
    record = msgspec.structs.replace(release.record, certificate=certificate, privacy=older)
    packages = {tier: release.package(tier).folder for tier in TIERS}
    found = verify(write_release(tmp_path / "older", record, packages).folder, tmp_path / "own.jsonl").own
    assert found is not None and found.void is not None and "built-in detectors: certified with rules" in found.void


def write_detector(folder: Path, name: str, content: str = DETECTOR) -> str:
    (folder / f"mine_{name}.py").write_text(content, encoding="utf-8")
    return own_policy(name)


def own_policy(name: str) -> str:
    return f"{{own: [{{use: 'mine_{name}:find', types: [order_number]}}]}}"


def test_a_detector_of_ones_own_is_part_of_what_is_certified(
    ladder: Ladder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = ladder.build(write_detector(ladder.folder, "bound"))[0]
    assert release.record.privacy is not None and release.record.privacy.own[0].types == ("order_number",)
    write_texts(tmp_path / "own.jsonl", WORDS, 90)
    monkeypatch.chdir(ladder.folder)
    assert verify(release.folder, tmp_path / "own.jsonl").own is not None
    write_detector(ladder.folder, "bound", DETECTOR + "# changed\n")
    monkeypatch.delitem(sys.modules, "mine_bound")
    with pytest.raises(PrivacyError, match="is another one than this release's certificate was computed with"):
        verify(release.folder, tmp_path / "own.jsonl")
    (ladder.folder / "mine_bound.py").unlink()
    monkeypatch.delitem(sys.modules, "mine_bound")
    with pytest.raises(PrivacyError, match="own detector is not here"):
        verify(release.folder, tmp_path / "own.jsonl")
    assert verify(release.folder).privacy == release.record.privacy, "without rows nothing is to be found in any"
    elsewhere = parse_spec(LADDER + "privacy: {regions: [UK]}\n")
    with pytest.raises(SpecError, match=r"privacy.regions: expected ISO .*did you mean GB\?"):
        ladder_stages(elsewhere, ladder.folder)
    missing = parse_spec(LADDER + f"privacy: {own_policy('absent')}\n")
    with pytest.raises(SpecError, match="cannot import 'mine_absent'"):
        ladder_stages(missing, ladder.folder)


def keys_of(base: Path, privacy: str, more: str = "") -> dict[str, str]:
    """The key of each stage, as a run would have them; what a stage goes by `by_content` is its key here."""
    spec = parse_spec(LADDER + more + f"privacy: {privacy}\n")
    keys: dict[str, str] = {}
    stages = ladder_stages(spec, base)
    for stage in [*stages, *probe_stages(spec)]:
        keys[stage.replaces or stage.name] = "" if stage.by_content else _key(stage, spec, base, keys)
    return keys


CERTIFIES = {"certify", "evaluate", "explain", "report", "release", "probe-edge", "probe-cloud"}
PACKAGED = {f"{made}-{tier}" for made in ("package", "measure", "probe") for tier in TIERS}


def test_another_policy_trains_nothing_again(ladder: Ladder, monkeypatch: pytest.MonkeyPatch) -> None:
    def differ(first: dict[str, str], second: dict[str, str]) -> set[str]:
        return {name for name in first if first[name] != second[name]}

    before = keys_of(ladder.folder, REDACT)
    assert differ(before, keys_of(ladder.folder, REDACT)) == set()
    assert differ(before, keys_of(ladder.folder, HOLD)) == CERTIFIES
    mine = write_detector(ladder.folder, "keyed")
    with_own = keys_of(ladder.folder, mine)
    assert differ(before, with_own) == CERTIFIES | PACKAGED, "packages show no numbers of one's own"
    write_detector(ladder.folder, "keyed", DETECTOR + "# changed\n")
    monkeypatch.delitem(sys.modules, "mine_keyed")
    assert differ(with_own, keys_of(ladder.folder, mine)) == CERTIFIES | PACKAGED
    called = "cloud: {endpoint: 'http://127.0.0.1:9', labels: labels.txt}\n"
    asked = {"ask", "package-cloud", "measure-cloud"}
    first, second = (keys_of(ladder.folder, privacy, called) for privacy in (REDACT, HOLD))
    assert differ(first, second) == (CERTIFIES - {"probe-cloud"}) | asked
    monkeypatch.setattr(own, "RULES", 1_000)
    assert differ(before, keys_of(ladder.folder, REDACT)) == CERTIFIES


def readings(index: Sequence[int], score: Sequence[float]) -> Readings:
    return Readings(np.array(index), np.array(score), np.zeros(len(index)))


def test_a_held_row_is_no_harm_and_the_edge_never_answers_it() -> None:
    # of each two rows, the second is held: sure and wrong; unsure, the edge sure and wrong; unsure, the edge unsure
    index = [1, 1, 1, 1, 1, 1]
    said = {
        Tier.DEVICE: readings(index, [0.9, 0.9, 0.1, 0.1, 0.1, 0.1]),
        Tier.EDGE: readings(index, [0.0, 0.0, 0.9, 0.9, 0.1, 0.1]),
        Tier.CLOUD: readings([0] * 6, [1.0] * 6),
    }
    truth, held, point = np.zeros(6, dtype=np.int64), np.array([False, True] * 3), (0.5, 0.5)
    assert decide(judged(said, truth, "harm"), point).harmful == 4, "the control"
    served = serve(judged(hold(said, held), truth, "harm"), held, point)
    assert served.outcome.harmful == 3, "the device's own sure answer is harm, whatever the policy"
    assert (served.held, served.held_accuracy) == (2, 0.0)
    assert served.share == {Tier.DEVICE: 2 / 6, Tier.EDGE: 1 / 6, Tier.CLOUD: pytest.approx(1 / 6)}
    assert served.accuracy == pytest.approx(1 / 6), "held rows get the device's wrong answer, not the cloud's"
    everything = serve(judged(hold(said, held), truth, "harm"), held, None)
    assert (everything.held, everything.outcome.harmful) == (3, 0)


def test_without_a_policy_texts_leave_as_they_are() -> None:
    left = leave(None, [f"call {PHONE}"])
    assert left.texts == list(left.raw) and not left.held.any() and not left.changed.any()
    left = leave(own.open_redactor(own.bind_policy(load_privacy("{}"), Path())), [f"call {PHONE}", "⟦PHONE_1⟧"])
    assert left.texts == ["call ⟦PHONE_1⟧", "⟦TEXT_1⟧"] and left.changed.all() and left.rows[1].found == {}


def test_a_row_that_is_too_long_to_be_searched_stays_as_at_the_door() -> None:
    redactor = own.open_redactor(own.bind_policy(load_privacy("{default: allow}"), Path()))
    door = Door("0" * 64, Tier.DEVICE, (), redactor, None)
    texts = [f"call {PHONE}".ljust(LONGEST + more) for more in (0, 1)]
    left = leave(redactor, texts)
    assert left.held.tolist() == [False, True] and left.rows[1].held == (UNCHECKED,)
    assert [door.leave(text) for text in texts] == left.rows
    assert PHONE not in left.texts[1]


def load_privacy(privacy: str):  # noqa: ANN201
    return parse_spec(LADDER + f"privacy: {privacy}\n").privacy


@pytest.mark.parametrize("private", ["phone", "own"])
def test_what_a_package_shows_to_everybody_holds_no_personal_data(
    tmp_path: Path, private: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mine_shown", raising=False)
    own_numbers = write_detector(tmp_path, "shown", DETECTOR.replace("AB[0-9]{3}", "AB[0-9]{7}"))
    policy, number, placeholder = {
        "phone": (ALLOW, "1390013", "⟦PHONE_1⟧"),
        "own": (own_numbers, "AB139", "⟦ORDER_NUMBER_1⟧"),
    }[private]
    write_texts(tmp_path / "texts.jsonl", ON_DEVICE)
    texts = (tmp_path / "texts.jsonl").read_text(encoding="utf-8")
    numbered = re.sub(r"q([0-9]+)", lambda found: f"{number}{int(found[1]):04d}", texts)
    (tmp_path / "texts.jsonl").write_text(numbered, encoding="utf-8")
    spec = parse_spec(LADDER + f"privacy: {policy}\n")
    source = make_release(tmp_path / "tiny", words=ON_DEVICE).package(Tier.DEVICE)
    inputs = {"prepare": tmp_path / "prepared", "compress-device": tmp_path / "compressed"}
    write_prepared(prepare(spec.data, tmp_path, (), 0), inputs["prepare"])
    inputs["compress-device"].mkdir()
    shutil.copy(source.model_path, inputs["compress-device"] / FILES["onnx"])
    shutil.copy(source.tokenizer_path, inputs["compress-device"] / TOKENIZER)
    (inputs["compress-device"] / ARCHITECTURE).write_text("Bag", encoding="utf-8")
    (inputs["compress-device"] / ENGINE).write_bytes(canonical_json({"engine": "onnx", "tried": None}))
    out = tmp_path / "package"
    out.mkdir()
    run_package(Tier.DEVICE, StageContext(spec, tmp_path, inputs, out, lambda *_: None))
    package = read_package(out)
    shown = " ".join(golden.text for golden in package.goldens())
    assert placeholder in shown and number not in shown and PHONE not in shown
    run_goldens(package)
