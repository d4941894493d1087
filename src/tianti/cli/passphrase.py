"""The option that says what keys are encrypted with. Not here: keys (`release.keys`).

Invariant: a passphrase is never on the command line, where every user of the machine could read it.
"""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import click

VARIABLE = "TIANTI_PASSPHRASE"


def passphrase_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option to a command, which gets the passphrase as `passphrase`; without it, it is asked for."""

    @wraps(command)
    def with_passphrase(passphrase_file: Path | None, **rest: object) -> None:
        command(passphrase=_find(passphrase_file), **rest)

    return click.option(
        "--passphrase-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=f"Holds the keys' passphrase.  [default: the variable {VARIABLE}, or you are asked]",
    )(with_passphrase)


def _find(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").strip()
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    said: str = click.prompt("Passphrase of the keys", hide_input=True, err=True)
    return said
