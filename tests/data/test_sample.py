"""The sample data: reproducible, disjoint, balanced, and asked in ways that train never saw."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from tianti.data.sample import write_sample
from tianti.data.sample.generate import OUT_OF_SCOPE, SIZES, Row, draw_splits, questions, sample_rows, text_key


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Row]]:
    return draw_splits()


def test_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again = write_sample(tmp_path / "a"), write_sample(tmp_path / "b")
    other = write_sample(tmp_path / "c", seed=8)
    for split in SIZES:
        assert first[split].read_bytes() == again[split].read_bytes()
        assert first[split].read_bytes() != other[split].read_bytes()


def test_files_hold_the_rows(tmp_path: Path) -> None:
    paths = write_sample(tmp_path)
    for split, rows in sample_rows().items():
        assert paths[split].name == f"{split}.jsonl.gz"
        text = gzip.decompress(paths[split].read_bytes()).decode("utf-8")
        assert [json.loads(line) for line in text.splitlines()] == rows
        assert "\\u" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths.values())


def test_sizes_and_keys() -> None:
    rows = sample_rows()
    assert {split: len(rows[split]) for split in rows} == SIZES
    assert SIZES["calibration"] >= 3000
    assert {tuple(row) for split in rows.values() for row in split} == {("text", "label", "domain", "lang")}
    assert {row["lang"] for split in rows.values() for row in split} == {"en", "zh", "mixed"}


def test_first_row_is_pinned_so_that_every_python_draws_the_same() -> None:
    # train is drawn last, so its first row hangs on every draw before it
    expected = {
        "text": "you don't understand me, who else can help with FitLoop",
        "label": "talk_to_agent",
        "domain": "account",
        "lang": "en",
    }
    assert sample_rows()["train"][0] == expected


@pytest.mark.parametrize("split", SIZES)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_many_intents_in_both_languages(splits: dict[str, list[Row]], split: str, lang: str) -> None:
    rows = [row for row in splits[split] if row.lang == lang]
    assert len({row.label for row in rows} - {OUT_OF_SCOPE}) >= 32
    assert 6 <= len({row.domain for row in rows} - {OUT_OF_SCOPE}) <= 8


def test_an_intent_has_one_domain(splits: dict[str, list[Row]]) -> None:
    pairs = {(row.label, row.domain) for rows in splits.values() for row in rows}
    assert len(pairs) == len({label for label, _ in pairs})


@pytest.mark.parametrize("seed", [7, 8])
def test_no_text_occurs_twice(seed: int) -> None:
    keys = [text_key(row.text) for rows in draw_splits(seed).values() for row in rows]
    assert all(keys)
    assert len(keys) == len(set(keys))


def test_no_template_mark_is_left(splits: dict[str, list[Row]]) -> None:
    for rows in splits.values():
        assert not [row.text for row in rows if set("<>()|") & set(row.text) or row.text != " ".join(row.text.split())]


def test_calibration_and_test_ask_in_families_that_train_never_saw(splits: dict[str, list[Row]]) -> None:
    seen = {row.family for row in splits["train"]}
    unseen = {split: sum(row.family not in seen for row in rows) / len(rows) for split, rows in splits.items()}
    assert unseen["train"] == 0
    assert 0.15 < unseen["test"] < 0.35
    assert abs(unseen["calibration"] - unseen["test"]) < 0.04


@pytest.mark.parametrize("field", ["label", "lang", "domain"])
def test_calibration_and_test_have_the_same_distribution(splits: dict[str, list[Row]], field: str) -> None:
    calibration, test = (Counter(getattr(row, field) for row in splits[split]) for split in ("calibration", "test"))
    assert set(calibration) == set(test)
    chi_square = 0.0
    for rows, size in ((calibration, SIZES["calibration"]), (test, SIZES["test"])):
        for value in calibration:
            expected = (calibration[value] + test[value]) * size / (SIZES["calibration"] + SIZES["test"])
            chi_square += (rows[value] - expected) ** 2 / expected
    freedom = len(calibration) - 1
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("split", SIZES)
def test_out_of_scope_is_in_every_split_and_language(splits: dict[str, list[Row]], split: str) -> None:
    strangers = [row for row in splits[split] if row.label == OUT_OF_SCOPE]
    assert 0.025 < len(strangers) / len(splits[split]) < 0.05
    assert {row.lang for row in strangers} == {"en", "zh", "mixed"}
    assert {row.domain for row in strangers} == {OUT_OF_SCOPE}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_questions_are_not_in_any_split(splits: dict[str, list[Row]], lang: str) -> None:
    known = {text_key(row.text) for rows in splits.values() for row in rows}
    asked = questions(lang)
    assert len(asked) == 8
    assert not [question for question in asked if text_key(question) in known]
