"""Cleaning: what is dropped, what is kept, and that both are counted."""

from itertools import pairwise

import msgspec
import pytest

from tianti.data import Row, SourceCounts, row_key, text_key
from tianti.data.clean import check_labels, check_train_rows, clean_sources, part_conflicting, typo_warnings
from tianti.errors import DataError


def rows(*pairs: tuple[str, str]) -> list[Row]:
    return [Row(text, label) for text, label in pairs]


def test_case_blanks_and_width_do_not_tell_texts_apart() -> None:
    assert text_key("Refund  MY\torder ") == text_key("refund my order") == text_key("ｒｅｆｕｎｄ my order")
    assert text_key("refund my order") != text_key("refund my order!")
    assert row_key(Row("Hi", "a")) == row_key(Row("hi ", "a")) != row_key(Row("hi", "b"))


def test_each_dropped_row_is_counted_under_one_reason() -> None:
    tables = {
        "train": rows(
            ("a", "x"), ("A ", "x"), ("", "x"), ("\u3000", "x"), ("b", ""), ("c", "x"), ("d", "y"), ("e", "y")
        ),
        "calibration": rows(("c", "x"), ("f", "y"), ("F", "y")),
        "test": rows(("D", "x"), ("g", "y")),
    }
    kept, counts = clean_sources(tables)
    assert kept == {
        "train": rows(("a", "x"), ("e", "y")),
        "calibration": rows(("c", "x"), ("f", "y")),
        "test": rows(("D", "x"), ("g", "y")),
    }
    assert counts == {
        "train": SourceCounts(read=8, empty=3, duplicate=1, leaked=2, kept=2),
        "calibration": SourceCounts(read=3, duplicate=1, kept=2),
        "test": SourceCounts(read=2, kept=2),
    }
    for found in map(msgspec.structs.asdict, counts.values()):
        assert found.pop("read") == sum(found.values())


def test_a_leaked_text_stays_in_test_before_calibration_before_validation_before_train() -> None:
    order = ("train", "validation", "calibration", "test")
    for first, second in pairwise(order):
        kept, counts = clean_sources({first: rows(("same", "x"), ("a", "x")), second: rows(("same", "x"), ("b", "x"))})
        assert kept == {first: rows(("a", "x")), second: rows(("same", "x"), ("b", "x"))}
        assert (counts[first].leaked, counts[second].leaked) == (1, 0)


def test_a_source_with_nothing_left_is_an_error() -> None:
    same = rows(("a", "x"), ("b", "y"))
    with pytest.raises(
        DataError, match=r"data.train: expected rows left.*got none \(0 empty, 0 repeated, 2 leaked\); give"
    ):
        clean_sources({"train": same, "test": same})


def test_conflicting_texts_are_parted_whatever_their_case() -> None:
    single, several = part_conflicting(rows(("a", "x"), ("b", "x"), ("B", "y"), ("c", "y")))
    assert single == rows(("a", "x"), ("c", "y"))
    assert several == rows(("b", "x"), ("B", "y"))


def test_labels_are_those_of_train_in_scope_sorted() -> None:
    tables = {"train": rows(("a", "y"), ("b", "x"), ("c", "oos"), ("d", "")), "test": rows(("e", "oos"), ("f", "x"))}
    assert check_labels(tables, "oos") == ("x", "y")


@pytest.mark.parametrize(
    ("train", "test", "out_of_scope", "expected"),
    [
        (("x", "x"), ("x",), None, ("expected at least two labels", "got 1: x", "check data.label")),
        (("x", "oos"), ("x",), "oos", ("expected at least two labels", "got 1: x")),
        (("", ""), ("x",), None, ("expected at least two labels", "got none")),
        (
            ("refund", "greet"),
            ("refund", "refnud", "refnud"),
            None,
            (
                "data.test: expected only labels that data.train has",
                "'refnud' (rows: 2, did you mean 'refund'?)",
                "add train",
            ),
        ),
        (("x", "y"), ("x", "oos"), None, ("got 'oos' (rows: 1)", "or name it as data.out_of_scope")),
        (
            ("x", "y"),
            ("x", "out_of_scope"),
            "out-of-scope",
            ("expected rows with the label 'out-of-scope'", "got none", "did you mean 'out_of_scope'?"),
        ),
        (("x", "y"), ("x",), "oos", ("expected rows with the label 'oos'", "got none", "remove data.out_of_scope")),
    ],
)
def test_each_mistake_in_labels_is_one_clear_error(
    train: tuple[str, ...], test: tuple[str, ...], out_of_scope: str | None, expected: tuple[str, ...]
) -> None:
    tables = {name: [Row("t", label) for label in labels] for name, labels in (("train", train), ("test", test))}
    with pytest.raises(DataError) as caught:
        check_labels(tables, out_of_scope)
    for part in expected:
        assert part in str(caught.value)


def test_too_few_train_rows_of_a_label_is_an_error_that_counts_them() -> None:
    read = [
        Row(f"{label} {number}", label) for label, count in (("refund", 9), ("refnud", 3)) for number in range(count)
    ]
    with pytest.raises(DataError) as caught:
        check_train_rows(read[:-1], read, ("refnud", "refund"))
    assert "expected at least 5 train rows of each label" in str(caught.value)
    assert "got 2 (of 3) of 'refnud', did you mean 'refund'?; add rows" in str(caught.value)
    check_train_rows(read[:9], read, ("refund",))


def test_labels_that_look_misspelt_are_named_and_others_are_not() -> None:
    warnings = typo_warnings({"refund": 100, "refnud": 6, "delivery": 90, "greeting": 80, "Greeting": 75, "stock": 7})
    assert len(warnings) == 2
    assert "'Greeting' (75 rows) looks like 'greeting' (80 rows)" in warnings[0]
    assert "'refnud' (6 rows) looks like 'refund' (100 rows)" in warnings[1]
    assert "kept apart" in warnings[0]
    # alike, and none of them rare
    assert typo_warnings({"card_arrival": 50, "card_arrivals": 40, "0": 9, "1": 9}) == []
