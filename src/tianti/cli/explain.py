"""`tianti explain`: which words decided, and why this tier answered.

Not here: weighing words and sentences (`explain`). Invariant: whatever is in a text, no control character of it reaches
the terminal; what colours say can be read without them.
"""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tianti.cli.answer import ladder_options, read_texts
from tianti.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from tianti.device import Ladder
    from tianti.explain import Explanation

_FILE = click.Path(dir_okay=False, path_type=Path)
_STRONG, _SOME, _WEAK = 0.6, 0.3, 0.1  # of the greatest weight
_FOR, _AGAINST = ("blue", "bold blue", "bold white on blue"), ("red", "bold red", "bold white on red")
_BAR = 24
_JOINERS = "\u200c\u200d"  # of letters in Persian, of emoji


@click.command("explain")
@ladder_options
@click.option("--html", type=_FILE, help="Write a page to this file, which opens offline; TEXT is one text.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a text.")
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.argument("text")
def explain_command(
    open_ladder: Callable[[], "Ladder"], html: Path | None, as_json: bool, lang: str, text: str
) -> None:
    """Answer TEXT on this device, or each line of standard input if TEXT is `-`, and say why.

    The words are weighed here, with this device's model; nothing is sent but what `tianti predict` sends.
    """
    from tianti.explain import page
    from tianti.store import write_atomic

    if html is not None and text == "-":
        raise UsageError("--html: expected one TEXT, got standard input; give the text itself, or take --json")
    with open_ladder() as ladder:
        for line in read_texts(text):
            explanation = ladder.explain(line)
            if html is not None:
                write_atomic(html, page(explanation, lang).encode())
            if as_json:
                click.echo(_line(explanation.show()))
            else:
                _print(explanation, lang)


def _line(shown: dict[str, Any]) -> str:
    """JSON that people can read in their script; what a terminal might obey is escaped."""
    line = json.dumps(shown, ensure_ascii=False)
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in line)


def _print(explanation: "Explanation", lang: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from tianti.explain import sentences

    console = Console(highlight=False)
    answer = explanation.prediction
    decision = answer.decision
    marks = "".join(f"  [{mark}]" for mark in ("certified", "degraded", "truncated") if getattr(decision, mark))
    line = f"  {answer.score:.3f}  {answer.tier}  {decision.reason}  {decision.ms:.2f} ms{marks}"
    console.print(Text.assemble((_plain(answer.label), "bold"), line), soft_wrap=True)
    console.print(_coloured(explanation, bool(console.color_system) and not console.no_color), soft_wrap=True)
    _print_bars(console, explanation)
    for sentence in sentences(explanation, lang):
        console.print(Text(_plain(sentence)), soft_wrap=True)


def _coloured(explanation: "Explanation", colours: bool) -> "Text":
    """The text, its words in the colours of their weights; without colours those that say most are in brackets."""
    from rich.text import Text

    text, shown, at = explanation.text, Text(), 0
    most = max((abs(word.weight) for word in explanation.words), default=0.0)
    for start, end, weight in explanation.words:
        share = abs(weight) / most if most else 0.0
        word = _plain(text[start:end])
        if not colours and share >= _SOME:
            word = f"[{'+' if weight > 0 else '-'}{word}]"
        step = sum(share >= least for least in (_WEAK, _SOME, _STRONG))
        style = (_FOR if weight > 0 else _AGAINST)[step - 1] if colours and step else ""
        shown.append(_plain(text[at:start])).append(word, style)
        at = end
    return shown.append(_plain(text[at:]))


def _print_bars(console: "Console", explanation: "Explanation") -> None:
    from rich.table import Table
    from rich.text import Text

    table, top = Table.grid(padding=(0, 2)), explanation.top()
    for word, weight in top:
        bar = "█" * max(round(_BAR * abs(weight / top[0][1])), 1)
        table.add_row("", f"{weight:+.3f}", Text(_plain(word)), Text(bar, "blue" if weight > 0 else "red"))
    console.print(table)


def _plain(text: str) -> str:
    """What a terminal shows of a text: control characters could move its cursor or recolour it."""
    return "".join(" " if character in "\n\t" else _seen(character) for character in text)


def _seen(character: str) -> str:
    obeyed = unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in _JOINERS
    return "\N{REPLACEMENT CHARACTER}" if obeyed else character


COMMANDS = (explain_command,)
