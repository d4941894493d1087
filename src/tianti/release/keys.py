"""The keys that sign a repository: made here, kept encrypted, and loaded as signers.

    root-1.pem  root-2.pem  root-3.pem  targets.pem  models.pem  rollout.pem  snapshot.pem  timestamp.pem

Not here: what they sign (`repository`). Any `securesystemslib.signer.Signer` will do in place of a file: that is the
seam for a key that never leaves its machine. Invariants: a private key is on the disk only encrypted, and readable by
its owner alone; no error or log holds a key or a passphrase.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from tianti.errors import UsageError, needs_extra
from tianti.store import write_atomic

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer

KEYS = {"root": 3, "targets": 1, "models": 1, "rollout": 1, "snapshot": 1, "timestamp": 1}
"""How many keys each role has. Root, targets and models belong on a machine without a network."""
SHORTEST = 16  # PKCS#8 as cryptography writes it stretches a passphrase 2,048 times only: it must be long by itself


def make_keys(folder: Path, passphrase: str, roles: Collection[str] = tuple(KEYS)) -> dict[str, list[Path]]:
    """Make an Ed25519 key for each place of these roles in `KEYS`; returns their files by role.

    Raises:
        UsageError: there is one already, or the passphrase is short.
        MissingExtraError: cryptography is not installed.
        StoreError: the folder cannot be written.
    """
    if len(passphrase) < SHORTEST:
        raise UsageError(
            f"expected a passphrase of {SHORTEST} characters or more, got {len(passphrase)}; take six words"
        )
    files = {role: [_file(folder, role, number) for number in range(1, KEYS[role] + 1)] for role in roles}
    if taken := [path.name for paths in files.values() for path in paths if path.exists()]:
        raise UsageError(
            f"{folder} has keys already ({', '.join(taken)}); choose another folder, keys are not replaced"
        )
    for paths in files.values():
        for path in paths:
            write_atomic(path, _new_key(passphrase), mode=0o600)
    return files


def load_signers(folder: Path, passphrase: str) -> "dict[str, list[Signer]]":
    """The signers whose keys are in a folder, by role; an online machine's folder has a few of them.

    Raises:
        UsageError: the passphrase is wrong, or a file is no key.
        MissingExtraError: cryptography or securesystemslib is not installed.
    """
    paths = {role: [_file(folder, role, number) for number in range(1, count + 1)] for role, count in KEYS.items()}
    return {role: [load_signer(str(p), passphrase) for p in found if p.is_file()] for role, found in paths.items()}


def load_signer(source: str, passphrase: str | None = None, public_key: "Key | None" = None) -> "Signer":
    """What signs: a PEM file with its passphrase, or securesystemslib's URI (`gcpkms:`, `awskms:`) with its public key.

    Raises:
        UsageError: the file cannot be read, is no Ed25519 key or has another passphrase; a URI comes without its public
            key, or needs a library that is not installed.
        MissingExtraError: cryptography or securesystemslib is not installed.
    """
    with needs_extra("update"):
        from securesystemslib.exceptions import UnsupportedLibraryError
        from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, Signer
    if source.partition(":")[0] not in SIGNER_FOR_URI_SCHEME:
        return _from_file(Path(source), passphrase)
    if public_key is None:
        raise UsageError(f"{source}: expected its public key as well, got none; give the one that the repository names")
    try:
        return Signer.from_priv_key_uri(source, public_key)
    except UnsupportedLibraryError as error:
        raise UsageError(f"{source}: expected the library of this URI, got none: {error}; install it") from error


def _file(folder: Path, role: str, number: int) -> Path:
    return folder / (f"{role}-{number}.pem" if KEYS[role] > 1 else f"{role}.pem")


def _new_key(passphrase: str) -> bytes:
    with needs_extra("update"):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )


def _from_file(path: Path, passphrase: str | None) -> "Signer":
    with needs_extra("update"):
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner
    try:
        key = load_pem_private_key(path.read_bytes(), (passphrase or "").encode() or None)
    except OSError as error:
        raise UsageError(
            f"{path}: expected a key, got {error.strerror}; name the file that `make_keys` wrote"
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # its text may quote the file
        raise UsageError(
            f"{path}: expected a key under this passphrase, got another one, or no key; try again"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: expected an Ed25519 key, got {type(key).__name__}; make one with `make_keys`")
    return CryptoSigner(key)
