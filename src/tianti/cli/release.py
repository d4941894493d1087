"""`tianti release publish`, `list`, `show`, `refresh` and `export`: what a repository offers.

Not here: how it spreads (`cli.rollout`), signing (`release`).
"""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tianti.cli import rollout
from tianti.cli.answer import releases_folder
from tianti.cli.rollout import CHANNEL_OPTION, about, in_words
from tianti.cli.signing import FOLDER, Desk, change_options, look_options, showing
from tianti.errors import GateError, TiantiError, UsageError
from tianti.spec import TIERS, Tier

if TYPE_CHECKING:
    from tianti.package import Release, Shipment
    from tianti.release import Repository


@click.group("release")
def release_group() -> None:
    """Signed releases: publish them, let them spread ring by ring, take them back."""


@release_group.command("publish")
@click.argument("release", default="latest")
@CHANNEL_OPTION
@click.option("--force", metavar="REASON", help="Publish although a gate says no; REASON is kept, signed.")
@click.option(
    "--patches", type=click.IntRange(min=0), default=3, show_default=True, help="From so many releases before."
)
@click.option("--min-runtime", metavar="VERSION", help="Oldest Tianti that runs it.  [default: the one that made it]")
@click.option("--abi", help="The machine that it is for.  [default: any]")
@change_options
def publish_command(
    release: str,
    channel: str,
    force: str | None,
    patches: int,
    min_runtime: str | None,
    abi: str | None,
    desk: Desk,
    as_json: bool,
) -> None:
    """Offer RELEASE, a folder, an id or `latest` of this folder. No device goes to it before `release rollout`.

    First its gates: every hash, its certificate, its self-tests on the real runtime; and it must not be worse than the
    release that CHANNEL serves, on the whole and in any named slice.
    """
    from tianti.package import find_release, read_release
    from tianti.release import add_shipment, lay_release

    if force is not None and not force.strip():
        raise UsageError("--force: expected a reason, got none; say why")
    found = read_release(find_release(release, releases_folder()))
    with showing("checks", as_json):
        problems = _problems(desk, found, channel)
    if problems and force is None:
        told = "; ".join(problems)
        raise GateError(f"release {found.id[:12]} does not pass: {told}; improve it, or say why with --force REASON")
    with showing(f"{found.record.name} {found.id[:12]}", as_json) as progress:
        shipment = lay_release(
            desk.folder, desk.repository, found, progress, patches=patches, min_runtime=min_runtime, abi=abi
        )
    forced = force if problems else None
    written = desk.publish(lambda found: add_shipment(found, shipment, desk.signers, desk.now_s, forced), [shipment])
    result = {
        **_about_shipment(shipment, _before(desk.folder, desk.repository, shipment)),
        "forced": forced,
        "problems": problems,
        "written": written,
    }
    if as_json:
        click.echo(json.dumps(result))
        return
    for line in problems:
        click.echo(f"forced past: {line}", err=True)
    click.echo(f"{shipment.product} {shipment.release[:12]}, release {shipment.counter}, is offered")
    for tier, sizes in result["tiers"].items():
        click.echo(f"  {tier:<7} {_size(sizes)}")
    name = f"{shipment.product} {shipment.release[:12]}"
    click.echo(f"next: tianti release rollout {name} -R {desk.folder} -K …", err=True)


@release_group.command("list")
@click.argument("product", required=False)
@look_options
def list_command(product: str | None, folder: Path, repository: "Repository", as_json: bool) -> None:
    """List the releases that are offered, of PRODUCT or of all, the newest first."""
    from tianti.release import offers, read_rollouts, read_shipment, revoked

    gone, named = revoked(repository), dict[tuple[str, str], list[str]]()
    for standing, _ in read_rollouts(repository):
        named.setdefault((standing.product, standing.release), []).append(standing.channel)
    for offer in offers(repository, product):
        shipment = read_shipment(folder, repository, offer.product, offer.release)
        channels, out = named.get((offer.product, offer.release), []), offer.release in gone
        if as_json:
            more = {"forced": offer.forced, "revoked": out, "channels": channels}
            click.echo(json.dumps({**_about_shipment(shipment, _before(folder, repository, shipment)), **more}))
            continue
        marks = [*channels, *(["REVOKED"] if out else []), *([f"forced: {offer.forced}"] if offer.forced else [])]
        line = f"{offer.product}  {offer.counter:>4}  {offer.release[:12]}  {', '.join(marks)}"
        click.echo(line.rstrip())


@release_group.command("show")
@click.argument("product", required=False)
@look_options
def show_command(product: str | None, folder: Path, repository: "Repository", as_json: bool) -> None:
    """Show what devices are told: each channel's rollout, floors, revoked releases, and until when it is signed."""
    from tianti.release import floor_of, lint_repository, offers, read_rollouts, revoked
    from tianti.release.lint import ROLES

    standings = [each for each in read_rollouts(repository) if product in (None, each.rollout.product)]
    products = sorted({offer.product for offer in offers(repository, product)})
    floors = {name: floor for name in products if (floor := floor_of(repository, name))}
    expires = {role: getattr(repository, role).signed.expires for role in ROLES}
    findings = lint_repository(repository, int(time.time()))
    if as_json:
        said: dict[str, Any] = {"rollouts": [about(each) for each in standings], "floors": floors, "findings": findings}
        said |= {"revoked": sorted(revoked(repository))}
        said |= {"expires": {role: int(until.timestamp()) for role, until in expires.items()}}
        click.echo(json.dumps(said))
        return
    for each in standings:
        click.echo(in_words(each))
    if not standings:
        click.echo(f"nothing is rolled out; releases are offered of: {', '.join(products) or 'no product'}")
    for name, floor in floors.items():
        click.echo(f"{name}: nothing below release {floor} is activated")
    for release in sorted(revoked(repository)):
        click.echo(f"revoked: {release[:12]}")
    click.echo(
        "signed until: " + ", ".join(f"{role} {until:%Y-%m-%d %H:%M}" for role, until in expires.items()) + " UTC"
    )
    for line in findings:
        click.echo(f"WRONG: {line}")


@release_group.command("refresh")
@change_options
def refresh_command(desk: Desk, as_json: bool) -> None:
    """Sign anew what expires and can be signed with these keys; devices refuse what has expired.

    The timestamp each time, the others after half of their lives. The hub does it by itself.
    """
    from tianti.release import refresh

    written = desk.publish(lambda found: refresh(found, desk.signers, desk.now_s))
    click.echo(json.dumps({"written": written}) if as_json else "\n".join(written))


@release_group.command("upload")
@click.argument("where", metavar="URL")
@look_options
def upload_command(where: str, folder: Path, repository: "Repository", as_json: bool) -> None:
    """Copy the repository to URL, such as s3://bucket/folder, or a folder: what is not there yet, in a safe order."""
    from tianti.release import upload

    with showing(f"to {where}", as_json) as progress:
        copied = upload(folder, where, progress)
    said = {**copied._asdict(), "to": where, "timestamp": repository.timestamp.signed.version}
    click.echo(json.dumps(said) if as_json else f"{where}: {copied.files} files, {copied.size_bytes / 1e6:.1f} MB")


@release_group.command("export")
@click.option("--media", type=FOLDER, required=True, help="Where to: a stick's folder.")
@click.option("--product", "products", multiple=True, help="Only this one; repeatable.  [default: all]")
@click.option(
    "--tier",
    "tiers",
    type=click.Choice([tier.value for tier in TIERS]),
    multiple=True,
    help="Only for this tier; repeatable.",
)
@look_options
def export_command(
    media: Path,
    products: tuple[str, ...],
    tiers: tuple[str, ...],
    folder: Path,
    repository: "Repository",
    as_json: bool,
) -> None:
    """Copy what rollouts name onto media, for devices without a network: `tianti update DIR --from MEDIA`."""
    from tianti.release import export_media

    wanted = [Tier(tier) for tier in tiers] or TIERS
    with showing(str(media), as_json) as progress:
        made = export_media(folder, repository, media, int(time.time()), progress, products=products, tiers=wanted)
    until = datetime.fromtimestamp(made.valid_until_s, UTC)
    if as_json:
        about = {"media": str(media), "releases": made.releases, "valid_until_s": made.valid_until_s}
        click.echo(json.dumps({**made.copied._asdict(), **about}))
        return
    click.echo(
        f"{media}: {made.copied.files} files, {made.copied.size_bytes / 1e6:.1f} MB; {len(made.releases)} releases"
    )
    click.echo(f"devices take it until {until:%Y-%m-%d %H:%M} UTC")


def _problems(desk: Desk, release: "Release", channel: str) -> list[str]:
    """What speaks against a release."""
    from tianti.package import verify_release
    from tianti.pipeline.verify import verify
    from tianti.release import read_record, serving, worse

    verify_release(release)  # bytes that are not those named are published for no reason at all
    problems = []
    try:
        verify(release.folder)
    except TiantiError as error:
        problems.append(str(error))
    before = serving(desk.repository, release.record.name, channel, besides=release.id)
    if before is not None:
        record = read_record(desk.folder, desk.repository, before)
        problems += worse(release.record, record)
        if "accuracy" not in record.metrics:
            click.echo(f"not compared: {before.release[:12]}, which serves, says no accuracy", err=True)
    return problems


def _before(folder: Path, repository: "Repository", shipment: "Shipment") -> "Shipment | None":
    """What devices of the release before have."""
    from tianti.release import offers, read_shipment

    older = [offer for offer in offers(repository, shipment.product) if offer.counter < shipment.counter]
    return read_shipment(folder, repository, older[0].product, older[0].release) if older else None


def _about_shipment(shipment: "Shipment", before: "Shipment | None") -> dict[str, Any]:
    from tianti.release import download_bytes

    tiers = {}
    for tier in (tier for tier in TIERS if any(file.tier is tier for file in shipment.files.values())):
        tiers[tier.value] = {
            "size_bytes": sum(file.size_bytes for file in shipment.files.values() if file.tier in (None, tier)),
            "download_bytes": download_bytes(shipment, tier),
            "update_bytes": None if before is None else download_bytes(shipment, tier, before),
        }
    return {"product": shipment.product, "release": shipment.release, "counter": shipment.counter, "tiers": tiers}


def _size(sizes: dict[str, Any]) -> str:
    line = f"{sizes['size_bytes'] / 1e6:.3f} MB, to fetch {sizes['download_bytes'] / 1e6:.3f} MB"
    return (
        line if sizes["update_bytes"] is None else f"{line}, from the one before {sizes['update_bytes'] / 1e6:.3f} MB"
    )


for _command in rollout.COMMANDS:
    release_group.add_command(_command)
COMMANDS = (release_group,)
