"""What every dialect asks and answers: a batch of texts, or of token ids, and their predictions.

Not here: bytes (`oip`, `tfs`, ...), sockets (`serving`).
Invariant: a dialect's decoder gives only requests that are within the limits below, each checked by `check_request`.
"""

import math
import re

import msgspec

from tianti.errors import UsageError
from tianti.spec import Prediction, Priority, Tier

MAX_BODY_BYTES = 8_000_000
MAX_BATCH = 64
MAX_TEXT_CHARS = 1_000_000  # one such text fits a body, however JSON escapes it
MAX_TOKENS = 65_536  # of one text that comes as ids; the model's own limit is far below
_RELEASE = re.compile("[0-9a-f]{64}")


class InferRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts to answer, or texts as token ids (of the answering model's tokenizer, special ones included).

    None: the answering node chooses. `outputs` names the tensors wanted, () all of them; `binary` those that are wanted
    as bytes and not in JSON. `private`: nothing of it is kept after the answer.
    """

    texts: tuple[str, ...] = ()
    ids: tuple[tuple[int, ...], ...] = ()
    release: str | None = None
    point: float | None = None
    passed_by: Tier | None = None
    deadline_ms: float | None = None
    audit: bool = False
    priority: Priority = Priority.INTERACTIVE
    private: bool = False
    id: str | None = None
    outputs: tuple[str, ...] = ()
    binary: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts) or len(self.ids)


class InferResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions in the order of the texts; `release` is the one that the node answered with, `labels` its model's."""

    model: str
    release: str
    predictions: tuple[Prediction, ...]
    id: str | None = None
    labels: tuple[str, ...] = ()


def check_count(count: int) -> None:
    """So many texts; decoders ask before they look at each.

    Raises:
        UsageError: there are none, or too many.
    """
    if not 1 <= count <= MAX_BATCH:
        raise UsageError(f"expected 1 to {MAX_BATCH} texts, got {count}; send several requests")


def check_request(asked: InferRequest) -> InferRequest:
    """The request, if it is within the limits.

    Raises:
        UsageError: it is not, or holds neither texts nor ids, or both.
    """
    check_count(len(asked))
    if asked.texts and asked.ids:
        raise UsageError("expected texts or token ids, got both")
    longest = max(map(len, asked.texts), default=0)
    if longest > MAX_TEXT_CHARS:
        raise UsageError(f"expected a text of at most {MAX_TEXT_CHARS} characters, got {longest}; cut it")
    if not all(1 <= len(row) <= MAX_TOKENS for row in asked.ids):
        raise UsageError(f"expected 1 to {MAX_TOKENS} token ids a text; got a row of another length")
    if asked.release is not None and not _RELEASE.fullmatch(asked.release):  # it goes up as it is
        raise UsageError("release: expected the id of a release, 64 hexadecimal digits, got another string")
    if asked.point is not None and not 0.0 < asked.point < 1.0:
        raise UsageError(f"point: expected an alpha between 0 and 1, got {asked.point}")
    if asked.deadline_ms is not None and not 0.0 < asked.deadline_ms < math.inf:
        raise UsageError(f"deadline_ms: expected milliseconds above 0, got {asked.deadline_ms}")
    return asked
