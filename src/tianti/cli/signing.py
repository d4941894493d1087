"""What the commands share that change a repository: its folder, its keys, their passphrase, and where copies go.

Not here: what is signed (`release`). Invariants: a passphrase comes from a file, an environment variable or a prompt,
never from an argument, which other users of the machine can read; results go to stdout, progress and hints to stderr.
"""

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tianti.errors import TiantiError, UsageError

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

    from tianti.package import Shipment
    from tianti.release import Progress, Repository, Signers

FOLDER = click.Path(file_okay=False, path_type=Path)
_VARIABLE = "TIANTI_PASSPHRASE"
REPOSITORY_OPTION = click.option(
    "--repository", "-R", "folder", type=FOLDER, required=True, help="The repository's folder."
)
PASSPHRASE_OPTION = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"File that holds the keys' passphrase.  [default: the variable {_VARIABLE}, or a prompt]",
)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="The result as one line of JSON.")
_ROOT_OPTION = click.option(
    "--root",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The root metadata to trust, as `tianti keys init` wrote it.  [default: the repository's first]",
)
_CHANGE_OPTIONS = (
    REPOSITORY_OPTION,
    click.option(
        "--keys",
        "-K",
        type=click.Path(file_okay=False, exists=True, path_type=Path),
        multiple=True,
        required=True,
        help="Folder of keys; repeatable. One has root.json.",
    ),
    PASSPHRASE_OPTION,
    click.option("--to", metavar="URL", multiple=True, help="Copy it there as well: s3://bucket/folder; repeatable."),
    JSON_OPTION,
)


class Desk:
    """A repository as it was read, and what is needed to say the next thing."""

    def __init__(self, folder: Path, keys: tuple[Path, ...], passphrase: str, to: tuple[str, ...], quiet: bool) -> None:
        from tianti.release import load_signers, read_repository

        roots = [found for each in keys if (found := each / "root.json").is_file()]
        if not roots:
            named = ", ".join(map(str, keys))
            raise UsageError(f"expected root.json beside the keys, got none in {named}; copy it from where it was made")
        self.folder, self.to, self.quiet, self._passphrase = folder, to, quiet, passphrase
        self.root = roots[0].read_bytes()
        self.repository = read_repository(folder, self.root)
        self.signers: Signers = {}
        for each in keys:
            self._add(load_signers(each, passphrase))

    @property
    def now_s(self) -> int:
        """The time: packing a release takes minutes, in which a hub signs later times than that of before."""
        return int(time.time())

    def make_keys(self, folder: Path, roles: "Collection[str]") -> "Mapping[str, Sequence[Signer]]":
        """New keys, under the passphrase of the others; they sign beside those from now on."""
        from tianti.release import load_signers, make_keys

        make_keys(folder, self._passphrase, roles)
        new = load_signers(folder, self._passphrase)
        self._add(new)
        return new

    def _add(self, more: "Mapping[str, Sequence[Signer]]") -> None:
        self.signers = {role: [*self.signers.get(role, ()), *more[role]] for role in more}

    def publish(self, step: "Callable[[Repository], Repository]", shipments: "Iterable[Shipment]" = ()) -> list[str]:
        """Write what `step` makes of what is there then, copy it where copies are; names the files that were written.

        A hub may have published since the repository was read, and cannot while this does.
        """
        from tianti.release import lint_repository, publish_next

        self.repository, written = publish_next(self.folder, self.root, self.signers, self.now_s, step, shipments)
        for where in self.to:
            with showing(f"to {where}", self.quiet) as progress:
                _upload(self.folder, where, progress)
        for line in lint_repository(self.repository, self.now_s, within_s=_SOON_S):
            click.echo(f"warning: {line}", err=True)
        return written


_SOON_S = 3_600


def _upload(folder: Path, where: str, progress: "Progress") -> None:
    from tianti.release import upload

    try:
        upload(folder, where, progress)
    except TiantiError as error:  # what was done must not be done twice
        cure = f"it is done in {folder}: `tianti release upload` copies it"
        raise type(error)(f"{error}; {cure}") from error


def change_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a command that signs, which gets them as `desk` and `as_json`."""

    @wraps(command)
    def with_desk(
        folder: Path,
        keys: tuple[Path, ...],
        passphrase_file: Path | None,
        to: tuple[str, ...],
        **rest: Any,  # noqa: ANN401
    ) -> None:
        quiet = bool(rest["as_json"])
        command(desk=Desk(folder, keys, read_passphrase(passphrase_file), to, quiet), **rest)

    return _with(with_desk, _CHANGE_OPTIONS)


def look_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a command that only reads, which gets `folder`, `repository` and `as_json`."""

    @wraps(command)
    def with_repository(folder: Path, root: Path | None, **rest: Any) -> None:  # noqa: ANN401
        from tianti.release import read_repository

        trusted = root or folder / "metadata" / "1.root.json"
        if not trusted.is_file():
            raise UsageError(f"{trusted}: expected root metadata, got none; name a repository's folder, or --root")
        command(folder=folder, repository=read_repository(folder, trusted.read_bytes()), **rest)

    return _with(with_repository, (REPOSITORY_OPTION, _ROOT_OPTION, JSON_OPTION))


def read_passphrase(path: Path | None, new: bool = False) -> str:
    """What the keys are kept under; `new`: asked for twice.

    Raises:
        UsageError: there is none and nobody to ask.
    """
    if path is not None:
        try:
            return path.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: expected a file that holds a passphrase, got: {error}") from None
    if (found := os.environ.get(_VARIABLE)) is not None:
        return found
    if not sys.stdin.isatty():
        raise UsageError(f"expected a passphrase, got none; set {_VARIABLE}, or name --passphrase-file")
    return str(click.prompt("Passphrase of the keys", hide_input=True, confirmation_prompt=new, err=True))


@contextmanager
def showing(what: str, quiet: bool) -> "Iterator[Progress]":
    """What is done of some long work, drawn on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn())
    note = TextColumn("{task.fields[note]}", style="dim", markup=False)
    with Progress(*columns, note, console=Console(stderr=True), transient=True, disable=quiet) as bars:
        task = bars.add_task(what, total=None, note="")
        yield lambda done, total, note: bars.update(task, completed=done, total=total, note=note)


def _with(command: Callable[..., None], options: Iterable[Callable[..., Any]]) -> Callable[..., None]:
    for option in reversed(tuple(options)):
        command = option(command)
    return command
