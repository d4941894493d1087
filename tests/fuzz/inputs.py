"""Bytes that a stranger might send: any at all, any JSON of our own words, and what is valid, damaged.

Not here: who reads them (`decoders`, `wire`).
"""

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from tianti.protocols.tokens import IDS, MASK, TYPES

KEYS = (
    *("inputs", "outputs", "instances", "examples", "context", "parameters", "signature_name", "text", "texts", "b64"),
    *("name", "shape", "datatype", "data", "binary_data_size", "binary_data", "binary_data_output", "id", "model"),
    *("release", "point", "deadline_ms", "priority", "private", "passed_by", "audit", "scores", IDS, MASK, TYPES),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from((2**31, 2**63, 2**64, -(2**63), 10**30, 10**400)),
    st.floats(),  # NaN and infinities too, as Python and JavaScript write them
    st.sampled_from(
        ("text", "BYTES", "INT64", "FP32", IDS, MASK, "aGk=", "batch", "cloud", "", "\ud800", "\x00", "label")
    ),
    st.text(max_size=5),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
_PIECES = (b"[", b"{", b'"', b"-", b"1e999", b"NaN", b"\\ud800", b"\xff\xff\xff\xff", b"9" * 30, b"\r\n", b"!!int ")


def bodies(valid: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """All of the above; `valid`: what is taken."""
    made = [st.binary(max_size=300), TREES.map(_written)]
    made.append(st.builds(damaged, st.sampled_from(valid), st.integers(0, 2**32), st.integers(1, 4)))
    if trees := [body for body in valid if _is_json(body)]:
        made.append(_with_another_value(trees))
    return st.one_of(made)


def damaged(body: bytes, seed: int, times: int) -> bytes:
    """Some of its bytes changed, cut, doubled, or with others between them."""
    chance, changed = random.Random(seed), bytearray(body)
    for _ in range(times):
        at, to = sorted(chance.randrange(len(changed) + 1) for _ in range(2))
        match chance.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.randrange(1, 9)]
            case 2:
                del changed[to:]
            case 3:
                changed[at:at] = changed[at:to]
            case 4:
                changed[at:at] = chance.choice(_PIECES)
    return bytes(changed)


@st.composite
def _with_another_value(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    tree = {"": json.loads(draw(st.sampled_from(valid)))}
    spots = list(_spots(tree))
    holder, key = spots[draw(st.integers(0, len(spots) - 1))]
    match draw(st.sampled_from(("replace", "remove", "double"))):
        case "replace":
            holder[key] = draw(TREES)
        case "remove" if holder is not tree:
            del holder[key]
        case "double" if isinstance(holder, list):
            holder.extend(holder * draw(st.sampled_from((1, 70))))
    return _written(tree[""])


def _spots(tree: Any) -> Iterator[tuple[Any, Any]]:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in list(children):
        yield tree, key
        yield from _spots(child)


def _written(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True
