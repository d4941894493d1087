"""Roles: exact sizes, stratified, kept by hash, apart."""

from collections import Counter
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tianti.data import Row, text_key
from tianti.data.split import assign_roles, check_apart, share_of_train
from tianti.errors import DataError, SpecError
from tianti.spec import Role

TAKES: dict[str, float | int] = {"validation": 0.1, "calibration": 300, "test": 0.1}


def some_rows(each: int = 100, labels: int = 10, start: int = 0) -> list[Row]:
    return [
        Row(f"text {number} of {label}", f"l{label}")
        for number in range(start, start + each)
        for label in range(labels)
    ]


def shuffled(rows: list[Row]) -> list[Row]:
    return Random(0).sample(rows, len(rows))


def role_of(roles: dict[Role, list[Row]]) -> dict[str, Role]:
    return {text_key(row.text): role for role, rows in roles.items() for row in rows}


def test_shares_and_counts_and_sources_are_told_apart() -> None:
    assert share_of_train("10%", "data.test") == 0.1
    assert share_of_train(" 2.5 % ", "data.test") == 0.025
    assert share_of_train(3000, "data.test") == 3000
    assert share_of_train("data/10%.csv", "data.test") is None
    with pytest.raises(SpecError, match=r"data.test: expected a share between 0% and 100%"):
        share_of_train("110%", "data.test")


def test_roles_have_the_sizes_that_were_asked_and_the_labels_of_the_whole() -> None:
    roles = assign_roles({"train": some_rows()}, TAKES, seed=0)
    assert {role: len(rows) for role, rows in roles.items()} == {
        Role.TRAIN: 500,
        Role.VALIDATION: 100,
        Role.TUNING: 100,
        Role.CERTIFY: 200,
        Role.TEST: 100,
    }
    for role, share in (
        (Role.TRAIN, 50),
        (Role.VALIDATION, 10),
        (Role.TUNING, 10),
        (Role.CERTIFY, 20),
        (Role.TEST, 10),
    ):
        assert set(Counter(row.label for row in roles[role]).values()) == {share}
    check_apart(roles, [])


def test_roles_do_not_depend_on_the_order_of_the_file_but_on_the_seed() -> None:
    rows = some_rows()
    here, reversed_, other = (
        role_of(assign_roles({"train": table}, TAKES, seed)) for table, seed in ((rows, 0), (rows[::-1], 0), (rows, 1))
    )
    assert here == reversed_
    assert here != other


def test_added_rows_hardly_move_the_others() -> None:
    takes = {"validation": 0.1, "calibration": 0.3, "test": 0.1}
    rows, added = some_rows(), some_rows(each=2, start=5000)
    before, after = (role_of(assign_roles({"train": table}, takes, 0)) for table in (rows, added + rows))
    assert sum(after[key] != role for key, role in before.items()) <= len(added)
    # negative control: a seeded shuffle, which is what one would write without thinking
    before, after = ({row.text: index for index, row in enumerate(shuffled(table))} for table in (rows, added + rows))
    moved = sum((after[text] < 100) != (place < 100) for text, place in before.items())  # in and out of a test of 100
    assert moved > 5 * len(added)


def test_a_source_keeps_its_rows_and_calibration_is_split_by_thirds() -> None:
    tables = {"train": some_rows(), "calibration": some_rows(each=9, start=500), "test": some_rows(each=3, start=900)}
    roles = assign_roles(tables, {"validation": 0.1}, seed=0)
    assert roles[Role.TEST] == tables["test"]
    assert len(roles[Role.TUNING]) == 30
    assert sorted(roles[Role.TUNING] + roles[Role.CERTIFY], key=str) == sorted(tables["calibration"], key=str)
    assert [row for row in tables["train"] if row in roles[Role.TRAIN]] == roles[Role.TRAIN]


def test_a_text_with_two_labels_has_one_role() -> None:
    rows = some_rows(each=50)
    doubtful = [Row(row.text.upper(), "l0" if row.label != "l0" else "l1") for row in rows[::3]]
    roles = assign_roles({"train": rows + doubtful}, TAKES, seed=0)
    check_apart(roles, [])


def test_an_unlabelled_text_that_has_a_role_is_an_error() -> None:
    with pytest.raises(DataError, match=r"expected unlabelled texts in no role, got one .* in certify too"):
        check_apart({Role.CERTIFY: [Row("hello ", "x")]}, ["HELLO"])


def test_a_text_in_two_roles_is_an_error() -> None:
    with pytest.raises(DataError, match=r"expected every text in one role, got one .* in train and test"):
        check_apart({Role.TRAIN: [Row("hello ", "x")], Role.TEST: [Row("HELLO", "y")]}, [])


@pytest.mark.parametrize(
    ("takes", "expected"),
    [
        ({"test": 1000}, "data.test: expected between 1 and 999 rows to take, got 1000"),
        ({"test": 0}, "data.test: expected between 1 and 999 rows to take, got 0"),
        ({"calibration": 0.0}, "data.calibration: expected between 1 and 899 rows"),
        ({"calibration": 0.5, "validation": 0.4}, "data.validation: expected between 1 and 399 rows"),
        ({"calibration": 2}, "data.calibration: expected at least 3 rows, got 2; add rows"),
    ],
)
def test_taking_nothing_or_too_much_is_an_error(takes: dict[str, float | int], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        assign_roles({"train": some_rows()}, TAKES | takes, seed=0)
    assert expected in str(caught.value)


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=8),
    share=st.floats(0.05, 0.25),
    seed=st.integers(0, 2**31),
)
def test_whatever_the_labels_sizes_roles_partition_the_rows(sizes: list[int], share: float, seed: int) -> None:
    rows = [Row(f"{label}-{number}", f"l{label}") for label, size in enumerate(sizes) for number in range(size)]
    rows += [Row(f"more {number}", "l0") for number in range(60)]
    roles = assign_roles({"train": rows}, dict.fromkeys(("validation", "calibration", "test"), share), seed)
    for one, other in combinations(roles.values(), 2):
        assert not {row.text for row in one} & {row.text for row in other}
    assert sum(map(len, roles.values())) == len(rows)
    taken, whole = Counter(row.label for row in roles[Role.TEST]), Counter(row.label for row in rows)
    # largest remainder: each label's part is within one row of its exact share
    for label, size in whole.items():
        assert abs(taken[label] - size * len(roles[Role.TEST]) / len(rows)) < 1
