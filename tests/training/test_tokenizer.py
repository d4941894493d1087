"""A tokenizer of one's own is sent to every device: it must not hold what rows say of somebody."""

import pytest

from tianti.training.tokenizer import train_tokenizer

ROWS = [f"call {{value}} about row {number}, since 2024" for number in range(9)]


@pytest.mark.parametrize(
    "value", ["13812345678", "１３８１２３４５６７８", "11010119900307123X", "sk9f8e7d6c5b4a", "q" * 30]
)
def test_numbers_and_keys_of_rows_are_not_learnt(value: str) -> None:
    tokenizer = train_tokenizer([row.format(value=value) for row in ROWS])
    longest = max((word for word in tokenizer.get_vocab() if word != "[UNK]"), key=len)
    assert len(longest.removeprefix("##")) <= 5, longest


def test_numbers_are_still_read() -> None:
    tokenizer = train_tokenizer([f"call 138{11 * number:04d}{7 * number:04d}" for number in range(99)])
    assert "[UNK]" not in tokenizer.encode("13812345678").tokens


def test_words_and_years_are_learnt() -> None:
    vocabulary = train_tokenizer([row.format(value="wang") for row in ROWS]).get_vocab()
    assert {"about", "since", "2024"} <= vocabulary.keys()
