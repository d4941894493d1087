"""Who may ask a node for what: an `Authorization` header is checked against the file of tokens.

Not here: making tokens (`tokens`), how often one may ask (`quota`), what a refusal looks like over HTTP (`app`).
Invariants: a token that was revoked or has expired is refused within a second, without a restart; a file that cannot
be used leaves the tokens of before; a refusal says the same whatever was wrong, and takes as long.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tianti.errors import AccessError
from tianti.serving.tokens import Scope, Token, read_tokens
from tianti.store import Watched

__all__ = ["Access", "Caller", "Scope"]


class Caller(NamedTuple):
    """Whose token it was, and how many texts a second it may ask for."""

    name: str
    quota_per_s: float | None


class _Known(NamedTuple):
    digest: bytes
    scopes: frozenset[Scope]
    until_s: float
    caller: Caller


_NOBODY = _Known(bytes(32), frozenset(), 0.0, Caller("", None))
_SCHEME = b"bearer "


class Access:
    """The tokens of a file, which is read again when it changes.

    Raises:
        UsageError: the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._wall_clock = wall_clock
        self._known = Watched([path], lambda: {known.digest: known for known in map(_know, read_tokens(path))}, clock)

    def check(self, authorization: bytes | None, scope: Scope) -> Caller:
        """Whose the header's token is.

        Raises:
            AccessError: it is not the token of anybody, or not for this.
        """
        given = authorization or b""
        # what can be guessed about a hash from the time that its lookup takes leads to no token (it is one-way)
        digest = hashlib.sha256(given[len(_SCHEME) :].strip()).digest()
        known = self._known.get().get(digest, _NOBODY)
        right = hmac.compare_digest(known.digest, digest) & (given[: len(_SCHEME)].lower() == _SCHEME)
        if not right & (self._wall_clock() < known.until_s):
            raise AccessError(
                "expected the header `Authorization: Bearer TOKEN` with a token that this node knows and that has not "
                "expired; ask who runs the node for one",
                known=False,
            )
        if scope not in known.scopes:
            allowed = ", ".join(sorted(known.scopes))
            raise AccessError(f"expected a token for {scope}, got one of {known.caller.name} for {allowed}", known=True)
        return known.caller


def _know(token: Token) -> _Known:
    until_s = float("inf") if token.expires is None else token.expires.timestamp()
    caller = Caller(token.name, token.quota_per_s)
    return _Known(bytes.fromhex(token.sha256), frozenset(token.scopes), until_s, caller)
