"""`tianti keys init`: the keys of a repository of releases, and the repository itself, empty; `tianti keys rotate`.

Not here: making keys (`release.keys`), what is signed (`release.edits`).
"""

import json
import time
from pathlib import Path

import click

from tianti.cli.signing import (
    FOLDER,
    JSON_OPTION,
    PASSPHRASE_OPTION,
    REPOSITORY_OPTION,
    Desk,
    change_options,
    read_passphrase,
)

_OFFLINE, _ONLINE = ("root", "targets", "models"), ("rollout", "snapshot", "timestamp")


@click.group("keys")
def keys_group() -> None:
    """The keys that sign releases, and what devices are told to run."""


@keys_group.command("init")
@click.argument("keys", type=FOLDER)
@REPOSITORY_OPTION
@click.option(
    "--profile",
    type=click.Choice(["online", "isolated"]),
    default="online",
    show_default=True,
    help="How long signatures hold. isolated: months, for sites that a person carries releases to.",
)
@PASSPHRASE_OPTION
@JSON_OPTION
def init_command(keys: Path, folder: Path, profile: str, passphrase_file: Path | None, as_json: bool) -> None:
    """Make keys in the folder KEYS, and the empty repository that they sign.

    KEYS/root.json is what devices are given to trust. Nobody can replace lost keys: keep a copy.
    """
    from tianti.errors import UsageError
    from tianti.release import create, load_signers, make_keys, publish, to_bytes
    from tianti.store import write_atomic

    if (folder / "metadata").exists():
        raise UsageError(f"{folder}: expected a new folder, got one with metadata; choose another one")
    passphrase = read_passphrase(passphrase_file, new=True)
    files = make_keys(keys, passphrase)
    repository = create(load_signers(keys, passphrase), int(time.time()), profile)
    publish(folder, repository)
    write_atomic(keys / "root.json", to_bytes(repository.root))
    if as_json:
        names = {role: [path.name for path in paths] for role, paths in files.items()}
        about = {"keys": names, "root": str(keys / "root.json"), "repository": str(folder), "profile": profile}
        click.echo(json.dumps(about))
        return
    click.echo(f"{keys / 'root.json'} is what devices trust; {folder} is the empty repository")
    click.echo(f"keep away from networks: {_names(files, _OFFLINE)}")
    click.echo(f"needed where rollouts are steered, with root.json: {_names(files, _ONLINE)}")


@keys_group.command("rotate")
@click.argument("roles", nargs=-1, required=True, type=click.Choice([*_OFFLINE, *_ONLINE]))
@click.option("--into", type=FOLDER, required=True, help="Where the new keys go: a folder without keys of ROLES.")
@change_options
def rotate_command(roles: tuple[str, ...], into: Path, desk: Desk, as_json: bool) -> None:
    """Give ROLES new keys, after old ones were stolen or lost; devices believe the old ones no more.

    It takes two keys of root for root, targets, snapshot and timestamp, the key of targets for models and rollout, and
    those of snapshot and timestamp. Old keys of ROLES sign beside the new ones where they are at hand.
    """
    from tianti.release import rotate
    from tianti.store import write_atomic

    new = desk.make_keys(into, roles)
    keys = {role: [signer.public_key for signer in new[role]] for role in roles}
    write_atomic(into / "root.json", desk.root)
    written = desk.publish(lambda found: rotate(found, keys, desk.signers, desk.now_s))
    names = sorted(path.name for path in into.glob("*.pem"))
    if as_json:
        click.echo(json.dumps({"keys": names, "into": str(into), "written": written}))
        return
    click.echo(f"{', '.join(names)} in {into}: put them where the old ones are and delete those; restart the hub then")


def _names(files: dict[str, list[Path]], roles: tuple[str, ...]) -> str:
    return ", ".join(path.name for role in roles for path in files[role])


COMMANDS = (keys_group,)
