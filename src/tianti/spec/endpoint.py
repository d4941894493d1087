"""Endpoint: how a server that is not ours is asked, and how its answers are read. The content of endpoint.json.

Not here: finding any of it out, or asking (`protocols`, `runtimes.endpoint`).
Invariant: no secret is in it: `key_env` names the environment variable that holds one.
"""

from typing import Literal
from urllib.parse import SplitResult, urlsplit

import msgspec

Protocol = Literal["oip", "tfs"]
"""Open Inference Protocol v2, or TensorFlow Serving's REST API."""


class EndpointInput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tensor that the server takes.

    `datatype` is the protocol's word; `rank` the number of dimensions, the first being the batch; rows are padded to
    `length`, if there is one.
    """

    name: str
    holds: Literal["text", "ids", "mask", "types"]
    datatype: str
    rank: int = 2
    length: int | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model on somebody's server, known by the name and version that the server declares.

    `output` is the tensor that is read, and `says` what it holds: a row of numbers, one for each of `labels`, or the
    label itself. `score`: a tensor beside it with the server's own confidence.
    """

    url: str
    protocol: Protocol
    model: str
    version: str | None
    key_env: str | None = None
    inputs: tuple[EndpointInput, ...]
    output: str = ""
    says: Literal["logits", "probabilities", "label"] = "label"
    score: str | None = None
    labels: tuple[str, ...] = ()
    max_length: int = 64
    pad_id: int = 0

    @property
    def takes_tokens(self) -> bool:
        """The caller tokenises, with the tokenizer of the server's model."""
        return any(tensor.holds == "ids" for tensor in self.inputs)

    @property
    def declared(self) -> str:
        """The name and version that a certificate is bound to."""
        return f"{self.model}@{self.version or 'unversioned'}"


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL that a server can be asked at; None: it is none."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not pair, a port past 65535
        return None
    return parts if usable else None
