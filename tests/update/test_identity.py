"""A device's key: one for ever, for its owner alone; what it signs is known under its public half."""

import os
import stat
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="the development group is not installed")

from tianti.errors import AccessError, UsageError
from tianti.package import Report, Signed, check_report, read_report, sign_report
from tianti.spec import Tier
from tianti.update.identity import make_key, read_key

REPORT = Report(device="d", product="demo", channel="stable", tier=Tier.DEVICE, number=1, at_s=2, runtime="0.1.0")


def test_it_is_made_once_and_signs(tmp_path: Path) -> None:
    assert read_key(tmp_path) is None
    public = make_key(tmp_path)
    assert len(public) == 32 and make_key(tmp_path) == public
    key = read_key(tmp_path)
    assert key is not None
    signed = sign_report(REPORT, key)
    check_report(signed, public)
    assert read_report(signed) == REPORT
    with pytest.raises(AccessError):  # another device's
        check_report(signed, make_key(_made(tmp_path / "other")))
    changed = Signed(type(signed.report)(bytes(signed.report).replace(b'"number":1', b'"number":2')), signed.signature)
    with pytest.raises(AccessError):
        check_report(changed, public)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_nobody_else_reads_it(tmp_path: Path) -> None:
    make_key(tmp_path)
    assert stat.S_IMODE((tmp_path / "device.key").stat().st_mode) == 0o600


def test_what_is_no_key_is_not_replaced_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "device.key").write_text("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n")
    for ask in (make_key, read_key):
        with pytest.raises(UsageError, match="enroll the device again") as raised:
            ask(tmp_path)
        assert "secret" not in str(raised.value)
    assert "secret" in (tmp_path / "device.key").read_text()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
