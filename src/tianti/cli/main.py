"""The command `tianti`: the group, and the one place where errors become exit codes.

    0 done    1 failed    2 wrong use

Not here: any command (one file a group beside this). Invariant: an error that Tianti raises on purpose is one
message on stderr, never a stack trace; anything else is a bug and shows its trace.
"""

import io
import sys

import click

import tianti
from tianti.cli import (
    answer,
    assess,
    build,
    data,
    demo,
    device,
    explain,
    fleet,
    hub,
    inspect,
    keys,
    privacy,
    release,
    replay,
    token,
    update,
)
from tianti.errors import TiantiError, UsageError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(tianti.__version__, prog_name="tianti")
def tianti_command() -> None:
    """Tianti (天梯): a ladder of language models from the device to the cloud, under one accuracy certificate."""


for group in (
    build,
    assess,
    answer,
    explain,
    inspect,
    data,
    privacy,
    replay,
    demo,
    token,
    keys,
    release,
    hub,
    fleet,
    device,
    update,
):
    for command in group.COMMANDS:
        tianti_command.add_command(command)


def run_cli() -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):  # Windows' pipes are in the code page of its language
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
    try:
        code = tianti_command.main(prog_name="tianti", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except UsageError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except TiantiError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped", err=True)
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        sys.stderr.close()
        sys.exit(1)
    sys.exit(code or 0)
