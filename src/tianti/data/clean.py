"""Drop rows that would falsify training or testing, count every one, and refuse labels that cannot be learnt.

A text that is in several sources stays in the one that measures most: test, then calibration, validation, train.
A text with several labels is dropped where weights are fitted, and kept where accuracy is measured: there the doubt
is real, and a certificate that leaves out doubtful rows would claim too much.

A text without a label is kept where no labelled source has it.

Not here: reading (`read`), roles (`split`). Invariant: a row is kept or counted under one reason, never changed.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Set

from tianti.data.report import SourceCounts
from tianti.data.rows import Row, by_text, normalise
from tianti.errors import DataError

UNLABELLED = "unlabelled"
KEPT_FIRST = ("test", "calibration", "validation", "train", UNLABELLED)
MIN_TRAIN_ROWS = 5
_RARE_SHARE = 0.1  # of the middle label's rows; a label with fewer may be a typing error
_TYPO_LIKENESS = 0.8  # difflib's ratio: two letters swapped in six
_SHOWN_LABELS = 10


def clean_sources(
    tables: Mapping[str, list[Row]], labelled: bool = True
) -> tuple[dict[str, list[Row]], dict[str, SourceCounts]]:
    """Drop empty, repeated and leaked rows.

    Args:
        tables: rows by the key of `data:` that named them, some of KEPT_FIRST.
        labelled: rows of all keys but UNLABELLED must have a label.

    Returns:
        The kept rows in their order, and the counts of each source.

    Raises:
        DataError: nothing of a source is left.
    """
    kept: dict[str, list[Row]] = {}
    counts: dict[str, SourceCounts] = {}
    taken: set[str] = set()
    for name in (name for name in KEPT_FIRST if name in tables):
        kept[name], counts[name] = _clean_source(tables[name], taken, labelled and name != UNLABELLED)
        taken |= {normalise(row.text) for row in kept[name]}
        if not kept[name]:
            found = f"{counts[name].empty} empty, {counts[name].duplicate} repeated, {counts[name].leaked} leaked"
            cure = "give each role rows of its own, or take a share of train, such as 10%"
            raise DataError(f"data.{name}: expected rows left after cleaning, got none ({found}); {cure}")
    return {name: kept[name] for name in tables}, {name: counts[name] for name in tables}


def _clean_source(rows: list[Row], taken: set[str], labelled: bool) -> tuple[list[Row], SourceCounts]:
    kept, counts, seen = [], SourceCounts(read=len(rows)), set()
    for row in rows:
        text = normalise(row.text)
        if not text or (labelled and not row.label):
            counts.empty += 1
        elif (text, row.label) in seen:
            counts.duplicate += 1
        elif text in taken:
            counts.leaked += 1
        else:
            kept.append(row)
        seen.add((text, row.label))
    counts.kept = len(kept)
    return kept, counts


def part_conflicting(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Rows whose text bears one label only, and those whose text bears several; both in their order."""
    single: list[Row] = []
    several: list[Row] = []
    for alike in by_text(rows).values():
        (single if len({row.label for row in alike}) == 1 else several).extend(alike)
    return single, several


def check_labels(tables: Mapping[str, list[Row]], out_of_scope: str | None) -> tuple[str, ...]:
    """The labels that a model is to know: those of the train source, sorted, also where cleaning left no row of one.

    Args:
        tables: the rows of each source.
        out_of_scope: the label that is no class of a model.

    Raises:
        DataError: fewer than two labels; a label that train does not know; an out-of-scope label that no row bears.
    """
    found = {name: Counter(row.label for row in rows if row.label) for name, rows in tables.items()}
    in_scope = found["train"].keys() - {out_of_scope}
    if len(in_scope) < 2:
        got = f"got {len(in_scope)}: {', '.join(sorted(in_scope))}" if in_scope else "got none"
        raise DataError(
            f"data.train: expected at least two labels (out of scope aside), {got}; "
            "check data.label, or add rows with other labels"
        )
    everywhere = {label for counts in found.values() for label in counts}
    if out_of_scope is not None and out_of_scope not in everywhere:
        near = difflib.get_close_matches(out_of_scope, everywhere, n=1)
        cure = f"did you mean {near[0]!r}?" if near else "remove data.out_of_scope, or add such rows"
        raise DataError(f"data.out_of_scope: expected rows with the label {out_of_scope!r}, got none; {cure}")
    for name, counts in found.items():
        _check_unseen(name, counts, in_scope, out_of_scope)
    return tuple(sorted(in_scope))


def _check_unseen(name: str, counts: Counter[str], in_scope: Set[str], out_of_scope: str | None) -> None:
    unseen = [label for label, _ in counts.most_common() if label not in in_scope and label != out_of_scope]
    if unseen:
        got = _listed([f"{label!r} (rows: {counts[label]}{_hint(label, in_scope)})" for label in unseen])
        cure = "add train rows with it, correct its spelling, or name it as data.out_of_scope"
        raise DataError(f"data.{name}: expected only labels that data.train has, got {got}; {cure}")


def check_train_rows(rows: Iterable[Row], read: Iterable[Row], labels: Iterable[str]) -> None:
    """Each label must have enough train rows to be learnt from; `read` are all rows of the train source.

    Raises:
        DataError: a label has fewer than MIN_TRAIN_ROWS.
    """
    counts, before = Counter(row.label for row in rows), Counter(row.label for row in read)
    few = sorted((label for label in labels if counts[label] < MIN_TRAIN_ROWS), key=lambda label: counts[label])
    if few:
        enough = [label for label in counts if counts[label] >= MIN_TRAIN_ROWS]
        got = _listed([f"{counts[label]} (of {before[label]}) of {label!r}{_hint(label, enough)}" for label in few])
        raise DataError(
            f"data.train: expected at least {MIN_TRAIN_ROWS} train rows of each label after cleaning and splitting, "
            f"got {got}; add rows, or merge or remove these labels"
        )


def typo_warnings(counts: Mapping[str, int]) -> list[str]:
    """Labels that look like another one misspelt: alike but for case, width and blanks; or rare, and nearly alike.

    Nothing is merged: `counts` are the rows of each label, and what to do about them is the user's to say.
    """
    warnings: list[str] = []
    alike: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        usual = alike.setdefault(normalise(label), label)
        if usual != label:
            warnings.append(_typo(label, usual, counts))
    middle = sorted(counts.values())[len(counts) // 2]
    rare = [label for label in alike.values() if counts[label] < _RARE_SHARE * middle]
    common = [label for label in alike.values() if counts[label] >= _RARE_SHARE * middle]
    for label in rare:
        near = difflib.get_close_matches(label, common, n=1, cutoff=_TYPO_LIKENESS)
        warnings.extend(_typo(label, usual, counts) for usual in near)
    return warnings


def _typo(label: str, usual: str, counts: Mapping[str, int]) -> str:
    return (
        f"label {label!r} ({counts[label]:,} rows) looks like {usual!r} ({counts[usual]:,} rows) misspelt; "
        "they are kept apart"
    )


def _hint(label: str, others: Iterable[str]) -> str:
    near = difflib.get_close_matches(label, list(others), n=1, cutoff=_TYPO_LIKENESS)
    return f", did you mean {near[0]!r}?" if near else ""


def _listed(items: list[str]) -> str:
    more = len(items) - _SHOWN_LABELS
    return ", ".join(items[:_SHOWN_LABELS]) + (f" and {more} more" if more > 0 else "")
