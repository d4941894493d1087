"""Endpoint: how a server that is not ours is asked, and how its answers are read. The content of endpoint.json.

Not here: finding any of it out, or asking (`protocols`, `runtimes.endpoint`).
Invariant: no secret is in it: `key_env` names the environment variable that holds one.
"""

from typing import Literal

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
    def declared(self) -> str:
        """The name and version that a certificate is bound to."""
        return f"{self.model}@{self.version or 'unversioned'}"
