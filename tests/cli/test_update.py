"""`tianti update` on a real device's folder: what it says, what it leaves, how it ends."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.tiny_release import make_release
from tests.update.published import Published
from tianti.cli.main import run_cli
from tianti.device import load
from tianti.errors import PackageError
from tianti.spec import Tier
from tianti.update.updates import Updates

Tianti = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tianti(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tianti:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tianti", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            run_cli()
        code = exited.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    repository = Published(tmp_path_factory.mktemp("repository"))
    release = repository.add(make_release(tmp_path_factory.mktemp("release")))
    repository.roll(release)
    return repository


@pytest.fixture
def device(published: Published, tmp_path: Path) -> Path:
    return published.device(tmp_path / "device")


def test_a_check_says_what_it_did_and_then_that_there_is_nothing(tianti: Tianti, device: Path) -> None:
    code, out, _ = tianti("update", device, "--status")
    assert code == 0 and "serves nothing yet" in out
    code, out, _ = tianti("update", device)
    assert code == 0 and "serves from the next start on" in out and "number 1, on trial" in out
    code, out, _ = tianti("update", device)
    assert code == 0 and "nothing to do" in out
    with load(device) as ladder:
        assert ladder.predict("lamp").label == "lights"


def test_a_stick_brings_a_release_where_there_is_no_network(
    tianti: Tianti, published: Published, tmp_path: Path
) -> None:
    device = published.device(tmp_path / "device", repository="http://127.0.0.1:9")
    stick = published.copy_to(tmp_path / "stick").folder
    code, _, err = tianti("update", device)
    assert code == 1 and "try again later" in err and "Traceback" not in err
    code, out, _ = tianti("update", device, "--from", stick, "--json")
    said = json.loads(out)
    assert code == 0 and said["checked"]["ready"] == said["active"]
    assert said["holds"] == {said["active"]: 1}


def test_a_failed_self_test_ends_with_1_and_serves_nothing(
    tianti: Tianti, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(release: Path, tier: Tier) -> None:
        raise PackageError("no such instruction")

    monkeypatch.setattr(Updates.__init__, "__kwdefaults__", {**Updates.__init__.__kwdefaults__, "test": fails})
    code, out, err = tianti("update", device)
    assert code == 1 and "no such instruction" in err
    assert "serves nothing yet" in out and "failed here: " in out
    code, out, _ = tianti("update", device)
    assert code == 0 and "failed on this device before" in out


def test_a_program_that_runs_is_left_alone(tianti: Tianti, device: Path) -> None:
    updates = Updates(device)
    assert updates.lead()
    code, _, err = tianti("update", device)
    assert code == 2 and "leave it to that" in err
    code, _, err = tianti("update", device, "--from", device)
    assert code == 2 and "stop the program, run this again, then start it" in err
    assert tianti("update", device, "--status")[0] == 0
    updates.close()


def test_a_folder_that_is_no_devices(tianti: Tianti, tmp_path: Path) -> None:
    code, _, err = tianti("update", tmp_path)
    assert code == 2 and "enroll" in err
