"""Keys are kept encrypted, are never replaced, and are told by nobody."""

import stat
import sys
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the development group is not installed")
pytest.importorskip("cryptography", reason="the development group is not installed")

from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, Key, SecretsHandler, Signature, Signer

from tianti.errors import UsageError
from tianti.release.keys import KEYS, load_signer, load_signers, make_keys

PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "new"
    make_keys(folder, PASSPHRASE)
    return folder


def test_what_is_signed_verifies_and_another_text_does_not(folder: Path) -> None:
    signers = load_signers(folder, PASSPHRASE)
    assert {role: len(found) for role, found in signers.items()} == KEYS
    assert len({signer.public_key.keyid for found in signers.values() for signer in found}) == sum(KEYS.values())
    signer = signers["models"][0]
    signer.public_key.verify_signature(signer.sign(b"text"), b"text")
    with pytest.raises(Exception, match="Failed to verify"):
        signer.public_key.verify_signature(signer.sign(b"text"), b"other")


def test_files_are_encrypted_and_their_owners_alone(folder: Path) -> None:
    for path in folder.glob("*.pem"):
        assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        if sys.platform != "win32":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_are_not_replaced(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="has keys already"):
        make_keys(folder, PASSPHRASE)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("passphrase", ["wrong-secret", "", None])
def test_a_wrong_passphrase_is_said_without_telling_it(folder: Path, passphrase: str | None) -> None:
    with pytest.raises(UsageError, match=r"targets\.pem: expected a key under this passphrase") as caught:
        load_signer(str(folder / "targets.pem"), passphrase)
    assert "wrong-secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_what_is_no_key_is_said_without_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("my secret")
    for path in (tmp_path / "key.pem", tmp_path / "absent.pem"):
        with pytest.raises(UsageError, match="expected a key") as caught:
            load_signer(str(path), PASSPHRASE)
        assert "my secret" not in str(caught.value)


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="16 characters or more, got 15") as caught:
        make_keys(tmp_path, "short-and-secret"[:15])
    assert "short-and" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_a_key_that_never_leaves_its_machine_signs_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = load_signer(str(folder / "models.pem"), PASSPHRASE)

    class Remote(Signer):
        public_key = kept.public_key

        @classmethod
        def from_priv_key_uri(cls, uri: str, key: Key, _secrets: SecretsHandler | None = None) -> Signer:
            assert (uri, key) == ("testkms:a/b", kept.public_key)
            return cls()

        def sign(self, payload: bytes) -> Signature:
            return kept.sign(payload)

    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "testkms", Remote)
    signer = load_signer("testkms:a/b", public_key=kept.public_key)
    signer.public_key.verify_signature(signer.sign(b"text"), b"text")
    with pytest.raises(UsageError, match="expected its public key"):
        load_signer("testkms:a/b")
    with pytest.raises(UsageError, match="expected the library of this URI"):
        load_signer("awskms:alias/a", public_key=kept.public_key)
