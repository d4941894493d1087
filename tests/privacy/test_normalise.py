"""Normalised texts, and the way back to the original's characters."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianti.privacy import Finder, Found
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
        ("1\u2028 2\u2029\x853\x0b4\u28005\x0c6", "1  2  3 4 5 6"),
        ("1\t2\r\n3", "1\t2\r\n3"),
        ("a\x00b\x08c\x7f", "abc"),
    ],
)
def test_plain_characters(odd: str, plain: str) -> None:
    assert normalise(odd).text == plain


def test_every_decimal_digit_is_known() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Nd"]
    assert normalise("".join(every)).text == "".join(str(unicodedata.decimal(one)) for one in every)


@pytest.mark.parametrize(
    "odd",
    "\u0301\u1ab0\u1dc0\ufe20\u3099\u0483\u0489\ufff9\u06dd\u070f\u0e31\x00\x08\x7f\x90\u2028\u2029\x85\x0b\u2800",
    ids=lambda odd: f"{ord(odd):04x}",
)
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("phone", "138|0013|8000"),
        ("id_card", "110101|19900307|1233"),
        ("bank_card", "4111|1111|1111|1111"),
        ("uscc", "9111|0000|6000|3734|1L"),
        ("iban", "GB82|WEST|1234|5698|7654|32"),
    ],
)
def test_what_is_not_seen_hides_nothing(kind: str, value: str, odd: str) -> None:
    parted = value.replace("|", odd)
    assert Finder(("CN",)).find(parted) == [Found(0, len(parted), kind, proven=True)]


def test_a_slash_may_be_escaped() -> None:
    text = r"http:\/\/user:passw@h.com\/"
    (found,) = Finder(("CN",)).find(text)
    assert found.kind == "url_credentials" and text[found.start : found.end].startswith("user:passw")


@given(st.text(st.sampled_from("1１٣ab\u200b\ufeff\u00ad\u0e31\x00\x0b\u2028字。－"), min_size=1, max_size=40))
def test_spans_lead_back(text: str) -> None:
    normal = normalise(text)
    for place, one in enumerate(normal.text):
        start, end = normal.span(place, place + 1)
        assert end == start + 1
        assert normalise(text[start:end]).text == one
    if normal.text:
        start, end = normal.span(0, len(normal.text))
        assert normalise(text[start:end]).text == normal.text
