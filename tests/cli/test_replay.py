"""`tianti replay` as people and programs see it."""

import json
import sys
from pathlib import Path

import pytest

from tests.graded_release import LAX, MIDDLE, graded_texts, make_graded_release
from tianti.cli.main import run_cli
from tianti.device import load
from tianti.package import Release
from tianti.serving.local import local_node
from tianti.spec import Tier


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_graded_release(tmp_path_factory.mktemp("graded"))


@pytest.fixture(scope="module")
def log(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "log.jsonl"
    with local_node(Tier.CLOUD, release.folder) as cloud, local_node(Tier.EDGE, release.folder, [cloud]) as edge:
        for point in (MIDDLE, LAX):
            with load(release.folder, [edge, cloud], point=point, audits=0.0, log=path) as ladder:
                ladder.predict_many(graded_texts(40))
    return path


def run(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exited:
        patch.setattr(sys, "argv", ["tianti", "replay", *arguments])
        run_cli()
    return int(exited.value.code or 0)


def test_people_see_both_sides_and_what_is_assumed(
    release: Release, log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    options = ["--of", str(release.folder), "--point", "0.005", "--prices", "cloud=1,edge=0.5", "--latency", "edge=30"]
    assert run(str(log), *options) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "80 requests of release" in said and "as it was" in said and "what if" in said
    assert "edge 0.02, cloud 0.2" in said and "edge 0.5, cloud 1" in said
    assert "harm <= 1.5%, the mean of 1%, 2% @ 95%" in said and "harm <= 0.5% @ 95%" in said
    assert "of two possible ends" in said and " - " in said


def test_programs_get_the_same_in_json(release: Release, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(log), "--of", str(release.folder), "--upstreams", "none", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["found"]["requests"] == 80 and found["confidence"] == 0.95
    assert found["found"]["after"]["share"]["device"] == {"high": 1.0, "low": 1.0}


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--prices", "edge"], 2, "edge=0.02,cloud=0.2"),
        (["--prices", "moon=1"], 2, "got 'moon=1'"),
        (["--prices", "edge=-1"], 2, "a number from 0"),
        (["--latency", "cloud=nan"], 2, "a number from 0"),
        (["--upstreams", "cloud,edge"], 2, "upstreams"),
        (["--point", "0.5"], 2, "certifies (0.005, 0.01, 0.02), got 0.5"),
        (["--of", "nothing"], 2, "name one with --of"),
        (["--of", "no/where"], 1, "no single release"),
    ],
)
def test_mistakes(
    release: Release, log: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, said: str
) -> None:
    of = [] if "--of" in options else ["--of", str(release.folder)]
    assert run(str(log), *of, *options) == code
    assert said in capsys.readouterr().err


def test_without_the_release_it_is_said_where_it_is_looked_for(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(str(log)) == 1
    assert "--of" in capsys.readouterr().err
