"""Two tables compared: what is planted is found, what is one source is called one, and facts are counted."""

import random
from collections import Counter
from pathlib import Path

import pytest
from scipy import stats

from tianti.data import Columns, Row, read_table
from tianti.data.chance import same_share_p
from tianti.data.diff import RATE, diff
from tianti.data.diff_report import TableDiff, findings
from tianti.data.words import main_script, script_of, scripts, words

LABELS = [f"label{k}" for k in range(20)]


def draw(chance: random.Random, count: int, labels: list[str] = LABELS, word: str = "") -> list[Row]:
    return [
        Row(f"{word} {' '.join(chance.choices('abcdefghij', k=chance.randint(1, 20)))}", chance.choice(labels))
        for _ in range(count)
    ]


def claims(found: TableDiff) -> int:
    shifts = [*(found.labels or []), *found.scripts]
    return sum(shift.claimed for shift in shifts) + found.lengths.claimed + found.unseen.claimed


def test_two_halves_of_one_table_claim_nothing_but_at_the_stated_rate() -> None:
    chance, claimed, uncorrected = random.Random(0), 0, 0
    rows = draw(chance, 600)
    for _ in range(200):
        chance.shuffle(rows)
        old, new = rows[:300], rows[300:]
        claimed += claims(diff(old, new, labelled=True)) > 0
        counts = [Counter(row.label for row in half) for half in (old, new)]
        uncorrected += min(same_share_p(counts[0][label], 300, counts[1][label], 300) for label in LABELS) <= RATE
    most = stats.binom(200, RATE).ppf(0.999)
    assert claimed <= most < uncorrected, "without the correction nearly every comparison claims something"


def test_a_planted_shift_of_labels_is_found_and_nothing_else_is_claimed() -> None:
    chance = random.Random(1)
    found = diff(draw(chance, 2000), draw(chance, 2000, [*LABELS, "label3", "label3"]), labelled=True)
    assert found.labels is not None
    assert [shift.name for shift in found.labels if shift.claimed] == ["label3"]
    assert found.labels[0].name == "label3" and found.labels[0].new_share > 0.1 > found.labels[0].old_share
    assert not found.lengths.claimed and not found.unseen.claimed
    assert any("1 of 20 labels differ by more than chance: label3" in line for line in findings(found))


def test_labels_that_appear_and_vanish_are_named() -> None:
    chance = random.Random(2)
    found = findings(diff(draw(chance, 300, ["a", "b", "gone"]), draw(chance, 300, ["a", "b", "fresh"]), labelled=True))
    assert any(line.startswith("1 label is only in NEW: fresh (") for line in found)
    assert any(line.startswith("1 label is only in OLD: gone (") for line in found)


def test_longer_texts_another_script_and_a_new_word_are_found() -> None:
    chance = random.Random(3)
    old = draw(chance, 500)
    longer = diff(old, [Row(row.text * 2, row.label) for row in draw(chance, 500)], labelled=True)
    assert longer.lengths.claimed and longer.lengths.new["p50"] > longer.lengths.old["p50"]
    chinese = diff(old, [*draw(chance, 400), *(Row("把客厅的灯关了", "label1") for _ in range(60))], labelled=True)
    assert {shift.name for shift in chinese.scripts if shift.claimed} == {"Han", "Latin"}
    assert chinese.new.letters["Han"] > 0.05 and "Han" not in chinese.old.letters
    said = findings(diff(old, draw(chance, 500, word="refund"), labelled=True))
    assert any("100.0% of NEW's rows have a word that OLD never saw" in line for line in said)
    assert any("1 of them more often than chance: refund (500)" in line for line in said)


def test_leaks_are_found_whatever_their_case_and_conflicts_by_their_label() -> None:
    old = [
        Row("Turn it OFF", "off"),
        Row("turn it on", "on"),
        Row("play", "music"),
        Row("play", "game"),
        Row("say", ""),
    ]
    new = [
        Row("turn  it off", "off"),
        Row("ｔｕｒｎ it on", "off"),
        Row("Turn it on", "on"),
        Row("play", "game"),
        Row("say", "talk"),
        Row("sing", "music"),
    ]
    found = diff(old, new, labelled=True)
    assert (found.overlap.rows, found.overlap.texts, found.overlap.conflicting) == (5, 4, 1)
    (conflict,) = [leak for leak in found.overlap.examples if leak.conflicts]
    assert (conflict.label, conflict.old_labels) == ("off", ["on"]) and found.overlap.examples[0] is conflict
    said = findings(found)
    assert "4 texts of NEW are also in OLD (83.3% of its rows)." in said
    assert "1 text of NEW is also in OLD with another label." in said


def test_flaws_of_each_table_are_counted() -> None:
    old = [Row("a", "x"), Row("A ", "x"), Row("a", "y"), Row(" ", "x"), Row("b", "")]
    found = diff(old, [Row("c", "x")], labelled=True)
    assert (found.old.rows, found.old.empty, found.old.unlabelled) == (5, 1, 1)
    assert (found.old.duplicates, found.old.contradicting) == (2, 3)
    assert (found.new.empty, found.new.duplicates, found.new.contradicting) == (0, 0, 0)
    flaws = "without a text 1, without a label 1, that repeat a text 2, whose text bears several labels 3"
    assert f"Rows of OLD: {flaws}." in findings(found)


def test_texts_without_labels_are_compared_too_and_empty_ones_do_no_harm() -> None:
    found = diff([Row("a", ""), Row("", "")], [Row("", "")], labelled=False)
    assert found.labels is None and found.lengths.p == 1.0
    assert not any("label" in line for line in findings(found))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Turn OFF the light, 42 times!", {"turn", "off", "the", "light", "times"}),
        ("把客厅的灯关了", {"把客", "客厅", "厅的", "的灯", "灯关", "关了"}),
        ("打开Netflix吧", {"打开", "netflix", "吧"}),
        ("हिन्दी भाषा", {"हिन्दी", "भाषा"}),
        ("123 …", set()),
    ],
)
def test_words_are_words_or_pairs_of_characters(text: str, found: set[str]) -> None:
    assert words(text) == found


def test_scripts_are_those_of_the_letters() -> None:
    assert [script_of(c) for c in "aяअ灯ひカ한ω々1!"] == [
        *("Latin", "Cyrillic", "Devanagari", "Han", "Hiragana", "Katakana", "Hangul", "Greek", "Han"),
        *(None, None),
    ]
    assert scripts("打开 ＡＢ") == {"Han": 2, "Latin": 2}
    assert main_script(scripts("打开空调 TV")) == "Han" and main_script(scripts("42")) == "none"


@pytest.mark.parametrize("name", ["clinc150_en", "thucnews_titles_zh"])
def test_a_real_table_beside_a_half_of_itself(shared_data: Path, name: str) -> None:
    rows = read_table(str(shared_data / name / "train.jsonl.gz"), Path(), Columns())[::4]
    random.Random(0).shuffle(rows)
    found = diff(rows, rows[: len(rows) // 2], labelled=True)
    assert claims(found) == 0
    assert found.overlap.conflicting == 0 and found.overlap.rows == found.new.rows
