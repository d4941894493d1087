"""Read labelled texts, clean them, and give every row its role."""

from tianti.data.label import keep_answered, label_rows
from tianti.data.prepare import Prepared, prepare, read_prepared, read_report, source_digest, write_prepared
from tianti.data.read import Columns, read_table
from tianti.data.report import CleaningReport, Lengths, RoleCounts, SourceCounts, describe
from tianti.data.rows import Row, row_key, text_key

__all__ = [
    "CleaningReport",
    "Columns",
    "Lengths",
    "Prepared",
    "RoleCounts",
    "Row",
    "SourceCounts",
    "describe",
    "keep_answered",
    "label_rows",
    "prepare",
    "read_prepared",
    "read_report",
    "read_table",
    "row_key",
    "source_digest",
    "text_key",
    "write_prepared",
]
