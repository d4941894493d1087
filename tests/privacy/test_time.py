"""Texts made to be slow take time in proportion to their length; what needs no phone book does not load it."""

import subprocess
import sys
import time

import pytest

from tianti.privacy.finder import Finder

PIECES = (
    *(
        "1",
        "0",
        "a",
        "@",
        ".",
        ":",
        "-",
        " ",
        "1 ",
        "1-",
        "1.",
        "a.",
        "a@",
        "@a.",
        "a@a.",
        ":a",
        "1:",
        "(",
        "(1",
        "+1",
        "+",
    ),
    *("粤B", "粤", "张@", "138", "138 ", "138-1234-", "010-", "010-6234", "400-", "0086", "4 ", "62 ", "6222 ", "1101"),
    *(
        "sk-",
        "sk-a",
        "eyJ",
        "eyJa.",
        "eyJaaaaaaaaa.",
        "password=",
        "password:",
        "key=",
        "bearer ",
        "basic a",
        "://",
        "://a:",
    ),
    *(
        "://a:b@",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        "-----BEGIN RSA ",
        "GB82",
        "GB82 WEST ",
        "\u200b",
        "１",
        '"',
        "'",
    ),
    *(
        "xn--",
        'token="',
        "token='a",
        "!",
        "SG.",
        "gh",
        "AKIA",
        "电话",
        "订单1",
        "91",
        "91110101",
        "A1",
        "2001:",
        "::",
        "13812345678 ",
        "\\u",
        "\\u00",
        "%E",
        "%E7",
        "&#1",
        "&#49;",
        "1 \n",
        "1 - ",
        "1--",
        "一",
        " @ ",
        "a(at)",
        "[dot",
        "1.138",
        "2.1",
        "12.",
        "\n1.1.",
        "\n22.1",
        "V1",
        "13800138000v",
        "1/",
        "91 1",
        "订单号1-",
        "order no. ",
        "(138)",
    ),
    *("-eyJ", "eyJaaaaaaaa-", "_eyJaaaaaaa.", "pw:", "pw ", "pw:<", "pw:\\", 'pw="\\"', 'pw:a"', "pw:)", "pw:aA"),
    *("密码", "密码“", "密码已", "://密:", "http://a:", "http://a.a:1", "authorization: a-", "--", "-- BEGIN "),
)
SHORT, LONG = 2_000, 16_000


def seconds(finder: Finder, text: str) -> float:
    start = time.process_time()
    finder.find(text)
    return time.process_time() - start


@pytest.mark.parametrize("piece", PIECES)
def test_time_grows_with_length_alone(piece: str) -> None:
    finder = Finder(("CN", "US", "GB"))
    short, long = ((piece * length)[:length] for length in (SHORT, LONG))
    base = min(seconds(finder, short) for _ in range(4))
    ratios = (seconds(finder, long) / base for _ in range(6))  # other programs run too: one that is fast is proof
    assert any(ratio < 4 * LONG / SHORT for ratio in ratios)  # what is quadratic takes 8 times as many


@pytest.mark.parametrize("piece", ["-eyJ", "eyJaaaaaaaa-"])
def test_the_beginning_of_a_token_again_and_again_takes_no_longer_than_other_words(piece: str) -> None:
    finder = Finder(("CN",))
    short, other = ((one * LONG)[:LONG] for one in (piece, "-abc"))
    base = min(seconds(finder, other) for _ in range(4))
    assert any(seconds(finder, short) < 8 * base for _ in range(6))


def test_the_phone_book_is_loaded_for_candidates_only() -> None:
    code = (
        "import sys; from tianti.privacy.finder import Finder; finder = Finder(('CN', 'US'));"
        "finder.find('手机13812345678，邮箱a@b.com，2024-01-15'); assert 'phonenumbers' not in sys.modules;"
        "finder.find('010-62345678'); assert 'phonenumbers' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
