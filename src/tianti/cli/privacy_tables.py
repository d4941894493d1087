"""Tables of what a scan found, for people.

Not here: counting (`privacy.scan`), the sentences (`privacy.risks`). Invariant: no text is printed, and of a value no
more than a Scan has.
"""

from rich.console import Console
from rich.table import Table

from tianti.privacy.scan import Scan, TypeSeen

_ROWS = 3
_FATES = {
    "nothing": "leaves unchanged: nothing found",
    "readable": "leaves unchanged, values readable",
    "replaced": "leaves with placeholders",
    "held": "does not leave",
}
_LEAVES = {"local_only": "not at all", "redact": "placeholder", "allow": "readable"}


def print_scan(found: Scan, file: str, whose: str) -> None:
    """Print what was scanned, what becomes of the texts, and of each type that was found."""
    console = Console()
    empty = f", {found.empty:,} of them empty" if found.empty else ""
    title = f"{file}: {found.rows:,} texts{empty}, {found.characters:,} characters\npolicy: {whose}"
    console.print(title, highlight=False, markup=False, soft_wrap=True)
    console.print(_fates(found))
    if found.types:
        console.print(_types(found))
    for kind in found.types:
        if kind.examples:
            shown = ", ".join(f"{example.masked} in row {example.row}" for example in kind.examples)
            console.print(f"{kind.type}: {shown}", highlight=False, markup=False)
    if found.absent:
        console.print(f"not found: {', '.join(found.absent)}", highlight=False, style="dim", markup=False)


def _fates(found: Scan) -> Table:
    table = Table()
    table.add_column("if every text had to leave")
    table.add_column("texts", justify="right")
    table.add_column("share", justify="right")
    if found.climbing is not None:
        table.add_column("of which climb", justify="right")
    for name, words in _FATES.items():
        count = getattr(found.fates, name)
        climbing = [] if found.climbing is None else [f"{getattr(found.climbing, name):,}"]
        table.add_row(words, f"{count:,}", f"{count / found.rows:.1%}", *climbing)
    return table


def _types(found: Scan) -> Table:
    table = Table()
    table.add_column("type", no_wrap=True)
    table.add_column("policy", no_wrap=True)
    for name in ("texts", *(("climb",) if found.climbing is not None else ()), "places"):
        table.add_column(name, justify="right")
    table.add_column("leaves")
    table.add_column("see rows")
    for kind in found.types:
        climbing = [] if kind.climbing is None else [f"{kind.climbing:,}"]
        rows = ", ".join(map(str, kind.first_rows[:_ROWS])) + (" …" if kind.rows > _ROWS else "")
        counts = (f"{kind.rows:,}", *climbing, f"{kind.places:,}")
        table.add_row(kind.type, kind.handling, *counts, _leaves(kind), rows)
    return table


def _leaves(kind: TypeSeen) -> str:
    leaves = _LEAVES[kind.handling] + (", for good" if kind.secret and kind.handling == "redact" else "")
    return f"{leaves}; {kind.held:,} held" if kind.held and kind.handling != "local_only" else leaves
