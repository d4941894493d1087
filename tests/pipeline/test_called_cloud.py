"""A cloud that is only called: it labels, certifies and answers; nothing is paid twice; a changed one is found out."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoint_server import EndpointServer, fails, send, slow
from tests.tiny_release import WORDS, make_release
from tianti.cli.progress import Quiet
from tianti.data import read_prepared, text_key
from tianti.device import load
from tianti.errors import (
    DataError,
    IntegrityError,
    PackageError,
    RefusedError,
    SpecError,
    StageError,
    UsageError,
)
from tianti.package import read_release
from tianti.pipeline import RunRecord, Workspace, asking
from tianti.pipeline.build import build_ladder
from tianti.pipeline.run import run_stages
from tianti.pipeline.stages.ask import ASK, LABEL, read_answers
from tianti.pipeline.stages.prepare import PREPARE
from tianti.pipeline.verify import verify
from tianti.privacy import redactor
from tianti.serving.local import local_node
from tianti.spec import Reason, Role, Tier
from tianti.spec.parse import load_spec

FILLERS = ("please", "now", "the", "again", "tomorrow", "kindly")
# of which the device is not sure of one at least
DOUBTFUL = ("zzz yyy sonata", "lamp sonata", "song rain drizzle", "tune lantern", "zzz yyy", "rain lamp song")
LADDER = """
name: called
data: {{train: texts.jsonl, {label}, calibration: {calibration}, test: 100, max_length: 8}}
cloud: {{endpoint: "{url}", {more}labels: labels.txt, fit: {{epochs: 1}}}}
edge: null
device: {{student: bag, width: 16, augment: 200, fit: {{epochs: 6}}}}
certificate: {{levels: [2%]}}
"""


def write_texts(folder: Path, count: int = 600) -> list[str]:
    words = [(label, word) for label, row in WORDS.items() for word in row]
    rows = []
    for number in range(count):
        label, word = words[number % len(words)]
        fillers = FILLERS[number // 9 % 6], FILLERS[number // 54 % 6]
        rows.append({"text": f"{fillers[0]} {word} {fillers[1]} {number}", "label": label})
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "labels.txt").write_text("\n".join(WORDS), encoding="utf-8")
    return [str(row["text"]) for row in rows]


def write_ladder(
    folder: Path, server: EndpointServer, label: str = "label: null", more: str = "", calibration: int = 200
) -> Path:
    path = folder / "ladder.yaml"
    content = LADDER.format(url=server.url, label=label, more=more, calibration=calibration)
    path.write_text(content, encoding="utf-8")
    return path


class _Deaf:
    """Hears what stages say, and does nothing."""

    def started(self, *_: object) -> None: ...
    def progressed(self, *_: object) -> None: ...
    def finished(self, *_: object) -> None: ...


def ask(ladder: Path) -> dict[str, Path]:
    """Only the stages up to the asking; the folder of each."""
    return run_stages([PREPARE, ASK, LABEL], load_spec(ladder), ladder.parent, Workspace(ladder.parent).store, _Deaf())[
        0
    ]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("big")).folder / "packages" / "cloud"


@pytest.fixture
def server(package: Path) -> Iterator[EndpointServer]:
    with EndpointServer(package, "text") as running:
        yield running


class Built:
    """A ladder without labels and without an edge, built once."""

    def __init__(self, folder: Path, server: EndpointServer) -> None:
        self.folder, self.server = folder, server
        self.texts = write_texts(folder, 1800)
        self.record: RunRecord = build_ladder(write_ladder(folder, server, calibration=900), Quiet())
        self.asked = server.asked.copy()
        self.release = Workspace(folder).releases / self.record.release
        with load(self.release) as alone:
            doubtful = (text for text in DOUBTFUL if alone.predict(text).decision.reason is not Reason.SCORE)
            self.unsure = next(doubtful)
        self.unsure_label = server.runtime.labels[int(server.runtime.run(self.unsure).logits.argmax())]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[Built]:
    with EndpointServer(package, "text") as running:
        yield Built(tmp_path_factory.mktemp("called"), running)


def test_unlabelled_texts_become_a_ladder_below_the_called_cloud(built: Built) -> None:
    record = built.record
    assert sorted(record.tiers) == ["cloud", "device"]
    assert record.certificate["risk"] == "disagree"
    assert record.tiers["cloud"]["accuracy"] == 1.0  # its own labels
    assert built.asked.total() == len(built.texts) + 1  # and one to find out how it speaks
    with load(built.release, upstream="cloud", audits=0.0, deadline_ms=5000) as ladder:
        answers = [ladder.predict(text) for text in (*built.texts[:100], built.unsure)]
    assert all(answer.decision.certified and not answer.decision.degraded for answer in answers)
    assert {answer.tier for answer in answers} == {Tier.DEVICE, Tier.CLOUD}
    called = answers[-1]
    assert (called.label, called.tier) == (built.unsure_label, Tier.CLOUD)
    assert called.package == record.tiers["cloud"]["package"]
    assert list(called.decision.tiers_tried) == ["device", "cloud"]


def test_the_report_and_the_check_say_that_it_is_called(built: Built) -> None:
    assert any("big@7, and not by a hash" in line for line in verify(built.release).lines())
    page = Workspace(built.folder).report_path(built.record.run).read_text(encoding="utf-8")
    assert "the cloud was called over the network" in page and "<th>edge</th>" not in page
    assert "accuracy means agreement with the cloud" in page


def test_another_student_of_the_same_answers_asks_nothing(built: Built) -> None:
    before = built.server.asked.total()
    other = (built.folder / "ladder.yaml").read_text(encoding="utf-8").replace("width: 16", "width: 8")
    (built.folder / "ladder.yaml").write_text(other, encoding="utf-8")
    assert build_ladder(built.folder / "ladder.yaml", Quiet()).release != built.record.release
    assert built.server.asked.total() == before


def test_a_version_that_is_gone_is_an_outage_and_is_said(built: Built) -> None:
    built.server.version = "8"
    try:
        with load(built.release, upstream="cloud", audits=0.0, deadline_ms=5000) as ladder:
            answer = ladder.predict(built.unsure)
        assert answer.tier == "device" and answer.decision.degraded and not answer.decision.certified
        assert any("NOT ASKED" in line for line in verify(built.release).lines())
    finally:
        built.server.version = "7"


def test_a_model_that_changed_behind_its_name_is_found_out(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    def turned(text: str):  # noqa: ANN202
        said = original(text)
        return said._replace(logits=said.logits[::-1].copy())

    original = built.server.runtime.run
    monkeypatch.setattr(built.server.runtime, "run", turned)
    with pytest.raises(IntegrityError, match="serves another model"):
        verify(built.release)


def test_an_answer_of_another_version_is_not_certified(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    original = built.server._oip
    monkeypatch.setattr(built.server, "_oip", lambda logits: original(logits) | {"model_version": "8"})
    with load(built.release, upstream="cloud", audits=0.0, deadline_ms=5000) as ladder:
        answer = ladder.predict(built.unsure)
    assert answer.tier == "cloud" and not answer.decision.certified


def test_nodes_hand_up_to_the_called_cloud_wherever_it_is(built: Built, package: Path) -> None:
    before = built.server.asked.total()
    with (
        EndpointServer(package, "text") as moved,
        local_node(Tier.DEVICE, built.release, [f"cloud={moved.url}"]) as url,
        load(built.release, upstream=url, audits=0.0, deadline_ms=5000) as ladder,
    ):
        assert ladder.predict(built.unsure).tier == "cloud"
        assert moved.asked[built.unsure] == 1
    assert built.server.asked.total() == before


def test_up_runs_what_there_is_to_run(built: Built) -> None:
    code = (
        "import sys; from pathlib import Path; from tianti.serving.local import run_all;"
        "run_all(Path(sys.argv[1]), 0, lambda line: print(line, flush=True))"
    )
    command = [sys.executable, "-c", code, str(built.release)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        cloud, device = (process.stdout.readline().split() for _ in range(2))
        try:
            assert cloud[:2] == ["cloud", built.server.url] and device[0] == "device"
            with load(built.release, upstream=device[1], audits=0.0, deadline_ms=5000) as ladder:
                assert ladder.predict(built.unsure).tier is Tier.CLOUD
        finally:
            process.send_signal(signal.SIGINT)


def test_own_rows_are_checked_against_the_called_cloud(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built.folder)
    found = verify(built.release, built.folder / "texts.jsonl").own
    assert found is not None and found.n == len(built.texts)
    assert found.levels[0].test_risk <= 0.02


def test_a_called_cloud_is_no_node_and_a_held_one_is_not_called(built: Built, tiny_release: Path) -> None:
    with pytest.raises(PackageError, match="run by a node, not called"):
        load(tiny_release, upstream="cloud")
    assert read_release(built.release).package(Tier.CLOUD).endpoint() is not None
    with pytest.raises(PackageError, match="names a server and holds no model"):
        load(built.release, tier=Tier.CLOUD)
    with pytest.raises(UsageError, match="expected a package of tier edge"):
        load(built.release, tier=Tier.EDGE)


def test_calls_are_a_limit_and_what_is_left_out_is_said(tmp_path: Path, server: EndpointServer) -> None:
    write_texts(tmp_path)
    folders = ask(write_ladder(tmp_path, server, more="calls: 400, "))
    assert 390 <= server.asked.total() <= 400
    prepared = read_prepared(folders["prepare"])
    assert sum(map(len, prepared.rows.values())) == server.asked.total() - 1
    assert any("of 600 texts have no answer" in warning for warning in prepared.report.warnings)


def test_labelled_rows_are_asked_only_where_they_measure(tmp_path: Path, server: EndpointServer) -> None:
    write_texts(tmp_path)
    prepared = read_prepared(ask(write_ladder(tmp_path, server, "label: label"))["prepare"])
    measured = [row.text for role in (Role.TUNING, Role.CERTIFY, Role.TEST) for row in prepared.rows[role]]
    assert len(measured) == 300
    assert set(measured) <= set(server.asked) and server.asked.total() == 301
    with pytest.raises(SpecError, match="expected 301 or more for calibration and test rows, got 300"):
        ask(write_ladder(tmp_path, server, "label: label", "calls: 300, "))


def test_a_server_that_stops_costs_nothing_twice(
    tmp_path: Path, server: EndpointServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_LONGEST_WAIT_S", 0.001)
    texts = write_texts(tmp_path)
    ladder = write_ladder(tmp_path, server)
    server.fault = fails(200)
    with pytest.raises(StageError, match=r"of 600 texts are answered, and kept; run again to go on"):
        ask(ladder)
    server.fault = fails(10**9)
    ask(ladder)
    assert set(texts) <= set(server.asked)
    assert server.asked.total() <= len(texts) + 2  # the example, in both runs


def test_kill_9_loses_at_most_what_was_under_way(tmp_path: Path, server: EndpointServer) -> None:
    texts = write_texts(tmp_path)
    ladder = write_ladder(tmp_path, server)
    server.fault = slow(0.02)
    command = [sys.executable, "-m", "tianti", "run", str(ladder), "--json"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while server.asked.total() < 100 and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 100 <= server.asked.total() < len(texts)
    server.fault = slow(0.0)
    ask(ladder)
    assert server.asked.total() <= len(texts) + 2 + asking.IN_FLIGHT


def test_single_refused_texts_are_left_out_and_many_are_an_error(tmp_path: Path, server: EndpointServer) -> None:
    def refusing(every: int):  # noqa: ANN202
        seen = []

        def fault(handler, number: int) -> bool:  # noqa: ANN001
            seen.append(number)
            if len(seen) % every == 0:
                send(handler, 400, {"error": "content policy"})
            return len(seen) % every == 0

        return fault

    texts = write_texts(tmp_path)
    server.fault = refusing(150)
    folders = ask(write_ladder(tmp_path, server))
    assert len(read_answers(folders["ask"])) == len(texts) - 4
    before = server.asked.total()
    ask(write_ladder(tmp_path, server, more="calls: 100000, "))  # the same texts are not asked again, refused or not
    assert server.asked.total() == before + 1
    (tmp_path / "other").mkdir()
    write_texts(tmp_path / "other", 599)
    server.fault = refusing(3)
    with pytest.raises(StageError, match="refuses"):
        ask(write_ladder(tmp_path / "other", server, more="version: '7', "))


def test_texts_that_all_get_one_label_are_an_error(tmp_path: Path, server: EndpointServer) -> None:
    lines = (json.dumps({"text": f"sonata {number}"}) + "\n" for number in range(500))
    (tmp_path / "texts.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "labels.txt").write_text("\n".join(WORDS), encoding="utf-8")
    with pytest.raises(DataError, match="expected the cloud to give two labels or more"):
        ask(write_ladder(tmp_path, server))


def test_a_key_that_is_refused_blames_no_text(tmp_path: Path, server: EndpointServer) -> None:
    texts = write_texts(tmp_path)
    ladder = write_ladder(tmp_path, server)
    server.fault = fails(200, status=401)
    with pytest.raises(StageError, match="answered 401: told to"):
        ask(ladder)
    server.fault = fails(10**9)
    assert len(read_answers(ask(ladder)["ask"])) == len(texts)


def test_another_version_in_the_middle_ends_the_asking(tmp_path: Path, server: EndpointServer) -> None:
    write_texts(tmp_path)
    original = server._oip
    server._oip = lambda logits: original(logits) | {"model_version": "7" if server.asked.total() < 100 else "8"}
    with pytest.raises(StageError, match="expected answers of version 7, got one of 8"):
        ask(write_ladder(tmp_path, server))


def test_kept_answers_are_not_mixed_with_those_of_a_changed_model(tmp_path: Path, server: EndpointServer) -> None:
    texts = write_texts(tmp_path)
    server.version = None
    ask(write_ladder(tmp_path, server, more="calls: 300, "))
    ask(write_ladder(tmp_path, server, more="calls: 400, "))  # the control: the same model goes on
    original = server.runtime.run
    server.runtime.run = lambda text: original(text)._replace(logits=original(text).logits[::-1].copy())
    try:
        with pytest.raises(StageError, match="answers otherwise than before"):
            ask(write_ladder(tmp_path, server, more=f"calls: {len(texts) + 1}, "))
    finally:
        server.runtime.run = original


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("Lights\nMusic\nWeather", "did you mean '(lights|music|weather)'"),
        ("music\nweather\nlights", "order of cloud.labels"),
        ("music\nlights\nweather", "order of cloud.labels"),  # two of three are wrong
        ("lights\nlights\nmusic", "different label in each line"),
        ("lights\n\nmusic\nweather", "different label in each line"),
    ],
)
def test_wrong_labels_are_found_out(tmp_path: Path, server: EndpointServer, labels: str, message: str) -> None:
    """A cloud that is never right could not be harmed, and all would be certified."""
    write_texts(tmp_path)
    (tmp_path / "labels.txt").write_text(labels, encoding="utf-8")
    with pytest.raises(SpecError, match=message):
        ask(write_ladder(tmp_path, server, "label: label"))


def test_a_secret_is_nowhere_in_the_workspace_whatever_goes_wrong(
    tmp_path: Path, server: EndpointServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_texts(tmp_path)
    ladder = write_ladder(tmp_path, server, more="key_env: BIG_KEY, ")
    for key, failure in (("S3CRET\n", None), ("S3CRET\x01", "no header can hold"), ("S3CRET", "told to")):
        monkeypatch.setenv("BIG_KEY", key)
        server.fault = fails(0, status=401) if failure == "told to" else fails(10**9)
        if failure is None:
            ask(ladder)
            assert "Bearer S3CRET" in server.headers
            write_texts(tmp_path, 599)  # other texts, to be asked again
            continue
        with pytest.raises((UsageError, StageError, RefusedError), match=failure) as caught:
            build_ladder(ladder, Quiet())
        assert "S3CRET" not in str(caught.value)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files and not any(b"S3CRET" in file.read_bytes() for file in files)


def test_a_refused_text_takes_nothing_from_the_next_ones(built: Built) -> None:
    def refuse_one(handler, _number: int) -> bool:  # noqa: ANN001
        send(handler, 400, {"error": "content policy"})
        return True

    with load(built.release, upstream="cloud", audits=0.0, deadline_ms=5000) as ladder:
        assert ladder.predict(built.unsure).tier is Tier.CLOUD
        built.server.fault = refuse_one
        calls = len(built.server.headers)
        refused = [ladder.predict(built.unsure) for _ in range(5)]
        assert len(built.server.headers) == calls + 5  # asked once each
        built.server.fault = fails(10**9)
        assert ladder.predict(built.unsure).tier is Tier.CLOUD
    assert all(answer.decision.degraded and answer.tier is Tier.DEVICE for answer in refused)


def test_too_few_calls_are_an_error(tmp_path: Path, server: EndpointServer) -> None:
    write_texts(tmp_path)
    with pytest.raises(SpecError, match="allow more"):
        ask(write_ladder(tmp_path, server, more="calls: 1, "))


PHONES = ("13800138000", "13900139000", "021-64371234")
PRIVATE = "privacy: {types: {phone: redact, email: local_only}}\n"


def write_private_texts(folder: Path) -> None:
    """Texts of which every third has a phone number or an address, and every ninth would leave as another does."""
    write_texts(folder, 450)
    rows = [json.loads(line) for line in (folder / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        if number % 9 == 0:
            row["text"] = f"lamp 1380013{number:04d}"  # all of them alike when they leave
        elif number % 3 == 0:
            row["text"] += f" {PHONES[number % 2]} joe{number}@example.org"
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("label", ["label: null", "label: label"])
def test_the_cloud_is_told_what_leaves_and_no_more(tmp_path: Path, server: EndpointServer, label: str) -> None:
    write_private_texts(tmp_path)
    ladder = write_ladder(tmp_path, server, label)
    ladder.write_text(ladder.read_text(encoding="utf-8") + PRIVATE, encoding="utf-8")
    folders = ask(ladder)
    told = "\n".join(server.asked)
    assert "1380013" not in told and "@" not in told and not any(phone in told for phone in PHONES)
    assert "⟦PHONE_1⟧" in told and "⟦EMAIL_1⟧" in told
    assert server.asked["lamp ⟦PHONE_1⟧"] <= 2, "those of which the same leaves are asked once, or are the example too"
    rows = read_prepared(folders["prepare"]).rows
    answers = read_answers(folders["ask"])
    assert all(text_key(row.text) in answers for role in (Role.TUNING, Role.CERTIFY, Role.TEST) for row in rows[role])
    alike = [row for role in rows for row in rows[role] if row.text.startswith("lamp 1380013")]
    assert len(alike) > 30 and {row.label for row in alike} == {"lights"}, "and each has the answer"
    allowed = ladder.read_text(encoding="utf-8").replace(PRIVATE, "privacy: {default: allow}\n")
    ladder.write_text(allowed, encoding="utf-8")
    ask(ladder)
    told = "\n".join(server.asked)
    assert "1380013" in told and "@example.org" in told, "the control"
    release = Workspace(tmp_path).releases / build_ladder(ladder, Quiet()).release
    goldens = read_release(release).package(Tier.CLOUD).goldens()
    assert goldens and not any("1380013" in golden.text or "@" in golden.text for golden in goldens)


def test_what_cannot_be_searched_is_not_asked_about(
    tmp_path: Path, server: EndpointServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = write_texts(tmp_path)
    longest = sorted(map(len, texts))[-20]
    monkeypatch.setattr(redactor, "LONGEST", longest)
    folders = ask(write_ladder(tmp_path, server))
    short = [text for text in texts if len(text) <= longest]
    assert len(short) < len(texts)
    assert read_answers(folders["ask"]).keys() == set(map(text_key, short))
    assert "" not in server.asked and max(map(len, server.asked)) == longest


def test_another_policy_asks_anew_what_leaves_otherwise_and_trains_nothing(
    tmp_path: Path, server: EndpointServer
) -> None:
    write_private_texts(tmp_path)
    ladder = write_ladder(tmp_path, server, "label: label")
    first = build_ladder(ladder, Quiet())
    asked = server.asked.copy()
    ladder.write_text(ladder.read_text(encoding="utf-8") + PRIVATE, encoding="utf-8")
    second = build_ladder(ladder, Quiet())
    assert server.asked.total() == asked.total() + 1, "held or replaced, the same is asked"
    trained = {"prepare", "teach", "lessons", "distill-device", "compress-device", "package-device", "measure-device"}
    assert trained <= set(second.cached) and "certify" not in second.cached
    releases = [read_release(Workspace(tmp_path).releases / record.release) for record in (first, second)]
    bound = [release.record.certificate.bound for release in releases]
    assert {key for key in bound[0] if bound[0][key] != bound[1][key]} == {"privacy"}
    goldens = releases[1].package(Tier.CLOUD).goldens()
    assert any("⟦" in golden.text for golden in goldens) and not any("@" in golden.text for golden in goldens)
    assert verify(releases[1].folder).called is not None
