"""`tianti replay`: what logged decisions cost and risked, and what they would have under another point, price or model.

Not here: deciding anew (`pipeline`). Invariant: money is shown with its prices, a risk with its confidence.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tianti.cli.answer import releases_folder
from tianti.errors import UsageError
from tianti.spec import TIERS, Tier, percent

if TYPE_CHECKING:
    from tianti.pipeline.sides import Range, Side
    from tianti.pipeline.what_if import WhatIf

_UPSTREAMS = {
    "edge,cloud": (Tier.EDGE, Tier.CLOUD),
    "cloud": (Tier.CLOUD,),
    "edge": (Tier.EDGE,),
    "none": (),
}


def _numbers(_context: click.Context, option: click.Parameter, given: str | None) -> dict[Tier, float]:
    """`edge=0.02,cloud=0.2` by tier."""
    found: dict[Tier, float] = {}
    for part in (given or "").split(",") if given else ():
        name, _, number = part.partition("=")
        try:
            found[Tier(name.strip())] = float(number)
        except ValueError:
            raise UsageError(f"--{option.name}: expected such as edge=0.02,cloud=0.2, got {part!r}") from None
    return found


@click.command("replay")
@click.argument("log", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--point", type=float, help="Another alpha, certified in the release.  [default: each request's own]")
@click.option("--prices", callback=_numbers, help="Such as edge=0.02,cloud=0.2, per 1,000 requests.")
@click.option("--upstreams", type=click.Choice(list(_UPSTREAMS)), help="What is above.  [default: as the log shows]")
@click.option("--latency", callback=_numbers, help="Milliseconds of a tier's share, such as edge=20,cloud=80.")
@click.option("--release", "-r", help="Another release, or the same: its models are run on the texts in the log.")
@click.option("--of", help="The release that the log is of, where the log is of several or it is not in .tianti.")
@click.option("--json", "as_json", is_flag=True)
def replay_command(
    log: Path,
    point: float | None,
    prices: dict[Tier, float],
    upstreams: str | None,
    latency: dict[Tier, float],
    release: str | None,
    of: str | None,
    as_json: bool,
) -> None:
    """Decide the requests in LOG anew: what it would have cost, taken and risked.

    LOG is what `tianti serve --log` or `load(log=...)` wrote. What it cannot know is shown as low - high.
    """
    from tianti.package import find_release
    from tianti.pipeline.what_if import Asked, what_if
    from tianti.store import canonical_json

    asked = Asked(
        of=of,
        release=release,
        point=point,
        prices=prices,
        upstreams=None if upstreams is None else _UPSTREAMS[upstreams],
        latency_ms=latency,
    )
    found = what_if(log, asked, lambda name: find_release(name, releases_folder()))
    if as_json:
        click.echo(canonical_json(found).decode())
    else:
        _print(found)


def _print(what: "WhatIf") -> None:
    from rich.console import Console
    from rich.table import Table

    found, console = what.found, Console()
    table = Table(title=f"{found.requests:,} requests of release {what.release[:12]}", title_justify="left")
    table.add_column("")
    for side in ("as it was", "what if"):
        table.add_column(side, justify="right")
    before = _column(found.before, what.risk, what.confidence)
    after = _column(found.after, what.asked_risk, what.asked_confidence)
    for name in before:
        table.add_row(name, before[name], after[name])
    console.print(table)
    if what.ran:
        console.print(f"Models of release {what.asked_release[:12]} were run on the texts.", highlight=False)
    for line in what.findings:
        console.print(line, highlight=False, soft_wrap=True)


def _column(side: "Side", risk: str, confidence: float) -> dict[str, str]:
    return {
        **{f"answered by {tier}": _range(side.share[tier], "{:.1%}") for tier in TIERS},
        "cost per 1,000": _range(side.cost_per_1000, "{:.4f}"),
        "cost in all": _range(side.cost, "{:.4g}"),
        "at prices per 1,000": ", ".join(f"{tier} {price:g}" for tier, price in side.prices.items()),
        "p50 ms": "not known" if side.p50_ms is None else _range(side.p50_ms, "{:.2f}"),
        "p99 ms": "not known" if side.p99_ms is None else _range(side.p99_ms, "{:.2f}"),
        "degraded answers": _range(side.degraded, "{:.1%}"),
        "kept here as private": _range(side.private, "{:.1%}"),
        "certified answers": _range(side.certified, "{:.1%}"),
        "their certified risk": _risk(side, risk, confidence),
    }


def _risk(side: "Side", kind: str, confidence: float) -> str:
    if side.risk is None or side.certified.high == 0.0:
        return "none"
    if len(side.points) == 1:
        return f"{kind} <= {percent(side.risk)} @ {percent(confidence)}"
    mean = math.ceil(side.risk * 1e5) / 1e5  # never rounded down, which would promise more
    points = ", ".join(map(percent, side.points))
    return f"{kind} <= {percent(mean)}, the mean of {points} @ {percent(confidence)}"


def _range(found: "Range", form: str) -> str:
    low, high = form.format(found.low), form.format(found.high)
    return low if low == high else f"{low} - {high}"


COMMANDS = (replay_command,)
