"""The file of a node's tokens: who may ask it, for what, until when. Only hashes are in it.

Not here: checking a caller (`access`), printing (`cli`).
Invariants: a token is shown once, when it is made, and cannot be read back; the file is whole or absent, and two who
change it at once both have their change.
"""

import os
import re
import secrets
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from tianti.errors import StoreError, UsageError
from tianti.store import sha256_bytes, write_atomic

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_BITS = 256
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Scope(StrEnum):
    """What a token is for; none of them includes another."""

    PREDICT = "predict"
    ADMIN = "admin"
    TELEMETRY = "telemetry"


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is kept of a token. Several may have one `name`, so that a new one can come before the old one goes.

    `sha256` is a plain hash: guessing 256 random bits is out of reach, so a slow or salted one would add nothing (NIST
    SP 800-63B, section 5.1.2.2, asks for those below 112 bits).
    """

    name: str
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    quota_per_s: Annotated[float, msgspec.Meta(gt=0.0)] | None = None

    @property
    def id(self) -> str:
        """A short name of this one token."""
        return self.sha256[:8]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: Literal[1] = 1
    tokens: tuple[Token, ...] = ()


def read_tokens(path: Path) -> tuple[Token, ...]:
    """What the file holds.

    Raises:
        UsageError: it cannot be read, is not such a file, or others may write it.
    """
    try:
        # that others read hashes of random bits does no harm, and mounted secrets are often readable; a line of theirs
        # in it would be a way in
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
            raise UsageError(f"tokens: expected a file that only its owner writes, got {path}; run: chmod 600 {path}")
        return msgspec.json.decode(path.read_bytes(), type=_File).tokens
    except OSError as error:
        cure = f"make one: tianti token create NAME --scope predict --file {path}"
        raise UsageError(f"tokens: {path} cannot be read: {error.strerror}; {cure}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"tokens: expected a file of `tianti token`, got {path}: {error}") from error


def create_token(
    path: Path,
    name: str,
    scopes: tuple[Scope, ...],
    expires_in: str | None = None,
    quota_per_s: float | None = None,
) -> str:
    """Add a token to the file, which is made if it is not there, and give it: it cannot be had again.

    Args:
        path: the file of tokens.
        name: whose it is; lower-case letters, digits and dashes.
        scopes: what it is for.
        expires_in: such as `90d`, `12h` or `30m`; None: never.
        quota_per_s: how many texts a second all tokens of the name may ask for.

    Raises:
        UsageError: a word is not one of those, or the file is not one of tokens.
        StoreError: it cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"name: expected lower-case letters, digits and dashes, 63 at most, got {name!r}")
    if not scopes:
        raise UsageError(f"scope: expected one or more of {', '.join(Scope)}, got none")
    if quota_per_s is not None and not 0.0 < quota_per_s < float("inf"):
        raise UsageError(f"quota: expected texts a second above 0, got {quota_per_s}")
    now = datetime.now(UTC).replace(microsecond=0)
    token = f"tianti_{name}_{secrets.token_urlsafe(_BITS // 8)}"
    kept = Token(
        name=name,
        sha256=sha256_bytes(token.encode()),
        scopes=tuple(dict.fromkeys(scopes)),
        created=now,
        expires=None if expires_in is None else now + _duration(expires_in),
        quota_per_s=quota_per_s,
    )
    _change(path, lambda tokens: (*tokens, kept))
    return token


def revoke_tokens(path: Path, name: str, token_id: str | None = None) -> int:
    """Remove a name's tokens from the file, or the one with this id; gives how many.

    Raises:
        UsageError: there is none, or the file is not one of tokens.
        StoreError: it cannot be written.
    """
    before = read_tokens(path)

    def keeps(token: Token) -> bool:
        return token.name != name or token_id not in (None, token.id)

    removed = sum(not keeps(token) for token in before)
    if not removed:
        wanted = name if token_id is None else f"{name} with id {token_id}"
        raise UsageError(f"expected a token of {wanted} in {path}, found none; see: tianti token list --file {path}")
    _change(path, lambda tokens: tuple(filter(keeps, tokens)))
    return removed


def _change(path: Path, change: Callable[[tuple[Token, ...]], tuple[Token, ...]]) -> None:
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            before = path.stat() if path.exists() else None
            tokens = change(() if before is None else read_tokens(path))
            content = msgspec.json.format(msgspec.json.encode(_File(tokens=tokens)))
            write_atomic(path, content + b"\n", 0o600 if before is None else stat.S_IMODE(before.st_mode))
            if before is not None and os.name == "posix":  # or a node of another user could not read who was revoked
                os.chown(path, before.st_uid, before.st_gid)
    except OSError as error:
        raise StoreError(f"cannot change {path}: {error.strerror}; run this as the file's owner") from error


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,4})([mhd])", text)
    if found is None or not int(found[1]):
        raise UsageError(f"expires: expected a time such as 90d, 12h or 30m, got {text!r}")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
