"""A rung that is somebody's model server: only called, in the Open Inference Protocol or TensorFlow Serving's API.

Not here: whether to ask it (`router`), bytes (`protocols`), sockets (`http`). One text a call, since what a server
says of a text may depend on its batch mates.
Invariants: an ask ends within its time, with an answer or an UpstreamError; an answer of another version than the one
that was certified is not `certified`.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tianti.errors import PackageError, RefusedError, UpstreamError, UsageError
from tianti.package import ModelPackage
from tianti.protocols import oip_tensors, tfs
from tianti.protocols.tensors import (
    Classified,
    Tensor,
    find_inputs,
    read_answer,
    read_outputs,
    text_tensors,
    token_tensors,
)
from tianti.runtimes.http import Connection
from tianti.runtimes.trust import bearer
from tianti.spec import Decision, Endpoint, Prediction, Probabilities, Reason, Request, Tier

_PATIENCE_S = 30.0  # of what is asked while building


class EndpointClient:
    """Asks an endpoint; `tokenizer`: the tokenizer.json of its model, where it takes tokens.

    Raises:
        UsageError: the URL is none, a secret or a tokenizer is missing.
    """

    def __init__(self, endpoint: Endpoint, tokenizer: Path | None = None) -> None:
        self.endpoint = endpoint
        self._dialect = oip_tensors if endpoint.protocol == "oip" else tfs
        self._connection = Connection(endpoint.url, _secret(endpoint))
        self.name = self._connection.name
        self._path = self._dialect.infer_path(endpoint.model, endpoint.version)
        self._tokenizer = None if tokenizer is None else _load_tokenizer(tokenizer, endpoint.max_length)

    async def ask(self, text: str, remaining_s: float = _PATIENCE_S) -> tuple[Classified, str | None]:
        """What the server says of a text, and the version that said it, where it tells.

        Raises:
            DeadlineError: nothing within `remaining_s`.
            RefusedError: it says that the request is wrong.
            UpstreamError: it cannot be reached, answers with an error, or with what is not an answer.
        """
        outputs, version = await self._outputs(text, remaining_s)
        try:
            return read_answer(self.endpoint, outputs), version
        except (UsageError, ValueError, TypeError) as error:
            raise UpstreamError(f"{self.name}: not an answer of {self.endpoint.declared}: {error}") from error

    async def discover(self, example: str) -> Endpoint:
        """The endpoint with all that its metadata and its answer to an example say of it, its version among them.

        Raises:
            UsageError: it takes or says what cannot be read as a classifier's.
            UpstreamError: as `ask`.
        """
        if not self.endpoint.model:
            self.endpoint = msgspec.structs.replace(self.endpoint, model=await self._find_model())
            self._path = self._dialect.infer_path(self.endpoint.model, self.endpoint.version)
        endpoint = self.endpoint
        content = await self._connection.call(
            self._dialect.metadata_path(endpoint.model, endpoint.version), _PATIENCE_S
        )
        signature, version = self._dialect.decode_signature(content)
        inputs = find_inputs(signature)
        if self._tokenizer is None and inputs[0].holds != "text":
            raise UsageError(f"{self.name} takes tokens: give cloud.tokenizer, the tokenizer.json of its model")
        if self._tokenizer is not None and inputs[0].holds == "text":
            raise UsageError(f"{self.name} takes texts: remove cloud.tokenizer")
        padding = [] if self._tokenizer is None else [self._tokenizer.token_to_id(name) for name in ("[PAD]", "<pad>")]
        pad_id = next((token for token in padding if token is not None), 0)
        longest = min(tensor.length or endpoint.max_length for tensor in inputs)
        if self._tokenizer is not None:
            self._tokenizer.enable_truncation(longest)
        self.endpoint = msgspec.structs.replace(endpoint, inputs=inputs, pad_id=pad_id, max_length=longest)
        outputs, answered = await self._outputs(example, _PATIENCE_S)
        try:
            found = read_outputs(self.endpoint, outputs)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self.name}: expected an answer of a classifier: {error}") from error
        declared = endpoint.version or answered or version
        if answered not in (None, declared):
            raise UsageError(f"cloud.version: expected answers of {declared}, {self.name} gave one of {answered}")
        self.endpoint = msgspec.structs.replace(found, version=declared)
        self._path = self._dialect.infer_path(endpoint.model, self.endpoint.version)
        return self.endpoint

    async def _find_model(self) -> str:
        """The only model that the server has."""
        if self.endpoint.protocol != "oip":
            raise UsageError(f"cloud.model: {self.endpoint.protocol} does not tell which models there are; name one")
        try:
            names = oip_tensors.decode_index(await self._connection.call(oip_tensors.INDEX_PATH, _PATIENCE_S, b"{}"))
        except RefusedError as error:
            raise UsageError(f"cloud.model: {self.name} does not tell which models there are; name one") from error
        if len(names) != 1:
            raise UsageError(f"cloud.model: {self.name} has {', '.join(names) or 'no model'}; name one")
        return names[0]

    async def probe(self) -> bool:
        """Is the model ready to answer? Never raises, and takes a second at most."""
        return await self._connection.answers(self._dialect.ready_path(self.endpoint.model, self.endpoint.version))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.aclose()

    async def _outputs(self, text: str, remaining_s: float) -> tuple[Sequence[Tensor], str | None]:
        endpoint = self.endpoint
        if self._tokenizer is None:
            inputs = text_tensors(endpoint, text)
        else:
            inputs = token_tensors(endpoint, self._tokenizer.encode(text).ids)
        content = await self._connection.call(self._path, remaining_s, self._dialect.encode_inputs(inputs))
        try:
            return self._dialect.decode_outputs(content)
        except (UsageError, ValueError, TypeError) as error:
            raise UpstreamError(f"{self.name}: {error}") from error


class EndpointRung:
    """An endpoint as the top of a release's ladder: the release's cloud package says how it is asked.

    Args:
        package: of the release's cloud.
        release: the release's id, which its answers are certified under.
        url: where the model is, if not where the package says.
    """

    def __init__(self, package: ModelPackage, release: str, url: str | None = None) -> None:
        self._package, self._release = package.id, release
        self._client = client_of(package, url)
        self.name = self._client.name

    async def ask(self, request: Request, remaining_s: float) -> Prediction:
        """The server's answer; raises as `EndpointClient.ask`."""
        said, version = await self._client.ask(request.text, remaining_s)
        as_certified = version in (None, self._client.endpoint.version) and request.release in (None, self._release)
        decision = Decision(
            reason=Reason.TOP, certified=as_certified and request.point is not None, tiers_tried=(Tier.CLOUD,)
        )
        return Prediction(
            label=said.label,
            score=said.score,
            probabilities=Probabilities.of(said.scores),
            tier=Tier.CLOUD,
            package=self._package,
            decision=decision,
        )

    async def probe(self) -> bool:
        """Is the model ready to answer? Never raises, and takes a second at most."""
        return await self._client.probe()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def client_of(package: ModelPackage, url: str | None = None) -> EndpointClient:
    """What asks the endpoint that a package names, at another `url` if one is given.

    Raises:
        PackageError: the package holds a model, and names no endpoint.
        UsageError: as `EndpointClient`.
    """
    endpoint = package.endpoint()
    if endpoint is None:
        raise PackageError(f"{package.folder} holds a model: it is run by a node, not called")
    moved = endpoint if url is None else msgspec.structs.replace(endpoint, url=url)
    return EndpointClient(moved, package.tokenizer_path if endpoint.takes_tokens else None)


def _secret(endpoint: Endpoint) -> dict[str, str]:
    if endpoint.key_env is None:
        return {}
    where = f"the environment variable {endpoint.key_env}"
    return bearer("cloud.key_env", where, os.environ.get(endpoint.key_env, ""))


def _load_tokenizer(path: Path, max_length: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions of its own
        raise PackageError(f"{path} cannot be loaded: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer
