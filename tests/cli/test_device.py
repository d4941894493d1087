"""`tianti device init`: a device without a hub follows a folder."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("tuf", reason="the development group is not installed")

from tianti.cli.main import tianti_command
from tianti.errors import UsageError
from tianti.update.home import read_home


def init(*words: str) -> Result:
    return CliRunner().invoke(tianti_command, ["device", "init", *words], catch_exceptions=False)


def test_a_folder_becomes_a_device_once(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(b"{}")
    (tmp_path / "repository").mkdir()
    device = tmp_path / "device"
    words = (str(device), "-R", str(tmp_path / "repository"), "--root", str(tmp_path / "root.json"))
    assert init(*words, "--product", "demo", "--tag", "kiosk").exit_code == 0
    home = read_home(device)
    assert (home.product, home.channel, home.tags, home.reports) == ("demo", "stable", ("kiosk",), None)
    assert len(home.device) == 32  # nobody else's
    with pytest.raises(UsageError, match="a device's"):
        init(*words, "--product", "demo")
    shutil.rmtree(device)
    with pytest.raises(UsageError, match="names of letters"):
        init(*words, "--product", "a/b")
    assert not device.exists()
