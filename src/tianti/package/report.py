"""Report: what a device or a node says of its releases, as totals, signed with its own key. Numbers, never a text.

Not here: keys on the disk and sending (`update`), who is enrolled and what follows (`fleet`). Invariants: each report
replaces the ones before it, so that a lost, repeated or late one does no harm; the signature is over the bytes that
travel, so whoever passes it on cannot change it. The format's page: FORMAT.md.
"""

from typing import TYPE_CHECKING, Literal

import msgspec

from tianti.errors import AccessError, UpdateError, UsageError, needs_extra
from tianti.package.manifest import Name
from tianti.package.rollout import Natural, ReleaseId
from tianti.spec import Tier
from tianti.store import canonical_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCHEMA = "tianti.report/1"
_DOMAIN = b"tianti-report-v1\0"
_BATCH_DOMAIN = b"tianti-report-batch-v1\0"
VIA, VIA_SIGNATURE = "x-tianti-via", "x-tianti-signature"
"""Headers of a batch that somebody passes on: its own id, and its signature over the body (`sign_batch`)."""

Fate = Literal["staged", "trial", "activated", "failed", "reverted"]
"""Of a release on a device: ready and not used (a shadow too), on trial, in use for good, refused by the self-test,
taken back by the trial."""


class Beside(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a release in a shadow ring has scored beside the serving one.

    Of `texts`, `kept` would have been answered here, `agreeing` of those as they were; of `audited`, it would have
    kept `differing` with another label than the cloud's, whichever was right.
    """

    texts: Natural = 0
    kept: Natural = 0
    agreeing: Natural = 0
    audited: Natural = 0
    differing: Natural = 0


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Totals since the device began to run `release`; the greatest `number` of a device counts.

    `holds` are all releases that it can answer with; `fates` is of those that it came to know. Of `answers`,
    `escalated` came from above and `degraded` should have; of `audited`, `disagreeing` differed from the cloud.
    """

    schema: str = SCHEMA
    device: str
    product: Name
    channel: Name
    tier: Tier
    number: Natural
    at_s: Natural
    runtime: str
    release: ReleaseId | None = None
    holds: tuple[ReleaseId, ...] = ()
    fates: dict[ReleaseId, Fate] = {}
    answers: Natural = 0
    escalated: Natural = 0
    degraded: Natural = 0
    audited: Natural = 0
    disagreeing: Natural = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    beside: dict[ReleaseId, Beside] = {}


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A report as it travels; `signature` is Ed25519 (RFC 8032), hexadecimal."""

    report: msgspec.Raw
    signature: str


class Refused(msgspec.Struct, frozen=True):
    """A report that is not believed."""

    device: str
    why: str


class Taken(msgspec.Struct, frozen=True):
    """The answer to a batch: how many reports are kept, and which ones not."""

    taken: int
    refused: tuple[Refused, ...] = ()


def decode_taken(content: bytes) -> Taken:
    """The answer to a batch.

    Raises:
        UpdateError: it is something else.
    """
    try:
        return msgspec.json.decode(content, type=Taken)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpdateError(f"expected how many reports were taken, got: {error}; is it a hub?") from error


def sign_report(report: Report, key: "Ed25519PrivateKey") -> Signed:
    """The report as it travels."""
    content = canonical_json(report)
    return Signed(msgspec.Raw(content), key.sign(_DOMAIN + content).hex())


def read_report(signed: Signed) -> Report:
    """What a signed report says, and nothing about whether it is true: see `check_report`.

    Raises:
        UsageError: it is not a report of this schema.
    """
    try:
        report = msgspec.json.decode(signed.report, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"expected a report of {SCHEMA}, got: {error}; update tianti") from error
    if report.schema != SCHEMA:
        raise UsageError(f"expected a report of {SCHEMA}, got {report.schema!r}; update tianti")
    return report


def check_report(signed: Signed, public_key: bytes) -> None:
    """Make sure that the holder of this Ed25519 key (32 bytes) made the report.

    Raises:
        AccessError: it was another one.
        MissingExtraError: cryptography is not installed.
    """
    _check(signed.signature, _DOMAIN + bytes(signed.report), public_key, "a report signed by its device's key")


def sign_batch(content: bytes, key: "Ed25519PrivateKey") -> str:
    """The signature of who passes these bytes on: a JSON list of signed reports."""
    return key.sign(_BATCH_DOMAIN + content).hex()


def check_batch(content: bytes, signature: str, public_key: bytes) -> None:
    """Make sure that the holder of this Ed25519 key passed these bytes on.

    Raises:
        AccessError: it was another one.
        MissingExtraError: cryptography is not installed.
    """
    _check(signature, _BATCH_DOMAIN + content, public_key, f"a batch signed by the key of its {VIA}")


def _check(signature: str, content: bytes, public_key: bytes, expected: str) -> None:
    with needs_extra("update"):
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(signature), content)
    except (InvalidSignature, ValueError):
        raise AccessError(f"expected {expected}, got another signature", known=True) from None
