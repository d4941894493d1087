"""Every error Tianti raises on purpose, and the tree they hang on.

    TiantiError                    something failed; the command line exits 1
    ├── UsageError                 wrong use: fix the call, the file or the install; exits 2
    │   ├── SpecError              ladder.yaml says something that cannot be
    │   ├── MissingExtraError      an optional dependency is not installed
    │   └── UnknownModelError      a node was asked for a model or a version that it does not have
    ├── AccessError                a caller of a node is not known, or may not do this
    ├── OverloadError              a node has more work than it can do in time: later, or elsewhere
    │   └── QuotaError             this caller has had its share
    ├── DataError                  rows that cannot be read or cannot be used
    ├── StoreError                 the workspace or the store cannot be written or read
    ├── PackageError               a model package or release is malformed or unknown
    │   └── IntegrityError         its bytes are not those that its manifest names
    ├── GateError                  a quality gate or a budget of the spec was not met
    ├── StageError                 a pipeline stage failed or broke its contract
    ├── PrivacyError               a detector broke its contract, or kept placeholders cannot be read: nothing leaves
    ├── UpdateError                an update could not be fetched or is not to be trusted: nothing was changed
    │   └── AbsentError            the repository does not have this file
    ├── RunError                   a package could not be run, or its output is not usable
    └── UpstreamError              a higher tier did not answer
        ├── DeadlineError          not within the request's deadline
        ├── RefusedError           it says that the request is wrong: asking again does not help
        │   └── TextRefusedError   because of its text: another one may be answered
        └── BusyError              it is out or has as much under way as it can take: not asked, or it says so itself
            └── UnaskedError       that is known here: nothing was sent

Not here: HTTP status codes and exit handling, which belong to `serving` and `cli`.
Invariant: a message says what was expected, what was found, and the cure.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class TiantiError(Exception):
    """Root of the tree: catch this to catch everything that Tianti raises on purpose."""


class UsageError(TiantiError):
    """The caller asked for something that cannot be."""


class SpecError(UsageError):
    """ladder.yaml is not valid; the message names the key."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed; the message holds the pip line."""


class UnknownModelError(UsageError):
    """A node was asked for a model, a version or a label that it does not have."""


class AccessError(TiantiError):
    """A caller of a node is not known (`known` False), or is, and may not do this."""

    def __init__(self, message: str, known: bool) -> None:
        super().__init__(message)
        self.known = known


class OverloadError(TiantiError):
    """A node has more work than it can do in time; another try is worth it after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QuotaError(OverloadError):
    """This caller has had its share; others are served."""


class DataError(TiantiError):
    """Rows cannot be read, or what was read cannot be used."""


class StoreError(TiantiError):
    """The workspace or the store cannot be written or read."""


class PackageError(TiantiError):
    """A model package or a release is malformed, unknown or of another schema."""


class IntegrityError(PackageError):
    """A file's bytes are not those that the manifest names."""


class GateError(TiantiError):
    """A gate of `evaluate:` or a tier's budget was not met; nothing is released."""


class StageError(TiantiError):
    """A pipeline stage failed or did not keep its contract."""


class PrivacyError(TiantiError):
    """A detector broke its contract, or what was replaced cannot be restored; no text leaves on account of it."""


class UpdateError(TiantiError):
    """An update could not be fetched, or what was fetched is not to be trusted; what was there stays in use."""


class AbsentError(UpdateError):
    """The repository does not have this file."""


class RunError(TiantiError):
    """A package could not be run, or gave an output that is not usable."""


class UpstreamError(TiantiError):
    """A higher tier did not answer usefully; `shared`: the same call's failure was told already, for another text."""

    def __init__(self, *said: object, shared: bool = False) -> None:
        super().__init__(*said)
        self.shared = shared


class DeadlineError(UpstreamError):
    """A higher tier did not answer within the deadline."""


class RefusedError(UpstreamError):
    """A server says that the request is wrong: asking again does not help."""


class TextRefusedError(RefusedError):
    """A server refuses this text; it is there, and may answer another one."""


class BusyError(UpstreamError):
    """A higher tier is out and was not asked, or has as much under way as it can take: known here, or said by it."""


class UnaskedError(BusyError):
    """A higher tier is known here to be out or full, and was sent nothing."""


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn a failed import inside the block into the pip line that cures it.

    Raises:
        MissingExtraError: a module imported inside the block is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tianti"):
            raise
        message = f"this needs the module {error.name!r}, which is not installed; run: pip install 'tianti[{extra}]'"
        raise MissingExtraError(message) from error
