"""Read a table of labelled texts: csv, tsv, JSON lines, a JSON list or parquet, gzipped or not.

Not here: fetching it (`sources`), judging the rows (`clean`). Files are read whole into memory.
Invariants: every row of the file becomes a Row, in order, or the whole read is one error that names the row and quotes
nothing of it; null text and labels become empty ones, which cleaning counts.
"""

import csv
import difflib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tianti.data.decode import PARQUET, decode, unpack
from tianti.data.rows import Row
from tianti.data.sources import resolve_source
from tianti.errors import DataError, needs_extra

_SHOWN_COLUMNS = 20
_LONGEST_NAME = 20
_NUMBER = re.compile("[0-9]{3}")
_OPTIONS = {"data.text": " (or --text)", "data.label": " (or --label)"}  # of commands that read no ladder.yaml


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """The names of the columns to read; `group` are those to slice by."""

    text: str = "text"
    label: str | None = "label"  # None: rows bear none, and a .txt file holds one text a line
    group: tuple[str, ...] = ()


class _Table(NamedTuple):
    """The names of all columns, and one mapping a row."""

    columns: list[str]
    records: list[dict[str, Any]]


def read_table(source: str, base: Path, columns: Columns, encoding: str | None = None) -> list[Row]:
    """All rows of a source.

    Args:
        source: a path relative to `base`, or what `resolve_source` fetches.
        base: the folder of ladder.yaml.
        columns: what to read; labels may be whole numbers and are stripped of blanks round them.
        encoding: of a text file; None means UTF-8.

    Raises:
        DataError: the source cannot be read, is not such a table, lacks a column, or holds no rows.
        MissingExtraError: the format or the place needs a library that is not installed.
    """
    content = unpack(resolve_source(source, base).read_bytes(), source)
    table = _parse(content, columns, encoding, source)
    _check_columns(table.columns, columns, source)
    rows = [_row(record, columns, number, source) for number, record in enumerate(table.records, start=1)]
    if not rows:
        raise DataError(f"{source}: expected rows, got only the names of {_shown(table.columns)}; add rows")
    return rows


def _parse(content: bytes, wanted: Columns, encoding: str | None, origin: str) -> _Table:
    ending = Path(origin.lower().removesuffix(".gz")).suffix  # a cache may keep the file under another name
    if content.startswith(PARQUET):
        return _parse_parquet(content, wanted, origin)
    if ending in (".jsonl", ".ndjson", ".json"):
        return _parse_json(decode(content, encoding, origin), origin)
    if ending == ".txt" and wanted.label is None:
        lines = decode(content, encoding, origin).replace("\r\n", "\n").split("\n")
        return _Table([wanted.text], [{wanted.text: line} for line in lines])
    if ending in (".csv", ".tsv"):
        return _parse_csv(decode(content, encoding, origin), "\t" if ending == ".tsv" else ",", origin)
    if ending == ".parquet":
        raise DataError(f"{origin}: expected a parquet file, which begins with PAR1, got other bytes; fetch it again")
    decode(content, encoding, origin)  # what is binary or an archive is said first
    plain = ", or .txt with one text a line" if wanted.label is None else ""
    endings = f".csv, .tsv, .jsonl, .json or .parquet (.gz){plain}"
    raise DataError(f"{origin}: expected a name ending in {endings}; rename the file")


def _parse_csv(text: str, delimiter: str, origin: str) -> _Table:
    before = csv.field_size_limit(len(text) + 1)  # the default stops at 131,072 characters
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(fields for fields in reader if fields)]
        # all at once, because the limit is the whole process's
        return _Table(names, list(_records(reader, names, origin)))
    except csv.Error as error:
        cure = "a quote inside a quoted field is written twice, and each must be closed"
        raise DataError(f"{origin}: expected a CSV row at line {reader.line_num}, got: {error}; {cure}") from error
    finally:
        csv.field_size_limit(before)


def _records(reader: Any, names: list[str], origin: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401  csv names no type
    for fields in reader:
        if len(fields) == len(names):
            yield dict(zip(names, fields, strict=True))
        elif fields:  # a blank line is no row
            cure = "put double quotes round a text that holds the separator"
            got = f"got {len(fields)} at line {reader.line_num}"
            raise DataError(f"{origin}: expected {len(names)} fields as in the first line, {got}; {cure}")


def _parse_json(text: str, origin: str) -> _Table:
    records = _json_list(text, origin) if text.lstrip().startswith("[") else _json_lines(text, origin)
    return _Table(list(dict.fromkeys(name for record in records for name in record)), records)


def _json_list(text: str, origin: str) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    except (msgspec.DecodeError, RecursionError) as error:
        cure = 'write one object a row, such as {"text": "…", "label": "…"}'
        raise DataError(f"{origin}: expected a JSON list of objects, got: {error}; {cure}") from error


def _json_lines(text: str, origin: str) -> list[dict[str, Any]]:
    decoder, records = msgspec.json.Decoder(dict[str, Any]), []
    # not splitlines(): U+2028 and others may stand inside a JSON string
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                records.append(decoder.decode(line))
            except (msgspec.DecodeError, RecursionError) as error:
                cure = 'write one object a line, such as {"text": "…", "label": "…"}'
                raise DataError(f"{origin}: expected a JSON object at line {number}, got: {error}; {cure}") from error
    return records


def _parse_parquet(content: bytes, wanted: Columns, origin: str) -> _Table:
    with needs_extra("train"):
        import pyarrow as pa
        from pyarrow import parquet
    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        names = file.schema_arrow.names
        read = [name for name in names if name in (wanted.text, wanted.label, *wanted.group)]
        return _Table(names, file.read(columns=read).to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{origin}: expected a whole parquet file, got: {error}; fetch or write it again") from error


def _check_columns(found: list[str], wanted: Columns, origin: str) -> None:
    keys = {wanted.text: "data.text", **dict.fromkeys(wanted.group, "evaluate.slices or certificate.groups")}
    if wanted.label is not None:
        keys[wanted.label] = "data.label"
    for name, key in keys.items():
        times = found.count(name)
        if times > 1:
            raise DataError(f"{origin}: expected one column {name!r}, got {times}; rename all but one")
        if times == 0:
            near = difflib.get_close_matches(name, filter(_looks_like_a_name, found), n=1)
            option = _OPTIONS.get(key, "")
            cure = f"did you mean {key}: {near[0]}{option}?" if near else f"name the right one as {key}{option}"
            if len(found) == 1 and any(separator in found[0] for separator in ";\t|"):
                cure = "separate the fields with commas, or name the file .tsv if tabs separate them"
            raise DataError(f"{origin}: expected a column {name!r} ({key}), got {_shown(found)}; {cure}")


def _shown(columns: list[str]) -> str:
    """The names of columns, unless one looks like a value: in a file without a line of names all of them are."""
    if not all(map(_looks_like_a_name, columns)):
        return f"columns ({len(columns)}) whose names may be data"
    return "columns " + ", ".join(columns[:_SHOWN_COLUMNS]) + (", …" if len(columns) > _SHOWN_COLUMNS else "")


def _looks_like_a_name(column: str) -> bool:
    return column.isidentifier() and len(column) <= _LONGEST_NAME and not _NUMBER.search(column)


def _row(record: dict[str, Any], columns: Columns, number: int, origin: str) -> Row:
    text, label = record.get(columns.text), None if columns.label is None else record.get(columns.label)
    if not isinstance(text, str | None):
        got, cure = type(text).__name__, "write it in quotes"
        raise DataError(f"{origin}: expected a string as {columns.text!r} of row {number}, got {got}; {cure}")
    if not isinstance(label, str | int | None):
        got, cure = type(label).__name__, "give each row one label, as a string"
        raise DataError(
            f"{origin}: expected a string or a whole number as {columns.label!r} of row {number}, got {got}; {cure}"
        )
    group = {name: "" if record.get(name) is None else str(record[name]) for name in columns.group}
    return Row(text or "", "" if label is None else str(label).strip(), group)
