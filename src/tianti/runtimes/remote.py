"""A rung that is another of our nodes, asked over HTTP in the Open Inference Protocol.

Not here: whether to ask it (`router`), the bytes' layout (`protocols.oip`), sockets (`http`).
Invariants: an ask ends within its time, with a prediction or an UpstreamError; an answer of another release than the
one that was asked for is not `certified`.
"""

from urllib.parse import quote

import msgspec

from tianti.errors import UpstreamError, UsageError
from tianti.protocols.infer import InferRequest
from tianti.protocols.oip import decode_response, encode_request
from tianti.runtimes.http import Connection
from tianti.runtimes.trust import Trust
from tianti.spec import Prediction, Request


class RemoteRung:
    """Another node at a URL such as http://edge:8081, answering for the model of this name.

    Raises:
        UsageError: the URL is not one, or what the trust names cannot be used with it.
    """

    def __init__(self, url: str, model: str, trust: Trust | None = None) -> None:
        self._connection = Connection(url, trust=trust or Trust())
        self.name = self._connection.name
        self._path = f"/v2/models/{quote(model, safe='')}/infer"

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        """The node's answer; connecting, waiting and reading share the time.

        Raises:
            DeadlineError: not within `remaining_s`.
            UpstreamError: it cannot be reached, answers with an error, or with what is not an answer.
        """
        body = encode_request(
            InferRequest(
                texts=(request.text,),
                release=request.release,
                point=request.point,
                passed_by=request.passed_by,
                deadline_ms=request.deadline_ms,
                audit=request.audit,
                priority=request.priority,
                private=request.private,
            )
        )
        content = await self._connection.call(self._path, remaining_s, body)
        try:
            response = decode_response(content)
            (prediction,) = response.predictions
        except (UsageError, ValueError) as error:
            raise UpstreamError(f"{self.name}: expected one answer of a Tianti node: {error}") from error
        if request.release in (None, response.release):
            return prediction
        uncertified = msgspec.structs.replace(prediction.decision, certified=False)  # whatever the node thinks
        return msgspec.structs.replace(prediction, decision=uncertified)

    async def probe(self) -> bool:
        """Is the node ready to answer? Never raises, and takes a second at most."""
        return await self._connection.answers("/v2/health/ready")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.aclose()
