"""A connection to one HTTP server: a body goes, a body comes, within a time.

Not here: what the bodies mean (`protocols`), certificates and tokens (`trust`).
Invariants: a call ends within its time, with a body of at most MAX_BODY_BYTES or an UpstreamError; no environment
variable changes where a request goes (proxies, netrc).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tianti.errors import BusyError, DeadlineError, RefusedError, TextRefusedError, UpstreamError, UsageError
from tianti.protocols.infer import MAX_BODY_BYTES
from tianti.protocols.oip import decode_error
from tianti.runtimes.trust import Trust, client_context, is_loopback, take_up, token_header
from tianti.spec.endpoint import split_url
from tianti.store import Watched
from tianti.telemetry.context import outgoing_headers

ROLLOUT = "x-rollout-version"
"""A header of our nodes' answers: the version of the newest rollout statements whose releases they hold."""
PROBE_TIMEOUT_S = 1.0
_KEEP_ALIVE_S = 30.0  # shorter than our servers' own, so that no request meets a connection that is being closed
_CONNECTIONS = 64
_MAY_PASS = (408, 425, 429)  # of the 4xx: the same request may be answered later
_NOTHING = Trust()
_VERSION = re.compile(r"[0-9]{1,15}")
_OF_THE_TEXT = (400, 413, 415, 422)
_BUSY = (429, 503)  # with a time after which to come again: without one, 503 is also what a proxy says of a dead server


class Connection:
    """A pool of connections to a URL such as http://edge:8081.

    What it needs is imported here at the latest, not in the first call, which has a deadline. `heard` is told of the
    version that an answer's header ROLLOUT names.

    Raises:
        UsageError: the URL is not one, or what the trust names cannot be used with it.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        trust: Trust = _NOTHING,
        heard: Callable[[int], None] | None = None,
    ) -> None:
        import httpx2

        parts = split_url(url)
        if parts is None:
            shown = url.rpartition("@")[2]  # before it may stand a password
            raise UsageError(f"upstream: expected a URL such as http://127.0.0.1:8081, got {shown!r}")
        self.name = parts.netloc.rpartition("@")[2]
        if trust != _NOTHING and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            shown = f"http://{self.name}"
            raise UsageError(f"upstream: expected https:// where certificates or a token are named, got {shown}")
        self._url = url.rstrip("/")
        self._trust, self._heard = trust, heard
        self._context = client_context(trust) if parts.scheme == "https" else None
        self._own_headers = Watched(trust.files, self._take_up)
        self._client = httpx2.AsyncClient(
            timeout=None,  # the whole call has one
            trust_env=False,
            verify=self._context or False,
            limits=httpx2.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE_S),
            headers={"content-type": "application/json", **(headers or {})},
        )

    async def call(
        self, path: str, remaining_s: float, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """POST a body, or GET where there is none; connecting, waiting and reading share the time.

        Raises:
            DeadlineError: not within `remaining_s`.
            BusyError: the server has more to do than it can, and says when to come again.
            RefusedError: the server says that the request is wrong, a TextRefusedError where it may be for its text.
            UpstreamError: it cannot be reached, or answers with another error.
        """
        try:
            async with asyncio.timeout(remaining_s):
                status, later, content = await self._exchange(path, body, headers or {})
        except TimeoutError:
            raise DeadlineError(f"{self.name} did not answer within {remaining_s * 1e3:.0f} ms") from None
        except Exception as error:  # exceptions of several libraries come through here; none may lose a request
            raise UpstreamError(f"{self.name} cannot be asked: {error or type(error).__name__}") from error
        if status != 200:
            raise _kind_of(status, later)(f"{self.name} answered {status}: {decode_error(content)}")
        return content

    async def _exchange(self, path: str, body: bytes | None, more: Mapping[str, str]) -> tuple[int, bool, bytes]:
        content = bytearray()
        method = "GET" if body is None else "POST"
        url, headers = f"{self._url}{path}", {**outgoing_headers(), **more, **self._own_headers.get()}
        told = {} if self._context is None else {"trace": _close_what_is_given_up()}
        async with self._client.stream(method, url, content=body, headers=headers, extensions=told) as response:
            async for part in response.aiter_bytes():
                content += part
                if len(content) > MAX_BODY_BYTES:
                    raise ValueError(f"expected a body of at most {MAX_BODY_BYTES} bytes, got more")
            if self._heard is not None and _VERSION.fullmatch(version := response.headers.get(ROLLOUT, "")):
                self._heard(int(version))
            return response.status_code, "retry-after" in response.headers, bytes(content)

    def _take_up(self) -> dict[str, str]:
        if self._context is not None:
            take_up(self._context, self._trust)
        return token_header(self._trust)

    async def answers(self, path: str) -> bool:
        """Is there a 200 at this path? Never raises; takes PROBE_TIMEOUT_S at most."""
        try:
            await self.call(path, PROBE_TIMEOUT_S)
        except Exception:  # one that got out would end the probing for ever
            return False
        return True

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _close_what_is_given_up() -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    """The library leaves a socket open, until garbage is collected, where a handshake of TLS is given up half-way."""
    opened: list[Any] = []

    async def told(event: str, what: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            opened.append(what["return_value"])
        elif event == "connection.start_tls.failed":
            await opened.pop().aclose()

    return told


def _kind_of(status: int, later: bool) -> type[UpstreamError]:
    if later and status in _BUSY:
        return BusyError
    if status in _OF_THE_TEXT:
        return TextRefusedError
    return RefusedError if 300 <= status < 500 and status not in _MAY_PASS else UpstreamError
