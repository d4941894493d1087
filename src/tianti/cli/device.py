"""`tianti device init` and `tianti device enroll`: make a folder a device, of a repository or of a fleet.

Not here: enrolling (`update.enroll`).
"""

from pathlib import Path
from uuid import uuid4

import click

from tianti.cli.trust import trust_options
from tianti.runtimes.trust import Trust

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("device")
def device_group() -> None:
    """A device: a folder with a model that keeps itself up to date."""


@device_group.command("init")
@click.argument("folder", type=_FOLDER)
@click.option("--repository", "-R", required=True, metavar="PLACE", help="A URL, or a folder such as a mounted stick.")
@click.option("--root", type=_FILE, required=True, help="The root metadata to trust, as `tianti keys init` wrote it.")
@click.option("--product", required=True, help="The releases' name.")
@click.option("--channel", default="stable", show_default=True)
@click.option("--name", help="By which rings choose it, so no two devices share one.  [default: made up]")
@click.option("--tag", multiple=True, help="What rings ask about; repeatable.")
@click.option("--region", default="", help="Where it is, as rings may ask.")
def init_command(
    folder: Path,
    repository: str,
    root: Path,
    product: str,
    channel: str,
    name: str | None,
    tag: tuple[str, ...],
    region: str,
) -> None:
    """Make FOLDER a device without a hub: it follows a repository, and reports to nobody."""
    import msgspec

    from tianti.errors import UsageError
    from tianti.update.home import Home, make_home
    from tianti.update.source import open_source

    open_source(repository).close()  # says so if it is neither
    where = repository if "://" in repository else str(Path(repository).absolute())
    plain = {"device": name or uuid4().hex, "product": product, "channel": channel, "repository": where}
    try:
        home = msgspec.convert({**plain, "tags": tag, "region": region}, Home)
    except msgspec.ValidationError as error:
        raise UsageError(f"expected names of letters, digits, dots, dashes and underscores, got: {error}") from error
    make_home(folder, home, root.read_bytes())
    click.echo(f"{folder} is device {home.device} for {home.product}, channel {home.channel}")


@device_group.command("enroll")
@click.argument("folder", type=_FOLDER)
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
