"""`tianti privacy scan` as a privacy officer and programs see it."""

import io
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_release import make_release
from tianti.cli.main import run_cli
from tianti.device import load
from tianti.privacy import bind_policy
from tianti.serving.local import local_node
from tianti.spec import Tier
from tianti.spec.privacy import PrivacySpec

PHONE, CARD = "13812345678", "110101199003071233"
LADDER = "name: x\ndata: {train: x.csv, text: 内容}\nprivacy: {types: {phone: allow, id_card: local_only}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = f"编号,内容\n1,lamp\n2,lantern {PHONE}\n3,身份证{CARD}\n4,[lamp] {PHONE}\n"
    (tmp_path / "customers.csv").write_bytes(rows.encode("gb18030"))
    (tmp_path / "ladder.yaml").write_text(LADDER, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exited:
        patch.setattr(sys, "argv", ["tianti", "privacy", "scan", *arguments])
        run_cli()
    return int(exited.value.code or 0)


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


TABLE = ("customers.csv", "--text", "内容", "--encoding", "gb18030")


def test_people_get_tables_and_sentences_and_no_value(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TABLE) == 0
    said, noise = capsys.readouterr()
    assert "customers.csv: 4 texts" in said and "placeholder" in said and "not found: api_key" in said
    assert said.index("if every text had to leave") < said.index("phone") < said.index("- Placeholders would stand in")
    assert PHONE[:3] not in said and CARD[:3] not in said and "lamp" not in said and noise == ""


def test_examples_show_two_characters(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TABLE, "--examples") == 0
    said = capsys.readouterr().out
    assert "phone: 13* in row 2, 13* in row 4" in said and PHONE[:3] not in said


def test_a_ladders_policy_and_column_are_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("customers.csv", "--encoding", "gb18030", "--ladder", "ladder.yaml", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "tianti.scan/1" and found["policy_of"] == "ladder.yaml"
    assert found["fates"] == {"nothing": 1, "readable": 2, "replaced": 0, "held": 1}
    assert [kind["type"] for kind in found["types"]] == ["phone", "id_card"]
    assert found["climbing"] is None and "readable" in found["risks"][0]


@pytest.mark.parametrize("guarded", [True, False])
def test_a_release_says_which_texts_would_climb(
    folder: Path, capsys: pytest.CaptureFixture[str], guarded: bool
) -> None:
    policy = bind_policy(PrivacySpec(types={"id_card": "local_only"}), folder) if guarded else None
    release = make_release(folder / "made", privacy=policy)
    assert run(*TABLE, "--release", str(release.folder), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    with load(release.folder) as ladder:  # nobody is above: what would climb says so
        texts = ["lamp", f"lantern {PHONE}", f"身份证{CARD}", f"[lamp] {PHONE}"]
        climbing = [answer.decision.reason == "no_upstream" for answer in ladder.predict_many(texts)]
    assert 0 < sum(climbing) < 4 and sum(found["climbing"].values()) == sum(climbing)
    assert found["fates"]["held" if guarded else "readable"] == (1 if guarded else 3)
    assert run(*TABLE, "--release", str(release.folder)) == 0
    assert "of which climb" in capsys.readouterr().out


def test_the_scan_foretells_what_a_device_lets_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its fates and types of the texts that climb are those of the egress log of a device that asks a real edge."""
    policy = bind_policy(PrivacySpec(types={"id_card": "local_only", "email": "allow"}), folder)
    release = make_release(folder / "made", privacy=policy).folder
    texts = [
        "lamp",
        f"lamp {PHONE}",
        f"lantern {PHONE}",
        f"tune {CARD} {PHONE}",
        "tune a@b.com",
        f"rain {CARD}",
        "tune",
    ]
    texts += [f"drizzle {PHONE} {PHONE} a@b.com", ""]
    (folder / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    assert run("texts.txt", "--release", str(release), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    with (
        local_node(Tier.EDGE, release) as edge,
        load(release, upstream=[edge], audits=0.0, deadline_ms=20_000, egress=folder / "egress.jsonl") as ladder,
    ):
        ladder.predict_many(texts)
    lines = [json.loads(line) for line in (folder / "egress.jsonl").read_text(encoding="utf-8").splitlines()]
    fates = Counter(_fate(line) for line in lines)
    assert {name: count for name, count in found["climbing"].items() if count} == fates
    assert {kind["type"]: kind["climbing"] for kind in found["types"]} == Counter(
        k for line in lines for k in line["found"]
    )
    assert found["fates"] != found["climbing"] and set(fates) == {"nothing", "readable", "replaced", "held"}


def _fate(line: dict[str, Any]) -> str:
    if line["held"]:
        return "held"
    return "replaced" if line["replaced"] else "readable" if line["found"] else "nothing"


def test_what_a_node_would_refuse_does_not_climb(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = make_release(folder / "made")
    pipe(monkeypatch, b"lantern\n" + b"lantern " * 200_000)
    assert run("-", "--release", str(release.folder), "--json") == 0
    assert sum(json.loads(capsys.readouterr().out)["climbing"].values()) == 1


def test_lines_and_standard_input_are_texts(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "lines.txt").write_text(f"lamp\r\n\n{PHONE}\n", encoding="utf-8", newline="")
    assert run("lines.txt", "--json") == 0
    from_file = json.loads(capsys.readouterr().out)
    pipe(monkeypatch, f"lamp\r\n\n{PHONE}\n".encode())
    assert run("-", "--json") == 0
    from_input = json.loads(capsys.readouterr().out)
    assert from_file["types"] == from_input["types"] and from_file["types"][0]["first_rows"] == [3]
    assert (from_file["rows"], from_input["rows"], from_input["empty"]) == (3, 3, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nothere.csv",), 1, "expected a file, got nothing"),
        (("customers.csv",), 1, "set data.encoding: gb18030 (or --encoding)"),
        (("customers.csv", "--encoding", "gb18030"), 1, "data.text (or --text)"),
        (("ladder.yaml",), 1, ".txt with one text a line"),
        (("-",), 1, "standard input: expected rows, got an empty file"),
        (("-",), 1, "standard input: expected utf-8 text, got byte 0xb5 at byte 0 (line 1); it looks like gb18030"),
        ((*TABLE, "--ladder", "nothere.yaml"), 2, "no file nothere.yaml"),
        ((*TABLE, "--ladder", "ladder.yaml", "--release", "latest"), 2, "leave one out"),
        ((*TABLE, "--release", "latest"), 1, "no release in"),
    ],
)
def test_mistakes_are_told_with_their_cure(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    pipe(monkeypatch, "电话".encode("gb18030") * 20 if "gb" in said else b"")
    assert run(*arguments) == code
    assert said in capsys.readouterr().err
