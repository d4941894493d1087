from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianti.explain.words import alone, cut, without


def texts_of(text: str) -> list[str]:
    return [text[word.start : word.end] for word in cut(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't like it, at all!! 3.14", ["I", "don't", "like", "it", "at", "all", "!!", "3.14"]),
        ("good😀 (very) low-key", ["good😀", "very", "low-key"]),
        ("酒店的服务太差了，iPhone15！", ["酒店", "的服", "务太", "差了", "iPhone15", "！"]),
        ("今日はカメラ", ["今日", "はカ", "メラ"]),
        ("ดีมาก", ["ดีม", "าก"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("¡Hola! ¿Qué? «oui» 'Да' «", ["Hola", "!", "Qué", "?", "oui", "Да"]),
        ("السلام، كيف؟ نعم؛", ["السلام", "كيف", "؟", "نعم"]),
        ("मैं। तुम॥ ሰላም፡ልጅ።", ["मैं", "तुम", "ሰላም", "ልጅ"]),
        ("葛\U000e0100城市 ハ\u0301ナ", ["葛\U000e0100城", "市", "ハ\u0301ナ"]),
        ("cafe\u0301 ❤\ufe0f", ["cafe\u0301", "❤\ufe0f"]),
        ("... ，。", []),
        ("", []),
    ],
)
def test_words_in_each_script(text: str, words: list[str]) -> None:
    assert texts_of(text) == words


@given(st.text(alphabet="ab 酒店，!'.-😀\n\u0301ดี¡»؟।\ufe0f\U000e0100", max_size=30), st.sets(st.integers(0, 30)))
def test_what_is_dropped_and_what_is_kept_are_parts_of_the_text(text: str, chosen: set[int]) -> None:
    words = cut(text)
    chosen = {index for index in chosen if index < len(words)}
    assert all(word.start < word.end for word in words)
    assert all(first.end <= second.start for first, second in pairwise(words))
    left, only = without(text, words, chosen), alone(text, words, chosen)
    bare = "".join(texts_of(text)[index] for index in sorted(chosen))
    assert sorted("".join(left.split()) + bare) == sorted("".join(text.split()))
    assert all(character in only for character in bare)
    assert without(text, words, ()) == text


def test_no_blank_is_doubled_and_no_letters_meet() -> None:
    text = "a bad, bad film!indeed"
    words = cut(text)
    assert without(text, words, [1, 2]) == "a , film!indeed"
    assert without(text, words, [4]) == "a bad, bad film indeed"
    assert alone(text, words, [1, 2, 4]) == "bad, bad !"
