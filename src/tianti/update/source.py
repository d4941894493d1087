"""Where a repository's files come from: a web server, or a folder such as a mounted stick. Read only.

Not here: whether they are to be trusted (`metadata`, `install`). Invariants: a poll is one request, and carries nothing
that tells one device from another but what its owner configured; every way to fail is an UpdateError; no environment
variable changes where a request goes; nothing is read without an end in time.
"""

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tianti.errors import AbsentError, UpdateError, UsageError
from tianti.package.manifest import leaves_folder
from tianti.runtimes.trust import Trust, client_context, is_loopback, take_up, token_header
from tianti.spec.endpoint import split_url
from tianti.store import Watched, sha256_bytes
from tianti.update.contract import Polled, Source

TIMESTAMP = "metadata/timestamp.json"
_PIECE = 1 << 16
_SMALL = 1 << 14  # python-tuf's own limit of a timestamp
_SLOWEST = 1000  # bytes a second, over a whole file
_ETAG = 128
_OWN = "sha256:"  # where the server gives no ETag
_ABSENT = (403, 404, 410)  # object stores say 403 of what is not there
_NOTHING = Trust()


def open_source(where: str, trust: Trust = _NOTHING) -> Source:
    """The source at a URL, or in a folder.

    Raises:
        UsageError: it is neither, or the trust cannot be used.
    """
    if where.partition(":")[0] in ("http", "https"):
        return HttpSource(where, trust)
    if not Path(where).is_dir():
        raise UsageError(f"expected a URL (http, https) or a folder, got {where!r}; name a repository")
    return FolderSource(Path(where))


class FolderSource:
    """A repository in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def poll(self, etag: str | None) -> Polled:
        """Whether the timestamp has other bytes than those of the `etag` given.

        Raises:
            UpdateError: it cannot be read.
        """
        return _by_hash(b"".join(self.stream(TIMESTAMP)), etag)

    def stream(self, path: str, start: int = 0) -> Iterator[bytes]:
        """A file's bytes from `start` on.

        Raises:
            UpdateError: it is not there (`AbsentError`), or cannot be read.
        """
        name = unquote(path)
        if leaves_folder(name) or not name.isprintable():
            raise UpdateError(f"expected a path below {self._folder}, got {path!r}")
        try:
            with (self._folder / name).open("rb") as file:
                file.seek(start)
                while piece := file.read(_PIECE):
                    yield piece
        except FileNotFoundError:
            raise AbsentError(f"expected {self._folder / name}, got no such file; the folder is not complete") from None
        except OSError as error:
            raise UpdateError(f"cannot read {self._folder / name}: {error.strerror}; copy the folder again") from error

    def close(self) -> None:
        """Nothing is open."""


class HttpSource:
    """A repository on a web server; one connection is kept open between requests.

    Raises:
        UsageError: the URL is not one, or what the trust names cannot be used with it.
    """

    def __init__(self, url: str, trust: Trust = _NOTHING, timeout_s: float = 30.0) -> None:
        parts = split_url(url)
        if parts is None or "@" in parts.netloc or parts.query or parts.fragment:
            shown = url.rpartition("@")[2]  # before it may stand a password
            raise UsageError(f"expected a repository's URL, such as https://host/repository, got {shown!r}; name one")
        if trust != _NOTHING and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise UsageError(f"expected https:// where certificates or a token are named, got {url}; change the URL")
        self._host, self._port, self._timeout_s = parts.hostname or "", parts.port, timeout_s
        self._base, self._shown, self._trust = parts.path.rstrip("/"), url.rstrip("/"), trust
        self._context = client_context(trust) if parts.scheme == "https" else None
        self._headers = Watched(trust.files, self._take_up)
        self._idle: http.client.HTTPConnection | None = None

    def poll(self, etag: str | None) -> Polled:
        """One conditional request for the timestamp.

        Raises:
            UpdateError: it cannot be reached, or the server answers with an error.
        """
        known = {} if etag is None or etag.startswith(_OWN) else {"If-None-Match": etag}
        connection, answer = self._ask(TIMESTAMP, known)
        try:
            if answer.status == 304:
                self._keep(connection, answer)
                return Polled(False, etag)
            if answer.status != 200:
                raise self._refused(TIMESTAMP, answer.status)
            content = answer.read(_SMALL)
            found = answer.getheader("ETag", "")
            self._keep(connection, answer)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(TIMESTAMP, error) from error
        finally:
            self._drop(connection)
        if not found or len(found) > _ETAG:
            return _by_hash(content, etag)
        return Polled(found != etag, found)

    def stream(self, path: str, start: int = 0) -> Iterator[bytes]:
        """A file's bytes from `start` on, by a range request where the server knows those.

        Raises:
            UpdateError: it is not there (`AbsentError`), cannot be reached, is too slow, or breaks off.
        """
        asked = {"Range": f"bytes={start}-"} if start else {}
        connection, answer = self._ask(path, {"Accept-Encoding": "identity", **asked})
        try:
            skip = self._to_skip(path, answer, start)
            for piece in self._pieces(path, answer):
                if rest := piece[skip:]:
                    yield rest
                skip = max(0, skip - len(piece))
            self._keep(connection, answer)
        finally:
            self._drop(connection)

    def close(self) -> None:
        """Close the connection."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def _pieces(self, path: str, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        received, waited_s = 0, 0.0
        while True:
            before_s = time.monotonic()
            try:
                piece = answer.read1(_PIECE)
            except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a chunk's length is none
                raise self._broken(path, error) from error
            if not piece:
                break
            received += len(piece)
            waited_s += time.monotonic() - before_s
            if waited_s > self._timeout_s + received / _SLOWEST:
                raise UpdateError(f"{self._shown}/{path} comes at less than {_SLOWEST} bytes a second; try again later")
            yield piece
        if answer.length:  # what Content-Length said is still to come
            raise UpdateError(f"{self._shown}/{path} broke off {answer.length} bytes before its end; try again")

    def _to_skip(self, path: str, answer: http.client.HTTPResponse, start: int) -> int:
        """How much comes before `start`: all of it from a server that knows no ranges."""
        if answer.status == 200:
            return start
        if start and answer.status == 206:
            said = answer.getheader("Content-Range", "")
            if said.startswith(f"bytes {start}-"):
                return 0
            raise UpdateError(f"{self._shown}/{path}: expected bytes from {start} on, got {said!r}; ask another server")
        raise self._refused(path, answer.status)

    def _ask(self, path: str, headers: dict[str, str]) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The answer's head; a connection that the server closed meanwhile is opened anew, once."""
        kept, self._idle = self._idle, None
        if kept is not None:
            try:
                return kept, self._send(kept, path, headers)
            except (OSError, http.client.HTTPException):
                kept.close()
        fresh = self._connection()
        try:
            return fresh, self._send(fresh, path, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            fresh.close()
            raise self._broken(path, error) from error

    def _connection(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._context)

    def _send(
        self, connection: http.client.HTTPConnection, path: str, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        connection.putrequest("GET", f"{self._base}/{path}", skip_accept_encoding=True)
        for name, value in {**headers, **self._headers.get()}.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse()

    def _keep(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        """For the next request, if all was read of this one and the server keeps it open too."""
        all_read = answer.length == 0 or answer.isclosed()
        answer.close()
        if all_read and connection.sock is not None and self._idle is None:
            self._idle = connection

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        if connection is not self._idle:
            connection.close()

    def _take_up(self) -> dict[str, str]:
        if self._context is not None:
            take_up(self._context, self._trust)
        return token_header(self._trust)

    def _refused(self, path: str, status: int) -> UpdateError:
        kind = AbsentError if status in _ABSENT else UpdateError
        return kind(f"{self._shown}/{path}: expected the file, got HTTP status {status}; is it a repository?")

    def _broken(self, path: str, error: Exception) -> UpdateError:
        return UpdateError(f"{self._shown}/{path} cannot be fetched: {error or type(error).__name__}; try again later")


def _by_hash(content: bytes, etag: str | None) -> Polled:
    found = _OWN + sha256_bytes(content)
    return Polled(found != etag, found)
