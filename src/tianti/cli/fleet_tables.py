"""Tables about a fleet, for people. Not here: computing any figure."""

from typing import get_args

from rich.console import Console
from rich.table import Table

from tianti.fleet import Fleet
from tianti.package import Fate
from tianti.spec import Tier

_ID = 12
FATES: tuple[Fate, ...] = get_args(Fate)


def print_fleet(fleet: Fleet) -> None:
    """Print rollouts, releases with who runs them, and devices."""
    console = Console()
    for table in (_rollouts(fleet), _releases(fleet), _devices(fleet)):
        console.print(table)


def _rollouts(fleet: Fleet) -> Table:
    table = _table("rollouts", "product", "channel", "release", "step", "devices", "state", "why")
    for each in fleet.rollouts:
        step = f"{each.at + 1} of {each.steps}" if each.steps else "-"
        share = f"{'shadow ' if each.shadow else ''}{each.ppm / 10_000:g} %"
        state = "halted" if each.halted else "done" if each.at == each.steps - 1 else "under way"
        table.add_row(each.product, each.channel, each.release[:_ID], step, share, state, each.reason)
    return table


def _releases(fleet: Fleet) -> Table:
    table = _table("releases", "product", "channel", "release", "devices", "nodes", "what devices met")
    for key in sorted({*fleet.releases, *fleet.fates}):
        product, channel, release = key.split("/")
        run, met = fleet.releases.get(key, {}), fleet.fates.get(key, {})
        devices, nodes = run.get(Tier.DEVICE, 0), sum(count for tier, count in run.items() if tier is not Tier.DEVICE)
        fates = ", ".join(f"{met[fate]} {fate}" for fate in FATES if fate in met)
        table.add_row(product, channel, release[:_ID], str(devices), str(nodes), fates)
    return table


def _devices(fleet: Fleet) -> Table:
    table = _table("devices", "product", "channel", "tier", "enrolled", "heard of this hour", "revoked")
    for key, states in sorted(fleet.devices.items()):
        table.add_row(*key.split("/"), *(str(states[state]) for state in ("enrolled", "heard", "revoked")))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=column == "release")
    return table
