"""A rung that is another of our nodes, asked over HTTP in the Open Inference Protocol.

Not here: whether to ask it (`router`), the bytes' layout (`protocols.oip`).
Invariant: an ask ends within its time, with a prediction or an UpstreamError; no environment variable changes where
a request goes (proxies, netrc).
"""

import asyncio
from urllib.parse import quote, urlsplit

from tianti.errors import DeadlineError, UpstreamError, UsageError
from tianti.protocols.oip import InferRequest, decode_error, decode_response, encode_request
from tianti.spec import Prediction, Request

PROBE_TIMEOUT_S = 1.0
_KEEP_ALIVE_S = 30.0  # shorter than our servers' own, so that no request meets a connection that is being closed
_CONNECTIONS = 64


class RemoteRung:
    """Another node at a URL such as http://edge:8081, answering for the model of this name.

    What it needs is imported here at the latest, not in the first ask, which has a deadline.

    Raises:
        UsageError: the URL is not one.
    """

    def __init__(self, url: str, model: str) -> None:
        import httpx2

        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # brackets that do not pair, a port past 65535
            usable = False
        if not usable:
            raise UsageError(f"upstream: expected a URL such as http://127.0.0.1:8081, got {url!r}")
        self.name = parts.netloc.rpartition("@")[2]
        self._url = url.rstrip("/")
        self._infer_url = f"{self._url}/v2/models/{quote(model, safe='')}/infer"
        self._client = httpx2.AsyncClient(
            timeout=None,  # the whole ask has one
            trust_env=False,
            verify=parts.scheme != "http",  # loading certificate authorities takes 20 ms
            limits=httpx2.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE_S),
            headers={"content-type": "application/json"},
        )

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
            )
        )
        try:
            async with asyncio.timeout(remaining_s):
                response = await self._client.post(self._infer_url, content=body)
        except TimeoutError:
            raise DeadlineError(f"{self.name} did not answer within {remaining_s * 1e3:.0f} ms") from None
        except Exception as error:  # exceptions of several libraries come through here; none may lose a request
            raise UpstreamError(f"{self.name} cannot be asked: {error or type(error).__name__}") from error
        if response.status_code != 200:
            raise UpstreamError(f"{self.name} answered {response.status_code}: {decode_error(response.content)}")
        try:
            (prediction,) = decode_response(response.content).predictions
        except (UsageError, ValueError) as error:
            raise UpstreamError(f"{self.name}: expected one answer of a Tianti node: {error}") from error
        return prediction

    async def probe(self) -> bool:
        """Is the node ready to answer? Never raises; takes PROBE_TIMEOUT_S at most."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return (await self._client.get(f"{self._url}/v2/health/ready")).status_code == 200
        except Exception:  # see `ask`: an exception that got out would end the probing for ever
            return False

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
