"""`tianti update`: one check of a device's folder now, from its repository or from a folder such as a stick.

Not here: what is decided (`update`). Invariant: what was decided, and why, is said in a line; progress goes to stderr.
"""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tianti.errors import RunError, UpdateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tianti.update.install import Progress
    from tianti.update.updates import Checked, Updates

_FOLDER = click.Path(file_okay=False, path_type=Path)
_WHY = {
    "runs it": "the rollout's release is the one that serves",
    "revoked": "the rollout's release was revoked",
    "below the floor": "the rollout's release is older than what the publisher allows",
    "halted": "the rollout is halted",
    "too early": "the rollout has not begun",
    "too late": "the rollout's time is over",
    "older than the installed": "the rollout's release is older than the one that serves",
    "no ring fits": "no ring of the rollout is for this device",
    "not in the ring": "the rollout has not come to this device yet",
    "none is allowed": "the release that serves was revoked, and nothing that the rollout names is for this device now",
    "failed here": "the rollout's release failed on this device before",
}
_CURE = {True: "leave it to that, or stop the program first", False: "stop the program, run this again, then start it"}


@click.command("update")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--from", "media", type=_FOLDER, help="A folder with the repository, such as a stick (`release export`).")
@click.option("--status", is_flag=True, help="Only say what there is; asks nobody.")
@click.option("--json", "as_json", is_flag=True)
def update_command(folder: Path, media: Path | None, status: bool, as_json: bool) -> None:
    """Check for a release of the device in DIR, install it and have it serve from the next start on.

    A program that has loaded DIR does so by itself; then DIR is left to it.
    """
    from tianti.store import canonical_json
    from tianti.update.source import open_source
    from tianti.update.updates import Updates

    updates = Updates(folder, source=None if media is None else open_source(str(media)))
    try:
        checked = None if status else _check(updates, tell=media is None)
        found = _status(updates)
    finally:
        updates.close()
    if as_json:
        click.echo(canonical_json({**found, **({} if checked is None else {"checked": checked})}).decode())
    else:
        _print(found, checked)
    if checked is not None and checked.refused is not None:
        raise RunError(f"the chosen release failed its self-test here and is not tried again: {checked.refused}")


def _check(updates: "Updates", tell: bool) -> "Checked":
    if not updates.lead():
        raise UsageError(f"{updates.folder}: a program that runs keeps it up to date; {_CURE[tell]}")
    with _bar() as progress:
        checked = updates.check(progress)
    if checked.ready is not None:
        updates.activate(checked.ready)
    try:
        if tell:
            updates.report()
    except UpdateError as error:
        click.echo(f"warning: {error}", err=True)
    return checked


@contextmanager
def _bar() -> "Iterator[Progress]":
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _status(updates: "Updates") -> dict[str, Any]:
    from tianti.update.install import installed

    home, state = updates.home, updates.state()
    shipments = {release: installed(updates.folder, release) for release in updates.holds()}
    return {
        "device": home.device,
        "product": home.product,
        "channel": home.channel,
        "tier": home.tier,
        "repository": home.repository,
        "active": state.active,
        "last_good": state.last_good,
        "on_trial": state.trial is not None,
        "holds": {release: shipment.counter for release, shipment in shipments.items() if shipment is not None},
        "bad": list(state.bad),
        "verified_s": state.refreshed_s,
        "failures": state.failures,
    }


def _print(found: dict[str, Any], checked: "Checked | None") -> None:
    if checked is not None:
        click.echo(_sentence(checked))
    serves, holds = found["active"], found["holds"]
    counter = f", number {holds[serves]}" if serves in holds else ""
    trial = ", on trial" if found["on_trial"] else ""
    what = "serves nothing yet" if serves is None else f"serves {serves[:12]}{counter}{trial}"
    click.echo(f"{found['device']} ({found['product']}/{found['channel']}, {found['tier']}) {what}")
    if found["last_good"] not in (None, serves):
        click.echo(f"last good: {found['last_good'][:12]}")
    if found["bad"]:
        click.echo(f"failed here: {', '.join(release[:12] for release in found['bad'])}")
    if found["failures"]:
        click.echo(f"checks that failed in a row: {found['failures']}")


def _sentence(checked: "Checked") -> str:
    if checked.ready is not None:
        return f"release {checked.ready[:12]} is installed and passed its self-test: it serves from the next start on"
    if checked.beside is not None:
        return f"release {checked.beside[:12]} is installed, to be run beside the one that serves"
    return f"nothing to do: {_WHY.get(checked.reason, checked.reason)}" if checked.refused is None else "not updated"


COMMANDS = (update_command,)
