"""Integrated gradients add up to what they explain, and fall on the token that decides."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from tests.tiny_release import WORDS, make_tokenizer_json
from tianti.errors import StageError
from tianti.pipeline.gradients import Gradients
from tianti.training.students import BagBody, Student, TransformerBody

VOCABULARY = {"[PAD]": 0, "[UNK]": 1, **{word: at for at, word in enumerate(sum(WORDS.values(), ()), 2)}}
TEXT = "please lamp and rain now"


def student(body: torch.nn.Module) -> Student:
    return Student(body, torch.arange(len(VOCABULARY)))


def tokenizer() -> Tokenizer:
    return Tokenizer.from_str(make_tokenizer_json(VOCABULARY))


def test_tokens_come_to_the_fall() -> None:
    torch.manual_seed(0)
    body = TransformerBody(len(VOCABULARY), 3, width=16)
    with torch.no_grad():
        body.embedding.weight.mul_(10.0)
    found = Gradients(student(body), tokenizer(), 8).attribute(TEXT, 1)
    assert abs(found.fall) > 0.01 and abs(found.delta) < 0.01 * abs(found.fall)
    assert sum(token.weight for token in found.tokens) == pytest.approx(found.fall + found.delta)
    unknown = [token.weight for token in found.tokens if TEXT[token.start : token.end] in ("please", "and", "now")]
    assert unknown == [0.0, 0.0, 0.0]  # they are where the path starts already


def test_a_start_of_padding_does_not_add_up() -> None:
    """The control: its mask differs from that of the way, so nothing that is on the way explains the whole fall."""

    class FromPadding(Gradients):
        def start(self, ids: Sequence[int]) -> list[int]:
            return [self.pad] * len(ids)

    torch.manual_seed(0)
    body = TransformerBody(len(VOCABULARY), 3, width=16)
    with torch.no_grad():
        body.embedding.weight.mul_(10.0)
    good, bad = (way(student(body), tokenizer(), 8).attribute(TEXT, 1) for way in (Gradients, FromPadding))
    assert abs(bad.delta) > 10 * abs(good.delta)


def test_the_token_that_decides_weighs_most() -> None:
    torch.manual_seed(0)
    body = BagBody(len(VOCABULARY), 3, width=8)
    with torch.no_grad():
        body.embedding.weight.zero_()
        body.embedding.weight[VOCABULARY["lamp"], 0] = 4.0
        body.hidden[1].weight.zero_()
        body.head.weight.zero_()
        body.head.weight[2, 0] = 5.0
    tokens = Gradients(student(body), tokenizer(), 8).attribute(TEXT, 2).tokens
    best = max(tokens, key=lambda token: token.weight)
    assert TEXT[best.start : best.end] == "lamp"
    assert np.count_nonzero([abs(token.weight) > 1e-6 for token in tokens]) == 1


def test_a_student_without_a_table_is_named() -> None:
    with pytest.raises(StageError, match="table of tokens"):
        Gradients(student(torch.nn.Linear(3, 3)), tokenizer(), 8)
