"""`tianti data diff`: what is otherwise in a table of texts than in another, before anything is trained on it.

Not here: comparing (`data.diff`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from tianti.data.diff_report import Shift, TableDiff

_MOVERS = 15
_TEXT = 60
_SEEN = 0.0001  # of all letters


@click.group("data")
def data_group() -> None:
    """Look at tables of texts."""


@data_group.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--text", default="text", show_default=True, help="Name of the text column.")
@click.option("--label", default="label", show_default=True, help="Name of the label column.")
@click.option("--no-label", is_flag=True, help="There are no labels, as in yesterday's requests.")
@click.option("--encoding", help="Of both, such as gb18030; default UTF-8.")
@click.option("--json", "as_json", is_flag=True)
def diff_command(
    old: str, new: str, text: str, label: str, no_label: bool, encoding: str | None, as_json: bool
) -> None:
    """Compare the tables OLD and NEW: labels, lengths, scripts, new words, texts that are in both.

    Each is a path or hf://, ms:// or s3://, in any format that `data:` of ladder.yaml takes. A difference is claimed
    where it is more than chance; where both are of one source, anything at all is claimed in 5 % of comparisons at
    most. Words of Chinese are pairs of characters.
    """
    from tianti.data import Columns, read_table
    from tianti.data.diff import diff
    from tianti.data.diff_report import findings
    from tianti.store import canonical_json

    columns = Columns(text=text, label=None if no_label else label)
    before, after = (read_table(source, Path(), columns, encoding) for source in (old, new))
    found = diff(before, after, labelled=not no_label)
    if as_json:
        click.echo(canonical_json({"diff": found, "findings": findings(found)}).decode())
        return
    _print(found)
    for line in findings(found):
        click.echo(f"- {line}")


def _print(found: "TableDiff") -> None:
    from rich.console import Console

    console = Console()
    console.print(_facts(found))
    for title, shifts in (("label", found.labels or []), ("main script", found.scripts)):
        if shifts:
            console.print(_shifts(title, shifts))
    for leak in found.overlap.examples[:_MOVERS]:
        if leak.conflicts:
            told = f"in both: {_cut(leak.text)}  OLD {', '.join(leak.old_labels)}  NEW {leak.label}"
            console.print(told, highlight=False, markup=False)


def _facts(found: "TableDiff") -> "Table":
    table = _table("")
    old, new = found.old, found.new
    counts = ("rows", "empty", "duplicates", *(("unlabelled", "contradicting") if found.labels is not None else ()))
    for name in counts:
        table.add_row(name, f"{getattr(old, name):,}", f"{getattr(new, name):,}", "")
    for name, length in found.lengths.old.items():
        more = "more than chance" if found.lengths.claimed and name == "p50" else ""
        table.add_row(f"characters, {name}", f"{length:,}", f"{found.lengths.new[name]:,}", more)
    for script in dict.fromkeys((*old.letters, *new.letters)):
        shares = [side.letters.get(script, 0.0) for side in (old, new)]
        if max(shares) < _SEEN:
            continue
        table.add_row(f"letters, {script}", *(f"{share:.2%}" for share in shares), "")
    unseen = found.unseen
    table.add_row("rows with a word of their own", f"{unseen.usual_share:.1%}", "", "that no other row of OLD has")
    table.add_row("rows with an unseen word", "", f"{unseen.share:.1%}", f"{unseen.distinct:,} words")
    return table


def _shifts(title: str, shifts: "list[Shift]") -> "Table":
    """The biggest movers; what is claimed is shown whatever its size."""
    table = _table(title)
    shown = [shift for index, shift in enumerate(shifts) if shift.claimed or index < _MOVERS]
    for shift in shown:
        sides = ((shift.old_share, shift.old), (shift.new_share, shift.new))
        more = "more than chance" if shift.claimed else ""
        table.add_row(_cut(shift.name), *(f"{share:.2%} ({rows:,})" for share, rows in sides), more)
    if len(shown) < len(shifts):
        table.caption = f"and {len(shifts) - len(shown):,} that moved less"
    return table


def _table(first: str) -> "Table":
    from rich.table import Table

    table = Table()
    table.add_column(first)
    for side in ("OLD", "NEW"):
        table.add_column(side, justify="right")
    table.add_column("")
    return table


def _cut(text: str) -> str:
    from rich.markup import escape

    return escape(text if len(text) <= _TEXT else f"{text[:_TEXT]}…")


COMMANDS = (data_group,)
