"""Texts of real lengths: messages of bank customers, some of one sentence and some of many.

Tokens by the 8,000-word tokenizer: mean near 36, median near 26, nine in ten below 73, cut at 128.
"""

import random
from collections.abc import Iterator

from benchmarks.real_data import data_folder
from tianti.data import Columns, read_table

COUNT = 256
MAX_TOKENS = 128
_ENDS = 0.37  # the chance that a message ends after a sentence


def make_texts() -> list[str]:
    """The same texts on every call."""
    rng = random.Random(0)
    sentences = read_texts("banking77_en", "test")
    rng.shuffle(sentences)
    left = iter(sentences)
    return [_message(rng, left) for _ in range(COUNT)]


def read_texts(name: str, part: str) -> list[str]:
    """The texts of one part of a data set."""
    folder = data_folder(name)
    columns = Columns(text="text", label="label")
    return [row.text for row in read_table(str(folder / f"{part}.jsonl.gz"), folder, columns)]


def _message(rng: random.Random, sentences: Iterator[str]) -> str:
    parts = [next(sentences)]
    while rng.random() > _ENDS:
        parts.append(next(sentences))
    return " ".join(parts)
