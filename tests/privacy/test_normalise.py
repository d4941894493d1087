"""Normalised texts, and the way back to the original's characters."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianti.privacy.normalise import normalise


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ("１３８－００００", "138-0000"),
        ("ａｂ＠ｃ．ｃｏｍ", "ab@c.com"),
        ("١٢٣ ۴۵ १२ 𝟙𝟚", "123 45 12 12"),
        ("粤Ｂ・１２３４５", "粤B·12345"),
        ("138\u200b1234\ufeff5678\u00ad", "13812345678"),
        ("1\u00a02\u30003", "1 2 3"),
        ("①注²", "①注²"),
        ("普通文字，句号。", "普通文字,句号。"),
    ],
)
def test_plain_characters(odd: str, plain: str) -> None:
    assert normalise(odd).text == plain


def test_every_decimal_digit_is_known() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Nd"]
    assert normalise("".join(every)).text == "".join(str(unicodedata.decimal(one)) for one in every)


@given(st.text(st.sampled_from("1１٣ab\u200b\ufeff\u00ad字。－"), min_size=1, max_size=40))
def test_spans_lead_back(text: str) -> None:
    normal = normalise(text)
    for place, one in enumerate(normal.text):
        start, end = normal.span(place, place + 1)
        assert end == start + 1
        assert normalise(text[start:end]).text == one
    if normal.text:
        start, end = normal.span(0, len(normal.text))
        assert normalise(text[start:end]).text == normal.text
