"""A device's own key (Ed25519): made once on the device, which it never leaves; reports are signed with it.

    device.key        PKCS#8 in PEM, for its owner alone

Not here: who is enrolled under the public key (`fleet`). Invariants: the file has no more permissions than 0600 at any
time; no error holds a key; a key is never replaced, since the publisher knows the device by it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from tianti.errors import UsageError, needs_extra
from tianti.store import write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def make_key(folder: Path) -> bytes:
    """The public key (32 bytes) of this folder's device; its key is made where there is none.

    An enrolment that was cut off can be done again: it goes on with the same key.

    Raises:
        MissingExtraError: cryptography is not installed.
        StoreError: the folder cannot be written.
        UsageError: there is a file that is no key.
    """
    with needs_extra("update"):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    if (key := read_key(folder)) is None:
        key = Ed25519PrivateKey.generate()
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        write_atomic(_path(folder), key.private_bytes(serialization.Encoding.PEM, *form), mode=0o600)
    return key.public_key().public_bytes_raw()


def read_key(folder: Path) -> "Ed25519PrivateKey | None":
    """The key of this folder's device; None: it was set up without one, and reports to nobody.

    Raises:
        MissingExtraError: cryptography is not installed.
        UsageError: the file is no key, or cannot be read.
    """
    with needs_extra("update"):
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    path = _path(folder)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path}: expected the device's key, got {error.strerror}; run as its owner") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # its text may quote the file
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: expected an Ed25519 key, got none; remove it, and enroll the device again")
    return key


def _path(folder: Path) -> Path:
    return folder / "device.key"
