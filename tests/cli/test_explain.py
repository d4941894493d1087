"""`tianti explain`: readable without colours, safe in a terminal."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.tiny_release import make_release
from tianti.cli.main import tianti_command
from tianti.device import load
from tianti.errors import UsageError
from tianti.explain import LANGUAGES, sentences
from tianti.package import Release


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("cli"))


def explain(release: Release, *arguments: str, said: str | bytes | None = None) -> Result:
    return CliRunner().invoke(tianti_command, ["explain", "-r", str(release.folder), *arguments], said)


def test_words_and_reasons_without_colours(release: Release) -> None:
    got = explain(release, "turn the lamp on")
    assert got.exit_code == 0, got.output
    assert "lights" in got.output
    assert "turn the [+lamp] on" in got.output
    assert "The device scored" in got.output
    assert "端的得分" in explain(release, "turn the lamp on", "--lang", "zh").output


def test_a_text_cannot_write_to_the_terminal(release: Release) -> None:
    got = explain(release, "lamp \x1b[31m\x07 [bold]not markup[/bold] \u202e")
    assert got.exit_code == 0, got.output
    assert not {"\x1b", "\x07", "\u202e"} & set(got.output)
    assert "[bold]" in got.output
    line = explain(release, "lamp \x1b \x9b \u202e 灯", "--json").output
    assert line.rstrip("\n").isprintable()
    assert json.loads(line)["text"] == "lamp \x1b \x9b \u202e 灯"


def test_json_a_line_a_text(release: Release) -> None:
    got = explain(release, "-", "--json", said="lamp\nsong\n")
    assert [json.loads(line)["prediction"]["label"] for line in got.output.splitlines()] == ["lights", "music"]


def test_a_page(release: Release, tmp_path: Path) -> None:
    file = tmp_path / "why.html"
    assert explain(release, "a <b>lamp</b>", "--html", str(file)).exit_code == 0
    assert "&lt;" in file.read_text(encoding="utf-8")
    assert explain(release, "-", "--html", str(file), said="lamp").exit_code != 0


def test_a_line_that_is_not_text_ends_it_with_its_number(release: Release) -> None:
    said = "lamp\r\n天气\n".encode() + b"song \xff\nrain\n"
    for command in ("explain", "predict"):
        got = CliRunner().invoke(tianti_command, [command, "-r", str(release.folder), "-", "--json"], said)
        assert isinstance(got.exception, UsageError)
        assert "line 3: expected UTF-8, got byte 0xff at 6" in str(got.exception)
        assert len(got.stdout.splitlines()) == 2, "those before it are answered"


def test_a_sentence_is_one_line(release: Release) -> None:
    with load(release.folder) as ladder:
        expected = {lang: sentences(ladder.explain("turn the lamp on"), lang) for lang in LANGUAGES}
    for lang, lines in expected.items():
        assert max(map(len, lines)) > 80 or lang == "zh"
        assert explain(release, "turn the lamp on", "--lang", lang).output.splitlines()[-len(lines) :] == lines
