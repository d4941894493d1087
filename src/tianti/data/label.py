"""Rows without labels of their own get those that a cloud model gave them.

Not here: asking it (`pipeline.asking`). Invariants: a row that got no answer is left out and counted; a label with too
few train rows is not learnt, but stays where rows measure, so that a certificate counts it.
"""

from collections import Counter
from collections.abc import Mapping

import msgspec

from tianti.data.clean import MIN_TRAIN_ROWS
from tianti.data.prepare import Prepared, make_report
from tianti.data.rows import Row, text_key
from tianti.errors import DataError
from tianti.spec import Role

_SHOWN = 5


def label_rows(prepared: Prepared, said: Mapping[str, str]) -> Prepared:
    """The prepared rows with the labels that `said` maps their text keys to.

    Raises:
        DataError: fewer than two labels can be learnt, or no row is out of scope though a label for that is named.
    """
    rows = {
        role: [Row(row.text, said[key], row.group) for row in unlabelled if (key := text_key(row.text)) in said]
        for role, unlabelled in prepared.rows.items()
    }
    counts = Counter(row.label for row in rows[Role.TRAIN] if row.label != prepared.out_of_scope)
    learnt = tuple(sorted(label for label, count in counts.items() if count >= MIN_TRAIN_ROWS))
    if len(learnt) < 2:
        got = ", ".join(f"{label!r} (rows: {count})" for label, count in counts.most_common(_SHOWN)) or "none"
        raise DataError(
            f"data.train: expected the cloud to give two labels or more, each to {MIN_TRAIN_ROWS} texts, got {got}; "
            "give more texts, or allow more cloud.calls"
        )
    if prepared.out_of_scope is not None and all(
        row.label != prepared.out_of_scope for part in rows.values() for row in part
    ):
        raise DataError(
            f"data.out_of_scope: expected texts that the cloud answers {prepared.out_of_scope!r}, got none; check the "
            "spelling, or remove the key"
        )
    report = make_report(rows, prepared.report.sources, learnt, prepared.out_of_scope)
    warnings = [*_warnings(prepared, rows, counts, learnt), *report.warnings]
    return msgspec.structs.replace(
        prepared, rows=rows, labels=learnt, report=msgspec.structs.replace(report, warnings=warnings)
    )


def _warnings(
    prepared: Prepared, rows: Mapping[Role, list[Row]], counts: Counter[str], learnt: tuple[str, ...]
) -> list[str]:
    found = ["no row has a label of its own: the cloud's stand for them, so accuracy means agreement with the cloud"]
    before, after = (sum(map(len, each.values())) for each in (prepared.rows, rows))
    if after < before:
        found.append(f"{before - after:,} of {before:,} texts were not asked of the cloud, and are left out")
    if rare := sorted(set(counts) - set(learnt)):
        shown = ", ".join(rare[:_SHOWN]) + (", …" if len(rare) > _SHOWN else "")
        found.append(f"{len(rare)} labels have fewer than {MIN_TRAIN_ROWS} train rows and stay with the cloud: {shown}")
    return found
