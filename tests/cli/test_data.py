"""`tianti data diff` as people and programs see it."""

import json
import sys
from pathlib import Path

import pytest

from tianti.cli.main import run_cli


@pytest.fixture
def tables(tmp_path: Path) -> tuple[str, str]:
    old, new = tmp_path / "old.csv", tmp_path / "new.jsonl"
    old.write_bytes("text,label\n打开空调,[on]\n关灯,off\n".encode("gb18030"))
    new.write_bytes('{"text": "打开空调", "label": "off"}\n{"text": "唱歌", "label": "sing"}\n'.encode("gb18030"))
    return str(old), str(new)


def run(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exited:
        patch.setattr(sys, "argv", ["tianti", "data", "diff", *arguments])
        run_cli()
    return int(exited.value.code or 0)


def test_people_get_tables_and_findings(tables: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*tables, "--encoding", "gb18030") == 0
    said = capsys.readouterr().out
    assert "in both: 打开空调  OLD [on]  NEW off" in said and "[on]" in said
    assert said.index("┃") < said.index("- 1 text of NEW is also in OLD with another label.")


def test_programs_get_json(tables: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*tables, "--encoding", "gb18030", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["diff"]["overlap"]["conflicting"] == 1 and found["diff"]["rate"] == 0.05
    assert "1 text of NEW is also in OLD with another label." in found["findings"]
    assert run(*tables, "--encoding", "gb18030", "--no-label", "--json") == 0
    assert json.loads(capsys.readouterr().out)["diff"]["labels"] is None


def test_a_column_that_is_not_there_is_named(tables: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*tables, "--encoding", "gb18030", "--label", "intent") == 1
    assert "expected a column 'intent'" in capsys.readouterr().err
