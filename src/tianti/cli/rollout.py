"""`tianti release rollout`, `promote`, `halt`, `rollback` and `revoke`: what devices are told to run.

Not here: the steps (`release.rollouts`), who takes them by himself (`hub`).
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tianti.cli.reach import FILE, places_of, reached
from tianti.cli.signing import Desk, change_options
from tianti.errors import UsageError
from tianti.spec import percent

if TYPE_CHECKING:
    from tianti.fleet import Plan
    from tianti.release import Repository, Standing

CHANNEL_OPTION = click.option("--channel", default="stable", show_default=True, help="The channel that devices follow.")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_MILLION = 1_000_000


@click.command("rollout")
@click.argument("product")
@click.argument("release")
@CHANNEL_OPTION
@click.option(
    "--steps",
    multiple=True,
    default=("1%", "10%", "100%"),
    show_default=True,
    help="How many devices, step by step: 5%, `5 devices`, `shadow 5%`; repeatable.",
)
@click.option("--db", type=FILE, help="The hub's ledger: a step of 5 devices then reaches 5 of those enrolled.")
@click.option("--enrolled", type=click.IntRange(min=1), help="Without it: how many devices there are, so about 5.")
@click.option("--tag", "tags", multiple=True, help="Only devices that have this tag; repeatable: all of them.")
@click.option("--region", "regions", multiple=True, help="Only devices in this region; repeatable: one of them.")
@click.option("--dwell", default="1h", show_default=True, help="How long a step lasts at least: 30m, 1h, 2d.")
@click.option("--poll", help="How often devices ask: 1m to 24h.  [default: as before, or 15m]")
@change_options
def rollout_command(
    product: str,
    release: str,
    channel: str,
    steps: tuple[str, ...],
    db: Path | None,
    enrolled: int | None,
    tags: tuple[str, ...],
    regions: tuple[str, ...],
    dwell: str,
    poll: str | None,
    desk: Desk,
    as_json: bool,
) -> None:
    """Start to let RELEASE spread among PRODUCT's devices.

    The nodes above the devices fetch it first; `promote`, or the hub, takes the steps.
    """
    from tianti.fleet import Plan, Terms, parse_steps
    from tianti.package import Match
    from tianti.release import find_offer, start_rollout

    match, places = Match(tags=tags, regions=regions), list[int]()
    if db is not None:
        release = find_offer(desk.repository, product, release).release
        places = places_of(db, (product, channel), match, release)
    plan = Plan(steps=parse_steps(steps, enrolled, places), terms=Terms(dwell_s=_seconds(dwell, "--dwell")))
    poll_s = None if poll is None else _seconds(poll, "--poll")

    def step(found: "Repository") -> "Repository":
        said = {"channel": channel, "match": match, "plan": msgspec.to_builtins(plan), "poll_s": poll_s}
        return start_rollout(found, product, release, desk.signers, desk.now_s, **said)

    _publish(desk, step, product, channel, as_json)
    for line in reached(plan.steps, enrolled, places):
        click.echo(line, err=True)


@click.command("promote")
@click.argument("product")
@CHANNEL_OPTION
@click.option("--now", is_flag=True, help="Although the step has not lasted as long as it should.")
@change_options
def promote_command(product: str, channel: str, now: bool, desk: Desk, as_json: bool) -> None:
    """Let PRODUCT's rollout take its next step."""
    from tianti.fleet import next_step
    from tianti.release import promote

    def step(found: "Repository") -> "Repository":
        plan = _plan(found, product, channel)
        left_s = plan.since_s + plan.terms.dwell_s - desk.now_s
        if plan.at >= 0 and left_s > 0 and not now:
            raise UsageError(f"expected a step of {plan.terms.dwell_s} s, {left_s} s are left; wait, or say --now")
        plan = next_step(plan, desk.now_s)
        said = msgspec.to_builtins(plan)
        ppm, shadow = plan.step.ppm, plan.step.shadow
        return promote(found, product, channel, desk.signers, desk.now_s, ppm=ppm, shadow=shadow, plan=said)

    _publish(desk, step, product, channel, as_json)


@click.command("halt")
@click.argument("product")
@CHANNEL_OPTION
@change_options
def halt_command(product: str, channel: str, desk: Desk, as_json: bool) -> None:
    """Let nobody else go to the release of PRODUCT's rollout. To go on, start the rollout again."""
    from tianti.release import halt

    def step(found: "Repository") -> "Repository":
        return halt(found, product, channel, desk.signers, desk.now_s)

    _publish(desk, step, product, channel, as_json)


@click.command("rollback")
@click.argument("product")
@CHANNEL_OPTION
@click.option("--release", help="Where to.  [default: what the channel served before]")
@change_options
def rollback_command(product: str, channel: str, release: str | None, desk: Desk, as_json: bool) -> None:
    """Take all of PRODUCT's devices back to the release before, at once."""
    from tianti.release import rollback

    def step(found: "Repository") -> "Repository":
        return rollback(found, product, channel, desk.signers, desk.now_s, release=release)

    _publish(desk, step, product, channel, as_json)


@click.command("revoke")
@click.argument("product")
@click.argument("release")
@click.option("--and-older", is_flag=True, help="And every release before it.")
@change_options
def revoke_command(product: str, release: str, and_older: bool, desk: Desk, as_json: bool) -> None:
    """Say for good that nobody is to run RELEASE; channels that serve it are rolled back. Needs the key `targets`.

    A device without a network does not learn of it.
    """
    from tianti.release import floor_of, read_rollouts, revoke, revoked

    def step(found: "Repository") -> "Repository":
        return revoke(found, product, release, desk.signers, desk.now_s, and_older=and_older)

    written = desk.publish(step)
    standings = [each for each in read_rollouts(desk.repository) if each.rollout.product == product]
    if as_json:
        gone, floor = sorted(revoked(desk.repository)), floor_of(desk.repository, product)
        rollouts = [about(each) for each in standings]
        click.echo(json.dumps({"revoked": gone, "floor": floor, "rollouts": rollouts, "written": written}))
        return
    click.echo(f"{product}: {release} is revoked{' with all before it' if and_older else ''}")
    for each in standings:
        click.echo(in_words(each))


def about(standing: "Standing") -> dict[str, Any]:
    """A channel's rollout for machines."""
    return {"rollout": msgspec.to_builtins(standing.rollout), "plan": standing.plan}


def in_words(standing: "Standing") -> str:
    """A channel's rollout for people."""
    rollout, plan = standing
    shares = ", ".join(percent(ring.ppm / _MILLION) for ring in rollout.rings)
    reach = f"run beside the serving one on {shares}" if rollout.shadow else f"for {shares} of the devices"
    steps = "" if plan is None else f", step {plan['at'] + 1} of {len(plan['steps'])}"
    if plan is not None and plan["at"] < 0:
        reach, steps = "for the nodes above the devices", f", {len(plan['steps'])} steps to go"
    back = f"; else {rollout.previous[:12]}" if rollout.previous and rollout.previous != rollout.release else ""
    marks = ("  [HALTED]" if rollout.halt else "") + ("  [rolled back to]" if rollout.force else "")
    name = f"{rollout.product} {rollout.channel}: {rollout.release[:12]} (release {rollout.counter})"
    return f"{name} {reach}{steps}{back}{marks}"


def _plan(repository: "Repository", product: str, channel: str) -> "Plan":
    from tianti.fleet import Plan
    from tianti.release import read_rollout

    standing = read_rollout(repository, product, channel)
    if standing is None or standing.plan is None:
        raise UsageError(f"{product} {channel}: expected a rollout with a step to go, got none; start one")
    return msgspec.convert(standing.plan, Plan)


def _publish(desk: Desk, step: "Callable[[Repository], Repository]", product: str, channel: str, as_json: bool) -> None:
    from tianti.release import read_rollout

    written = desk.publish(step)
    standing = read_rollout(desk.repository, product, channel)
    if standing is not None:
        click.echo(json.dumps({**about(standing), "written": written}) if as_json else in_words(standing))


def _seconds(text: str, option: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip())
    if found is None:
        raise UsageError(f"{option}: expected a time such as 30m, 1h or 2d, got {text!r}")
    return int(found[1]) * _SECONDS[found[2]]


COMMANDS = (rollout_command, promote_command, halt_command, rollback_command, revoke_command)
