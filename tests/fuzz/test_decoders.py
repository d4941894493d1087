"""No bytes break a reader: each takes them, or refuses them with the error that it documents."""

import json
from collections.abc import Callable

import pytest

from tests.fuzz.decoder import Decoder, Tally, fuzz, take
from tests.fuzz.decoders import DECODERS
from tests.fuzz.files import YAML
from tests.fuzz.requests import checked
from tianti.protocols.infer import InferRequest

EXAMPLES = 100
KEYS = (b"inputs", b"instances", b"examples", b"text", b"texts", b"parameters", b"outputs", b"x")


@pytest.mark.parametrize("name", DECODERS)
def test_what_is_valid_is_taken(name: str) -> None:
    """The control: what is damaged below is what a reader takes."""
    taken = [take(DECODERS[name], body) for body in DECODERS[name].valid]
    assert any(taken)


@pytest.mark.parametrize("name", DECODERS)
def test_whatever_comes_is_taken_or_refused(name: str) -> None:
    fuzz(DECODERS[name], EXAMPLES, 1, tally := Tally())
    assert sum(tally.outcomes.values()) >= EXAMPLES


@pytest.mark.parametrize("body", YAML)
@pytest.mark.parametrize("name", ["file: models", "file: ladder"])
def test_what_a_yaml_library_stumbles_over_is_refused(name: str, body: bytes) -> None:
    assert not take(DECODERS[name], body)


def half_a_character(body: bytes) -> InferRequest:
    return InferRequest(texts=(body.decode(errors="surrogateescape"),))


@pytest.mark.parametrize("leaky", [json.loads, checked(half_a_character)])
def test_a_reader_that_leaks_is_seen(leaky: Callable[[bytes], object]) -> None:
    """The control: the standard library's reader, and a text that cannot be sent on."""
    with pytest.raises(ValueError, match=r"Expecting value|can't encode"):
        fuzz(Decoder(leaky, (b"{}",)), EXAMPLES, 1, Tally())


@pytest.mark.parametrize("name", DECODERS)
def test_nesting_has_no_depth_that_breaks(name: str) -> None:
    slow = DECODERS[name].valid[-1] in YAML  # its library takes half a second for the last
    for depth in (2, 100, 900, 1_000, *(() if slow else (100_000,))):
        for opening, closing in ((b"[", b"]"), (b'{"text":', b"}")):
            take(DECODERS[name], nested := opening * depth + b"1" + closing * depth)
            for key in (b"x",) if slow else KEYS:
                take(DECODERS[name], b'{"' + key + b'": ' + nested + b', "instances": ["a"]}')
                take(DECODERS[name], b'{"' + key + b'": ' + opening * depth)
