"""From `data:` of ladder.yaml to the rows of each role, and their folder: one file a role, the labels, the report.

Not here: what is clean (`clean`) or who gets which role (`split`). Invariant: the same sources, columns and seed give
the same bytes.
"""

import gzip
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tianti.data.clean import (
    UNLABELLED,
    check_labels,
    check_train_rows,
    clean_sources,
    part_conflicting,
    typo_warnings,
)
from tianti.data.read import Columns, read_table
from tianti.data.report import CleaningReport, Lengths, RoleCounts, SourceCounts
from tianti.data.rows import Row
from tianti.data.sources import resolve_source
from tianti.data.split import assign_roles, check_apart, share_of_train
from tianti.spec import Role
from tianti.spec.ladder import DataSpec
from tianti.store import canonical_json, sha256_file, write_atomic

# The fewest rows, all without harm, that certify 1% at 95%: ln 0.05 / ln 0.99.
_CERTIFY_ROWS_FOR_1_PERCENT = 299

_REPORT = "report.json"
_LABELS = "labels.json"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by role, and texts without a label, which students learn from.

    `labels`: those in scope, sorted, which are a model's outputs; `out_of_scope` is none of them. Where the source has
    no labels there are none yet, and every row's is empty (see `label`).
    """

    rows: dict[Role, list[Row]]
    unlabelled: list[str]
    labels: tuple[str, ...]
    out_of_scope: str | None
    report: CleaningReport


class _Labels(msgspec.Struct, frozen=True, kw_only=True):
    labels: tuple[str, ...]
    out_of_scope: str | None


def prepare(spec: DataSpec, base: Path, slices: tuple[str, ...], seed: int, groups: tuple[str, ...] = ()) -> Prepared:
    """Read, clean and split.

    Args:
        spec: `data:` of ladder.yaml.
        base: the folder of ladder.yaml.
        slices: columns that the source of the test rows must have.
        seed: of the roles.
        groups: columns that the source of the calibration rows must have.

    Raises:
        DataError: the sources cannot be read, or what they hold cannot be used.
        MissingExtraError: a source needs a library that is not installed.
    """
    sources, takes = _sources(spec), _takes(spec)
    tables = {}
    for name, source in sources.items():
        tested = name == ("test" if "test" in sources else "train")
        label = None if name == UNLABELLED else spec.label
        certifies = name == ("calibration" if "calibration" in sources else "train")
        group = dict.fromkeys((*(slices if tested else ()), *(groups if certifies else ())))
        columns = Columns(text=spec.text, label=label, group=tuple(group))
        tables[name] = read_table(source, base, columns, spec.encoding)
    labelled = spec.label is not None
    labels = check_labels(tables, spec.out_of_scope) if labelled else ()
    kept, counts = clean_sources(tables, labelled)
    roles = assign_roles(kept, takes, seed)
    _drop_conflicting(roles, counts["train"])
    unlabelled = [row.text for row in kept.get(UNLABELLED, [])]
    check_apart(roles, unlabelled)
    check_train_rows(roles[Role.TRAIN], tables["train"], labels)
    report = make_report(roles, counts, labels, spec.out_of_scope)
    return Prepared(rows=roles, unlabelled=unlabelled, labels=labels, out_of_scope=spec.out_of_scope, report=report)


def source_digest(spec: DataSpec, base: Path) -> dict[str, str]:
    """SHA-256 of the bytes of each source, by its key in `data:`.

    Raises:
        DataError: a source cannot be found or reached.
    """
    return {name: sha256_file(resolve_source(source, base)) for name, source in _sources(spec).items()}


def write_prepared(prepared: Prepared, folder: Path) -> None:
    """Write one jsonl.gz a role, labels.json and report.json; the same rows give the same bytes."""
    tables: dict[str, Sequence[Row | str]] = {str(role): rows for role, rows in prepared.rows.items()}
    for name, rows in (tables | {UNLABELLED: prepared.unlabelled}).items():
        packed = io.BytesIO()
        # no name and no time, so that equal rows are equal bytes
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
            file.write(msgspec.json.Encoder().encode_lines(rows))
        write_atomic(folder / f"{name}.jsonl.gz", packed.getvalue())
    labels = _Labels(labels=prepared.labels, out_of_scope=prepared.out_of_scope)
    write_atomic(folder / _LABELS, canonical_json(labels))
    write_atomic(folder / _REPORT, canonical_json(prepared.report))


def read_prepared(folder: Path) -> Prepared:
    """What `write_prepared` wrote.

    Raises:
        DataError: a text is in two roles, which a user's own stage may have brought about.
    """
    rows = {role: msgspec.json.Decoder(Row).decode_lines(_unpack(folder, role)) for role in Role}
    unlabelled = msgspec.json.Decoder(str).decode_lines(_unpack(folder, UNLABELLED))
    check_apart(rows, unlabelled)
    found = msgspec.json.decode((folder / _LABELS).read_bytes(), type=_Labels)
    return Prepared(
        rows=rows,
        unlabelled=unlabelled,
        labels=found.labels,
        out_of_scope=found.out_of_scope,
        report=read_report(folder),
    )


def _unpack(folder: Path, name: str) -> bytes:
    return gzip.decompress((folder / f"{name}.jsonl.gz").read_bytes())


def read_report(folder: Path) -> CleaningReport:
    """The cleaning report of a prepared folder, without its rows."""
    return msgspec.json.decode((folder / _REPORT).read_bytes(), type=CleaningReport)


def _parts(spec: DataSpec) -> dict[str, str | int]:
    return {"train": spec.train, "validation": spec.validation, "calibration": spec.calibration, "test": spec.test}


def _sources(spec: DataSpec) -> dict[str, str]:
    sources = {
        name: str(value)
        for name, value in _parts(spec).items()
        if name == "train" or share_of_train(value, f"data.{name}") is None
    }
    return sources if spec.unlabelled is None else {**sources, UNLABELLED: spec.unlabelled}


def _takes(spec: DataSpec) -> dict[str, float | int]:
    shares = {name: share_of_train(value, f"data.{name}") for name, value in _parts(spec).items() if name != "train"}
    return {name: share for name, share in shares.items() if share is not None}


def _drop_conflicting(roles: dict[Role, list[Row]], counts: SourceCounts) -> None:
    roles[Role.TRAIN], dropped = part_conflicting(roles[Role.TRAIN])
    counts.conflicting += len(dropped)
    counts.kept -= len(dropped)


def make_report(
    roles: Mapping[Role, list[Row]], counts: dict[str, SourceCounts], labels: tuple[str, ...], out_of_scope: str | None
) -> CleaningReport:
    """What is said of these rows; `labels` is empty as long as they have none."""
    found = {
        role: RoleCounts(
            rows=len(rows),
            conflicting=len(part_conflicting(rows)[1]),
            labels=dict(sorted(Counter(row.label for row in rows).items())),
        )
        for role, rows in roles.items()
    }
    lengths = sorted(len(row.text) for rows in roles.values() for row in rows)
    return CleaningReport(
        sources=counts,
        roles=found,
        out_of_scope=out_of_scope,
        characters=Lengths(p50=lengths[len(lengths) // 2], p95=lengths[int(len(lengths) * 0.95)], longest=lengths[-1]),
        warnings=_warnings(found, labels, out_of_scope) if labels else [],
    )


def _warnings(roles: Mapping[Role, RoleCounts], labels: tuple[str, ...], out_of_scope: str | None) -> list[str]:
    warnings = typo_warnings({label: roles[Role.TRAIN].labels[label] for label in labels})
    certify, test = roles[Role.CERTIFY], roles[Role.TEST]
    if certify.rows < _CERTIFY_ROWS_FOR_1_PERCENT:
        warnings.append(
            f"{certify.rows} rows certify; 1% at 95% confidence takes at least {_CERTIFY_ROWS_FOR_1_PERCENT}, all "
            "without harm: give data.calibration more rows"
        )
    if untested := [label for label in labels if label not in test.labels]:
        warnings.append(f"{len(untested)} of {len(labels)} labels have no test row: {', '.join(untested[:5])}")
    if out_of_scope is not None and (out_of_scope in certify.labels) != (out_of_scope in test.labels):
        lacking = "test" if out_of_scope in certify.labels else "certify"
        warnings.append(f"no {lacking} row is out of scope, so what was certified and what is tested are not alike")
    return warnings
