"""What an update asks of others: where files come from, and what signed metadata say.

Not here: the ones that ship (`source`, `metadata`). Another TUF client, or another way to fetch, takes their place
here.
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from tianti.package import Rollout, Shipment


class Polled(msgspec.Struct, frozen=True):
    """What a poll found: whether the timestamp is another one than that of the `etag` given, and its own."""

    changed: bool
    etag: str | None = None


class Source(Protocol):
    """A repository's files, by their path in it as URLs spell it; read only, one thread at a time."""

    def poll(self, etag: str | None) -> Polled:
        """One conditional request for the timestamp (RFC 9110, 13.1.2).

        Raises:
            UpdateError: it cannot be reached.
        """
        ...

    def stream(self, path: str, start: int = 0) -> Iterator[bytes]:
        """A file's bytes from `start` on, in pieces; a source that cannot begin there skips what is before.

        Raises:
            UpdateError: it is not there (`AbsentError`), cannot be reached, or breaks off.
        """
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What verified metadata say: the rollout, with the floor and the revoked that were signed offline merged in.

    `versions` by role, and when the timestamp was issued, go up only, under the same `online_keys`; `anew`: what was
    known before is void, since one of its keys was taken back (TUF specification, 5.3.11). `floor` is the counter that
    was signed offline alone.
    """

    rollout: Rollout
    floor: int
    versions: dict[str, int]
    issued_s: int
    online_keys: tuple[str, ...] = ()
    anew: bool = False


class MetadataClient(Protocol):
    """A TUF client of one repository and channel."""

    def refresh(self, now_s: int) -> Said:
        """Fetch and verify what is new; expiry is judged by the clock `now_s`, or what is known to be later.

        Raises:
            UpdateError: it cannot be fetched, is not signed by who may, is older than known, or has expired.
            UsageError: the rollout is of a schema that this version does not know.
        """
        ...

    def shipment(self, release: str) -> Shipment:
        """The files of a release that the last `refresh` knows; ask before each activation.

        What a rollout says of counters is signed online; only this compares it with what was signed offline.

        Raises:
            UpdateError: it is not offered, was revoked, is below the floor, cannot be fetched, or contradicts the
                metadata.
        """
        ...
