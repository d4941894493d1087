"""`tianti report`, `runs`, `gc`, `bench`, `verify` and `doctor`: look at what is there.

Not here: making any of it.
"""

import json
from pathlib import Path
from typing import TextIO

import click
import msgspec

from tianti.cli.answer import releases_folder
from tianti.errors import RunError


@click.command("report")
@click.argument("run", default="latest")
def report_command(run: str) -> None:
    """Print where the report of RUN is: one HTML file that opens offline."""
    from tianti.pipeline import Workspace

    workspace = Workspace(Path())
    click.echo(workspace.report_path(workspace.run(run).run).resolve())


@click.group("runs")
def runs_group() -> None:
    """List, show and compare the runs of this folder."""


@runs_group.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_command(as_json: bool) -> None:
    """List finished runs, oldest first."""
    from tianti.pipeline import Workspace

    for record in Workspace(Path()).runs():
        if as_json:
            click.echo(msgspec.json.encode(record).decode())
        else:
            accuracy = "  ".join(f"{tier} {figures['accuracy']:.1%}" for tier, figures in record.tiers.items())
            click.echo(f"{record.run}  {record.release[:12]}  {record.seconds:7.1f} s  {accuracy}")


@runs_group.command("show")
@click.argument("run", default="latest")
def show_command(run: str) -> None:
    """Show one run as JSON."""
    from tianti.pipeline import Workspace

    click.echo(json.dumps(msgspec.to_builtins(Workspace(Path()).run(run)), indent=2, ensure_ascii=False))


@runs_group.command("compare")
@click.argument("first")
@click.argument("second", default="latest")
def compare_command(first: str, second: str) -> None:
    """Compare two runs: accuracy, size and latency of each tier, and what is answered where."""
    from tianti.cli.tables import print_comparison
    from tianti.pipeline import Workspace

    workspace = Workspace(Path())
    print_comparison(workspace.run(first), workspace.run(second))


@click.command("gc")
@click.option("--keep", type=click.IntRange(min=1), default=2, show_default=True, help="Runs whose results stay.")
def gc_command(keep: int) -> None:
    """Remove stage outputs, runs and releases that none of the last runs uses."""
    from tianti.pipeline import Workspace

    removed, freed = Workspace(Path()).collect(keep)
    click.echo(f"removed {removed} stage outputs, {freed / 1e6:.1f} MB")


@click.command("bench")
@click.argument("package", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--texts", type=click.File(encoding="utf-8"), help="Texts to measure on, one a line; default: its own.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line: a profile for `device: {profile: FILE}`.")
def bench_command(package: Path, texts: TextIO | None, as_json: bool) -> None:
    """Measure PACKAGE, a folder of a release, on this machine: latency of one text, time to load, memory."""
    from tianti.package import read_package, verify_package
    from tianti.runtimes.measure import profile_package

    found = read_package(package)
    verify_package(found)
    lines = None if texts is None else texts.read().splitlines()
    profile = profile_package(found, lines)
    if as_json:
        click.echo(msgspec.json.encode(profile).decode())
        return
    latency, memory = profile.latency_ms, profile.memory_bytes
    click.echo(f"{found.manifest.name} on {profile.machine}")
    click.echo(f"  one text   {latency['p50']:.3f} ms p50, {latency['p99']:.3f} ms p99, {profile.texts} texts")
    click.echo(f"  to load    {profile.load_ms:.0f} ms")
    click.echo(f"  memory     {'not known on this system' if memory is None else f'{memory / 1e6:.0f} MB at most'}")


@click.command("verify")
@click.argument("release", default="latest")
@click.option("--data", type=click.Path(path_type=Path), help="Labelled rows: what the ladder really risks on them.")
@click.option("--text", default="text", show_default=True, help="Name of the text column of --data.")
@click.option("--label", default="label", show_default=True, help="Name of the label column of --data.")
@click.option("--encoding", help="Of --data, such as gb18030; default UTF-8.")
@click.option("--json", "as_json", is_flag=True)
def verify_command(release: str, data: Path | None, text: str, label: str, encoding: str | None, as_json: bool) -> None:
    """Check RELEASE: every file's hash, and its certificate, recomputed from what it keeps."""
    from tianti.package import find_release
    from tianti.pipeline.verify import verify

    findings = verify(find_release(release, releases_folder()), data, text, label, encoding)
    if as_json:
        click.echo(msgspec.json.encode(findings).decode())
        return
    for line in findings.lines():
        click.echo(line)


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True)
def doctor_command(as_json: bool) -> None:
    """Say what is installed, what is missing with its cure, what this CPU can do; and run a tiny self-test."""
    from tianti.cli.doctor import SELF_TEST, examine

    checks = examine()
    if as_json:
        click.echo(msgspec.json.encode(checks).decode())
    else:
        for check in checks:
            cure = "" if check.ok else f"  ->  {check.cure}"
            click.echo(f"{'ok' if check.ok else 'missing':<8} {check.name:<14} {check.found}{cure}")
    if not all(check.ok for check in checks if check.name == SELF_TEST):  # an extra may well be missing
        raise RunError("the self-test failed: no package can be run on this machine")


COMMANDS = (report_command, runs_group, gc_command, bench_command, verify_command, doctor_command)
