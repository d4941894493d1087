"""`tianti privacy scan`: what would leave of a file of texts, by type and policy, before any of them is sent.

Not here: finding and replacing (`privacy`), whether a text climbs (`router`). Invariant: no text is printed, and of a
value its first two characters at most, where --examples asks for them.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from tianti.cli.answer import releases_folder
from tianti.errors import UsageError

if TYPE_CHECKING:
    from tianti.privacy import Redactor
    from tianti.spec.privacy import PrivacyPolicy

_EXAMPLES = 3
_INPUT = "standard input"


class _Given(NamedTuple):
    """A policy, None for a release that has none, and whose it is; `text`: the column of the ladder's data."""

    policy: "PrivacyPolicy | None"
    redactor: "Redactor"
    whose: str
    text: str = "text"
    climbs: Callable[[str], bool] | None = None


@click.group("privacy")
def privacy_group() -> None:
    """See what would leave a device."""


@privacy_group.command("scan")
@click.argument("file")
@click.option("--text", metavar="COLUMN", help="The column of the texts.  [default: text, or the ladder's]")
@click.option("--encoding", help="Such as gb18030.  [default: UTF-8]")
@click.option(
    "--ladder",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A ladder.yaml, for its policy.  [default: all that is found is redacted]",
)
@click.option("--release", "-r", help="A release, for its policy; its device model says which texts would climb.")
@click.option("--examples", is_flag=True, help="Show up to three values of a type, all but two characters masked.")
@click.option("--json", "as_json", is_flag=True)
def scan_command(
    file: str,
    text: str | None,
    encoding: str | None,
    ladder: Path | None,
    release: str | None,
    examples: bool,
    as_json: bool,
) -> None:
    """Show what would leave of the texts in FILE, by type of personal data and policy. Nothing is sent.

    FILE is a table (csv, tsv, JSON lines, a JSON list, parquet; gzipped or not; a path or hf://, ms://, s3://), a .txt
    with one text a line, or `-` for lines of standard input. Values are not printed.
    """
    import msgspec

    from tianti.cli.privacy_tables import print_scan
    from tianti.privacy.risks import risks
    from tianti.privacy.scan import scan
    from tianti.store import canonical_json

    given = _given(ladder, release)
    texts = _read(file, text or given.text, encoding)
    shown = _EXAMPLES if examples else 0
    found = scan(_watched(texts), given.redactor, given.policy, climbs=given.climbs, examples=shown)
    if as_json:
        told = {"file": file, "policy_of": given.whose, **msgspec.to_builtins(found), "risks": risks(found)}
        click.echo(canonical_json(told).decode())
        return
    print_scan(found, file, given.whose)
    for line in risks(found):
        click.echo(f"- {line}")


def _given(ladder: Path | None, release: str | None) -> _Given:
    from tianti.privacy import bind_policy, open_redactor
    from tianti.spec.privacy import PrivacySpec

    if ladder is not None and release is not None:
        raise UsageError("expected --ladder or --release, got both: each has a policy of its own; leave one out")
    if release is not None:
        return _of_release(release)
    if ladder is None:
        policy = bind_policy(PrivacySpec(), Path())
        return _Given(policy, open_redactor(policy), "all that is found is redacted (the default)")
    from tianti.spec.parse import load_spec

    spec = load_spec(ladder)
    policy = bind_policy(spec.privacy, ladder.parent)
    return _Given(policy, open_redactor(policy, ladder.parent), str(ladder), text=spec.data.text)


def _of_release(name: str) -> _Given:
    from tianti.package import find_release, read_release
    from tianti.privacy import bind_policy, open_redactor
    from tianti.router import Node
    from tianti.spec import Tier
    from tianti.spec.privacy import PrivacySpec

    release = read_release(find_release(name, releases_folder()))
    policy = release.record.privacy
    node = Node(release, Tier.DEVICE)
    terms = node.entry_terms(500.0, 0.0)

    def climbs(text: str) -> bool:
        try:
            return node.keep(node.answer(text), terms, 0.0, enters=False) is None
        except UsageError:  # no text that a node takes, such as one that is too long: it goes nowhere
            return False

    redactor = open_redactor(policy or bind_policy(PrivacySpec(), Path()), Path())
    whose = f"release {release.id[:12]}" + ("" if policy else ", which has none")
    return _Given(policy, redactor, whose, climbs=climbs)


def _read(file: str, column: str, encoding: str | None) -> Sequence[str]:
    from tianti.data import Columns, read_table
    from tianti.data.decode import decode, unpack

    if file == "-":
        content = unpack(sys.stdin.buffer.read(), _INPUT)
        texts = decode(content, encoding, _INPUT).replace("\r\n", "\n").split("\n")
    else:
        texts = [row.text for row in read_table(file, Path(), Columns(text=column, label=None), encoding)]
        if not file.lower().removesuffix(".gz").endswith(".txt"):
            return texts
    return texts[:-1] if texts[-1] == "" else texts  # the last line's end begins no other


def _watched(texts: Sequence[str]) -> Iterable[str]:
    """The texts, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hidden = not console.is_terminal
    return track(texts, "scanning", console=console, transient=True, disable=hidden)


COMMANDS = (privacy_group,)
