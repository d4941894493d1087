"""`tianti fleet`: show a fleet, invite devices, revoke them; on the hub's machine, in its ledger.

Not here: the ledger (`fleet`). Invariant: a token is printed once, alone on standard output.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tianti.spec import TIERS, Tier

if TYPE_CHECKING:
    from tianti.fleet import SqliteLedger

_DB_OPTION = click.option(
    "--db",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default="hub.sqlite",
    show_default=True,
    help="The hub's ledger.",
)
_CHANNEL_OPTION = click.option("--channel", default="stable", show_default=True)
_JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="One JSON line an item.")


@contextmanager
def _ledger(db: Path) -> "Iterator[SqliteLedger]":
    from tianti.fleet import SqliteLedger

    ledger = SqliteLedger(db)
    try:
        yield ledger
    finally:
        ledger.close()


@click.group("fleet")
def fleet_group() -> None:
    """Devices, what they run, and how rollouts stand."""


@fleet_group.command("show")
@_DB_OPTION
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show_command(db: Path, as_json: bool) -> None:
    """Devices by tier, releases by what became of them, rollouts by step."""
    import msgspec

    from tianti.fleet import HEARD_S

    with _ledger(db) as ledger:
        fleet = ledger.fleet(int(time.time()) - HEARD_S)
    if as_json:
        click.echo(msgspec.json.encode(fleet).decode())
        return
    from tianti.cli.fleet_tables import print_fleet

    print_fleet(fleet)


@fleet_group.command("devices")
@_DB_OPTION
@_JSON_OPTION
@click.option("--failed", is_flag=True, help="Only those that a release failed on.")
def devices_command(db: Path, as_json: bool, failed: bool) -> None:
    """A line for each: id, tier, product, channel, what it runs, what became of releases, when it was heard of."""
    import msgspec

    from tianti.fleet.counts import FAILED

    with _ledger(db) as ledger:
        for device, told in ledger.everybody():
            fates = {} if told is None else told.report.fates
            if failed and not any(fate in FAILED for fate in fates.values()):
                continue
            if as_json:
                click.echo(msgspec.json.encode({"device": device, "told": told}).decode())
                continue
            runs = (told and told.report.release) or "-"
            met = ",".join(f"{release[:12]} {fate}" for release, fate in fates.items())
            heard = "never heard of" if told is None else _when(told.received_s)
            mark = "" if device.revoked_s is None else "  [revoked]"
            about = f"{device.id}  {device.tier}  {device.product}  {device.channel}  {runs[:12]}"
            click.echo(f"{about}  {met or '-'}  {heard}{mark}")


@fleet_group.command("invite")
@_DB_OPTION
@click.option("--tier", "-t", type=click.Choice([tier.value for tier in TIERS]), default="device", show_default=True)
@click.option("--product", required=True, help="The releases' name.")
@_CHANNEL_OPTION
@click.option("--tag", multiple=True, help="What rings ask about; repeatable.")
@click.option("--uses", type=int, default=1, show_default=True, help="How many devices.")
@click.option("--expires", default="7d", show_default=True, help="In how long: 90d, 12h, 30m; or never.")
def invite_command(
    db: Path, tier: str, product: str, channel: str, tag: tuple[str, ...], uses: int, expires: str
) -> None:
    """Make a token by which devices enroll (`tianti device enroll`), and print it; only its hash is kept."""
    from tianti.fleet import invite

    token, invitation = invite(Tier(tier), product, channel, int(time.time()), tags=tag, uses=uses, expires=expires)
    with _ledger(db) as ledger:
        ledger.add_invitation(invitation)
    click.echo(token)
    until = "never ends" if invitation.expires_s is None else f"ends {_when(invitation.expires_s)}"
    click.echo(f"for {uses} of tier {tier}, {until}; keep the token, it cannot be shown again", err=True)


@fleet_group.command("revoke")
@click.argument("device")
@_DB_OPTION
def revoke_command(device: str, db: Path) -> None:
    """Believe DEVICE no more: what it said is forgotten, what it says refused. What is public it still fetches."""
    with _ledger(db) as ledger:
        revoked = ledger.revoke(device, int(time.time()))
    click.echo(f"{revoked.tier} {revoked.id} is revoked; a hub that runs refuses it from now on")


def _when(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M} UTC"


COMMANDS = (fleet_group,)
