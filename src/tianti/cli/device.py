"""`tianti device enroll`: make a folder a device of a fleet. Not here: enrolling (`update.enroll`)."""

from pathlib import Path

import click

from tianti.cli.trust import trust_options
from tianti.runtimes.trust import Trust

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("device")
def device_group() -> None:
    """A device of a fleet."""


@device_group.command("enroll")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--hub", required=True, metavar="URL", help="The hub, or an edge node before it.")
@click.option("--token-file", type=_FILE, required=True, help="Holds the token of `tianti fleet invite`.")
@click.option("--tag", multiple=True, help="What rings ask about, besides the invitation's tags; repeatable.")
@click.option("--region", default="", help="Where it is, as rings may ask.")
@click.option("--root", type=_FILE, help="The root metadata to trust.  [default: the hub's]")
@trust_options
def enroll_command(
    folder: Path, hub: str, token_file: Path, tag: tuple[str, ...], region: str, root: Path | None, trust: Trust
) -> None:
    """Make FOLDER a device: its key is made there, and never leaves it. Done again, it goes on where it was cut off."""
    from tianti.update.enroll import enroll

    token = token_file.read_text(encoding="utf-8").strip()
    given = None if root is None else root.read_bytes()
    home = enroll(folder, hub, token, tags=tag, region=region, root=given, trust=trust)
    click.echo(f"{folder} is {home.tier} {home.device} for {home.product}, channel {home.channel}")


COMMANDS = (device_group,)
