"""Reading tables: every format and encoding gives the same rows, and each mistake is one clear error."""

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tianti.data import Columns, Row, read_table
from tianti.errors import DataError

RECORDS = [
    {"text": "我要退货,谢谢", "label": "refund", "lang": "zh"},
    {"text": 'she said "hello"\nand left', "label": "greeting", "lang": "en"},
    {"text": "  spaced  ", "label": "other", "lang": "en"},
]
ROWS = [Row(record["text"], record["label"], {"lang": record["lang"]}) for record in RECORDS]
PLAIN = Columns()
COLUMNS = Columns(group=("lang",))


def table(delimiter: str) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["lang", "text", "label"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(RECORDS)
    return out.getvalue()


def lines(records: list[dict[str, object]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def parquet_bytes(columns: dict[str, list[object]]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out)
    return out.getvalue()


CONTENTS = {
    "rows.csv": table(","),
    "rows.tsv": table("\t"),
    "rows.jsonl": lines(RECORDS),
    "rows.ndjson": lines(RECORDS),
    "rows.json": json.dumps(RECORDS, indent=2),
}


def read(folder: Path, name: str, content: bytes, columns: Columns = PLAIN, encoding: str | None = None) -> list[Row]:
    (folder / name).write_bytes(content)
    return read_table(name, folder, columns, encoding)


def message(folder: Path, name: str, content: bytes, columns: Columns = PLAIN, encoding: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, name, content, columns, encoding)
    return str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", [None, "utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("name", CONTENTS)
def test_every_text_format_and_encoding_gives_the_same_rows(
    tmp_path: Path, name: str, encoding: str | None, packed: bool
) -> None:
    content = CONTENTS[name].encode(encoding or "utf-8")
    name, content = (name + ".gz", gzip.compress(content)) if packed else (name, content)
    declared = None if encoding == "utf-8-sig" else encoding
    assert read(tmp_path, name, content, COLUMNS, declared) == ROWS


@pytest.mark.parametrize("packed", [False, True])
def test_parquet_gives_the_same_rows(tmp_path: Path, packed: bool) -> None:
    content = parquet_bytes({name: [record[name] for record in RECORDS] for name in RECORDS[0]} | {"id": [1, 2, 3]})
    assert read(tmp_path, "rows.parquet", gzip.compress(content) if packed else content, COLUMNS) == ROWS


def test_gzip_and_parquet_are_known_by_their_bytes_not_their_names(tmp_path: Path) -> None:
    assert read(tmp_path, "rows.csv", gzip.compress(CONTENTS["rows.csv"].encode()), COLUMNS) == ROWS
    assert read(tmp_path, "rows.jsonl.gz", CONTENTS["rows.jsonl"].encode(), COLUMNS) == ROWS
    assert read(tmp_path, "rows.bin", parquet_bytes({"text": ["x"], "label": [3]})) == [Row("x", "3")]


def test_json_lines_may_be_named_json(tmp_path: Path) -> None:
    assert read(tmp_path, "rows.json", CONTENTS["rows.jsonl"].encode(), COLUMNS) == ROWS


def test_labels_may_be_whole_numbers_and_nulls_are_left_to_cleaning(tmp_path: Path) -> None:
    content = lines(
        [{"text": "a", "label": 0}, {"text": None, "label": None}, {"text": "b", "label": " x "}, {"text": "c"}]
    )
    assert read(tmp_path, "r.jsonl", content.encode()) == [Row("a", "0"), Row("", ""), Row("b", "x"), Row("c", "")]
    assert read(tmp_path, "r.parquet", parquet_bytes({"text": ["a", None], "label": [1, None]})) == [
        Row("a", "1"),
        Row("", ""),
    ]


def test_a_line_separator_inside_json_is_no_new_line(tmp_path: Path) -> None:
    assert read(tmp_path, "r.jsonl", '{"text":"a\u2028b\x85c","label":"x"}\r\n\n'.encode()) == [
        Row("a\u2028b\x85c", "x")
    ]


def test_a_long_text_is_read_and_the_limit_of_csv_is_put_back(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    assert len(read(tmp_path, "r.csv", b"text,label\n" + b"x" * 300_000 + b",a\n")[0].text) == 300_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("r.csv", b"", ("expected rows", "got an empty file", "check that it was written")),
        ("r.csv.gz", gzip.compress(b" \n"), ("expected rows", "got an empty file")),
        ("r.csv", b"text,label\n", ("expected rows", "got only the names of columns text, label", "add rows")),
        ("r.json", b"[]", ("expected a column 'text'", "got columns ;", "data.text")),
        (
            "r.csv",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            ("expected text", "got a binary file", "name the file of the rows"),
        ),
        ("r.xlsx", b"PK\x03\x04....", ("expected csv", "got a zip archive or an Excel workbook", "CSV UTF-8")),
        ("r.jsonl.xz", b"\xfd7zXZ\0....", ("got xz", "pack it with gzip")),
        ("r.txt", b"hello\n", ("expected a name ending in .csv", "rename the file")),
        (
            "r.jsonl.gz",
            gzip.compress(b"hello" * 99)[:-9],
            ("expected a whole gzip file", "got:", "fetch or pack it again"),
        ),
        ("r.parquet", b"PAR1 and no more", ("expected a whole parquet file", "got:", "write it again")),
        ("r.parquet", b"text,label\n", ("expected a parquet file", "got other bytes", "fetch it again")),
        (
            "r.csv",
            b"txt,label\nhi,a\n",
            (
                "expected a column 'text' (data.text)",
                "got columns txt, label",
                "did you mean data.text: txt (or --text)?",
            ),
        ),
        ("r.csv", b"sentence,label\nhi,a\n", ("expected a column 'text'", "name the right one as data.text")),
        (
            "r.csv",
            b"text;label\nhi;a\n",
            ("got columns (1) whose names may be data", "separate the fields with commas"),
        ),
        ("r.csv", b"text,text,label\nhi,ho,a\n", ("expected one column 'text'", "got 2", "rename all but one")),
        (
            "r.csv",
            b"text,label\nhi,a\nhello, you,b\n",
            ("expected 2 fields as in the first line", "got 3 at line 3", "double quotes"),
        ),
        (
            "r.csv",
            b'text,label\nhi,a\n"open,b\nmore,c\n',
            ("expected a CSV row", "got: unexpected end", "each must be closed"),
        ),
        (
            "r.jsonl",
            b'{"text":"a","label":"x"}\n{"text":\n',
            ("expected a JSON object at line 2", "got:", "one object a line"),
        ),
        ("r.jsonl", b'{"text":"a","label":"x"}\n["a","x"]\n', ("expected a JSON object at line 2", "got:")),
        (
            "r.json",
            b'[{"text":"a"},]',
            ("expected a JSON list of objects", "got: JSON is malformed", "one object a row"),
        ),
        (
            "r.jsonl",
            b'{"text":"a","label":"x"}\n{"text":"b","label":["x","y"]}',
            (
                "expected a string or a whole number as 'label' of row 2",
                "got list;",
                "give each row one label",
            ),
        ),
        ("r.jsonl", b'{"text":"a","label":0.5}', ("expected a string or a whole number", "got float;")),
        ("r.jsonl", b'{"text":7,"label":"x"}', ("expected a string as 'text' of row 1", "got int;", "in quotes")),
    ],
)
def test_each_mistake_is_one_clear_error(tmp_path: Path, name: str, content: bytes, expected: tuple[str, ...]) -> None:
    said = message(tmp_path, name, content)
    assert said.startswith(f"{name}: expected")
    for part in expected:
        assert part in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", "我的手机是13800138000,wang\n第二行,refund\n"),
        ("r.csv", "我的手机是13800138000\n"),
        ("r.csv", "text,13800138000\n"),
        ("r.csv", "texts 13800138000,refund\nhi,a\n"),
        ("r.json", '[{"13800138000": "wang"}]'),
        ("r.jsonl", '{"text": 13800138000, "label": "a"}\n'),
        ("r.jsonl", '{"text": {"phone": "13800138000"}, "label": "a"}\n'),
        ("r.jsonl", '{"text": ["wang"], "label": "a"}\n'),
        ("r.jsonl", '{"text": "hi", "label": {"phone": 13800138000}}\n'),
        ("r.jsonl", '{"text": 13800138000, "label": "a"\n'),
        ("r.json", '["13800138000"]'),
    ],
)
def test_no_mistake_quotes_a_value(tmp_path: Path, name: str, content: str) -> None:
    said = message(tmp_path, name, content.encode())
    assert "138" not in said and "wang" not in said


def test_a_column_to_slice_by_must_be_there(tmp_path: Path) -> None:
    said = message(tmp_path, "r.csv", b"text,label,lang\nhi,a,en\n", Columns(group=("language",)))
    assert "expected a column 'language' (evaluate.slices or certificate.groups)" in said
    assert "got columns text, label, lang" in said


CHINESE = "text,label\n我要退货，请问怎么办理,refund\n什么时候发货,delivery\n"


@pytest.mark.parametrize(
    ("content", "encoding", "expected"),
    [
        (CHINESE.encode("gb18030"), None, ("expected utf-8 text", "(line 2)", "set data.encoding: gb18030")),
        (CHINESE.encode("utf-16"), None, ("expected utf-8 text", "byte 0xff at byte 0", "set data.encoding: utf-16")),
        ("text,label\nà la carte,café\n".encode("latin-1"), None, ("expected utf-8", "set data.encoding: latin-1")),
        (CHINESE.encode(), "gb18030", ("expected gb18030 text", "got UTF-8", "remove data.encoding")),
        (CHINESE.encode(), "ascii", ("expected ascii text", "got UTF-8", "remove data.encoding")),
        ("text,label\né,a\n".encode(), "ascii", ("expected ascii text", "looks like utf-8: remove data.encoding")),
        (CHINESE.encode() + b"\xff,x\n", None, ("byte 0xff", "(line 4)", "1 broken places", "repair or remove")),
        (CHINESE.encode("gb18030") + b"\xff,x\n", "gb18030", ("expected gb18030 text", "(line 4)", "latin-1")),
        (CHINESE.encode(), "gb-18030x", ("expected the name of a text encoding", "got 'gb-18030x'", "such as utf-8")),
        (b"text,label\nhi,a\n", "base64", ("expected the name of a text encoding", "got 'base64'")),
    ],
)
def test_a_wrong_encoding_is_named_with_the_place_and_the_cure(
    tmp_path: Path, content: bytes, encoding: str | None, expected: tuple[str, ...]
) -> None:
    said = message(tmp_path, "r.csv", content, encoding=encoding)
    for part in expected:
        assert part in said
