"""Rows as a cloud that is only called knows them: with its labels where they have none, and without what it refused.

Not here: asking it (`pipeline.asking`). Invariants: a row that got no answer is left out and counted; a label with too
few train rows is not learnt, but stays where rows measure, so that a certificate counts it.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping

import msgspec

from tianti.data.clean import MIN_TRAIN_ROWS
from tianti.data.prepare import Prepared, make_report
from tianti.data.rows import Row, text_key
from tianti.errors import DataError
from tianti.spec import Role

_SHOWN = 5
_FEW = 0.01


def keep_answered(prepared: Prepared, answered: Container[str], roles: Iterable[Role]) -> Prepared:
    """The prepared rows, but in these roles only those whose text keys were answered; what is left out is counted."""
    rows = dict(prepared.rows)
    for role in roles:
        rows[role] = [row for row in rows[role] if text_key(row.text) in answered]
    left_out = sum(len(prepared.rows[role]) - len(rows[role]) for role in rows)
    if not left_out:
        return prepared
    report = make_report(rows, prepared.report.sources, prepared.labels, prepared.out_of_scope)
    warning = f"the cloud has not answered {left_out:,} texts that measure: what follows is of texts that it answers"
    return msgspec.structs.replace(
        prepared, rows=rows, report=msgspec.structs.replace(report, warnings=[warning, *report.warnings])
    )


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
        found.append(f"{before - after:,} of {before:,} texts have no answer of the cloud, and are left out")
    read = sum(source.read for source in prepared.report.sources.values())
    repeated = sum(source.duplicate + source.leaked for source in prepared.report.sources.values())
    if repeated > _FEW * read:
        alike = f"{repeated / read:.0%} of the rows repeat a text and count once"
        found.append(f"{alike}: all shares are of distinct texts, not of calls")
    if rare := sorted(set(counts) - set(learnt)):
        shown = ", ".join(rare[:_SHOWN]) + (", …" if len(rare) > _SHOWN else "")
        found.append(f"{len(rare)} labels have fewer than {MIN_TRAIN_ROWS} train rows and stay with the cloud: {shown}")
    return found
