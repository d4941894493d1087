"""Every type is found in generated texts, and little else; without what is said to do it, it fails."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.privacy.corpus import Row, positives
from tests.privacy.measured import Measured, measure
from tests.privacy.near_misses import near_misses
from tests.privacy.negatives import negatives
from tests.privacy.values import FORMS
from tianti.privacy import addresses, cards, finder, identities, phones, secrets
from tianti.privacy.finder import Finder
from tianti.privacy.normalise import Normal
from tianti.spec.privacy import TYPES

ROWS = positives(seed=1, of_each=400)
CLEAN = [text for _, text in negatives(seed=1, of_each=220)]
RECALL, PRECISION = 0.995, 0.99


def measured(rows: Sequence[Row] = ROWS, clean: Sequence[str] = CLEAN) -> dict[str, Measured]:
    return measure(Finder(("CN", "US")).find, rows, clean)


@pytest.fixture(scope="module")
def normal() -> dict[str, Measured]:
    return measured()


def test_every_type_is_measured() -> None:
    assert set(FORMS) == TYPES
    assert len(CLEAN) >= 2000


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_recall_and_precision(normal: dict[str, Measured], kind: str) -> None:
    said = normal[kind]
    assert said.recall >= RECALL, said.wrong
    assert said.precision >= PRECISION, said.wrong


@contextmanager
def with_word_edges() -> Iterator[None]:
    """What Presidio and most others put around a number."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (addresses, cards, identities, phones, secrets):
            for name, value in vars(module).copy().items():
                if isinstance(value, re.Pattern):
                    patch.setattr(module, name, re.compile(edged(value.pattern), value.flags))
        yield


def edged(pattern: str) -> str:
    for ours in ("(?<![0-9A-Za-z])", "(?<![0-9A-Za-z.])"):
        pattern = pattern.replace(ours, r"\b")
    return pattern.replace("(?![0-9A-Za-z])", r"\b")


def test_word_edges_lose_numbers_in_chinese_text() -> None:
    with with_word_edges():
        said = measured()
    assert all(said[kind].recall < 0.9 for kind in ("phone", "id_card", "bank_card", "ip", "plate"))


CHECKS = [
    (cards, "luhn_right", True, "bank_card", "bank_card"),
    (identities, "credit_code_right", True, "uscc", "uscc"),
    (cards, "iban_right", True, "iban", "iban"),
    (phones, "_is_valid", True, "phone", "phone"),
    (cards, "is_called", None, "order", "bank_card"),
]


@pytest.mark.parametrize(("module", "check", "says", "near", "kind"), CHECKS, ids=[check[1] for check in CHECKS])
def test_without_its_check_precision_falls(module: Any, check: str, says: bool | None, near: str, kind: str) -> None:
    rows = [row for row in ROWS if row.kind == kind]
    texts = near_misses(1, near, 100)
    assert measured(rows, texts)[kind].precision >= PRECISION
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, check, lambda *given, **named: says)
        assert measured(rows, texts)[kind].precision < 0.9


def test_without_normalising_full_width_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "normalise", lambda text: Normal(text, None))
    said = measured()
    assert all(said[kind].recall < 0.9 for kind in ("phone", "id_card", "bank_card", "email"))
