"""A conversation's placeholders in a file: encrypted, and of no use after their time.

A file is one line of JSON (schema, times), a nonce of 12 bytes, and what AES-256-GCM (NIST SP 800-38D) makes of the
values; the line is authenticated with them.

Not here: where the key is kept, which is the caller's. Invariant: without the key a file says how many characters
there are, and until when. A secret is not in it, nor anything that it could be guessed by.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from tianti.errors import PrivacyError, needs_extra
from tianti.privacy.conversation import Conversation
from tianti.privacy.placeholders import Placeholders
from tianti.privacy.redactor import Redactor
from tianti.store import write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12


class _Line(msgspec.Struct, frozen=True):
    saved: float
    expires: float
    schema: Literal["tianti.conversation/1"] = "tianti.conversation/1"


class _Values(msgspec.Struct, frozen=True):
    ttl_s: float
    last: dict[str, int]
    rows: list[tuple[str, int, bytes | None]]


def new_key() -> bytes:
    """A key for `save`; keep it apart from the files, in the system's key store if it has one."""
    return os.urandom(_KEY_BYTES)


def save(conversation: Conversation, path: Path, key: bytes, wall: Callable[[], float] = time.time) -> None:
    """Write a conversation's placeholders, to be read with this key until their time is over; mode 0600.

    Raises:
        PrivacyError: the key is none.
        MissingExtraError: cryptography is not installed.
        StoreError: the file cannot be written.
    """
    cipher, nonce = _cipher(key), os.urandom(_NONCE_BYTES)
    left_s, ttl_s, last, rows = conversation.kept()
    line = msgspec.json.encode(_Line(saved=wall(), expires=wall() + left_s)) + b"\n"
    values = _Values(ttl_s, last, [(kind, number, _bytes(value)) for kind, number, value in rows])
    write_atomic(path, line + nonce + cipher.encrypt(nonce, msgspec.msgpack.encode(values), line), mode=0o600)


def open_kept(path: Path, key: bytes, redactor: Redactor, wall: Callable[[], float] = time.time) -> Conversation:
    """Go on with a conversation that was saved; a file whose time is over is removed.

    Raises:
        PrivacyError: there is no such file, the key is another one, the file was changed, or its time is over.
        MissingExtraError: cryptography is not installed.
    """
    line, values = _decrypt(path, key)
    # a clock that was set back gives no more time than there was
    left_s = line.expires - max(wall(), line.saved)
    if left_s <= 0:
        path.unlink(missing_ok=True)
        raise PrivacyError(f"{path}: the time of these placeholders is over, the file is removed; begin a conversation")
    rows = [(kind, number, _text(value)) for kind, number, value in values.rows]
    return Conversation(redactor, values.ttl_s, Placeholders(values.last, rows), left_s)


def _decrypt(path: Path, key: bytes) -> tuple[_Line, _Values]:
    with needs_extra("update"):
        from cryptography.exceptions import InvalidTag
    cipher = _cipher(key)
    try:
        line, found, rest = path.read_bytes().partition(b"\n")
        plain = cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], line + found)
        return msgspec.json.decode(line, type=_Line), msgspec.msgpack.decode(plain, type=_Values)
    except OSError as error:
        raise PrivacyError(f"{path}: expected kept placeholders, got {error.strerror}; begin a conversation") from None
    except (InvalidTag, ValueError):  # no cause: it may quote what was decrypted
        wanted = "expected what save() wrote with this key, got another key or another file"
        raise PrivacyError(f"{path}: {wanted}; take the key it was saved with, or begin a conversation") from None


def _cipher(key: bytes) -> "AESGCM":
    with needs_extra("update"):
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    if len(key) != _KEY_BYTES:
        raise PrivacyError(f"expected a key of {_KEY_BYTES} bytes, got {len(key)}; new_key() makes one")
    return AESGCM(key)


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else value.encode("utf-8", "surrogatepass")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogatepass")
