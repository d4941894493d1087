"""`tianti init` and `tianti run`: from a folder to a release.

Not here: the stages (`pipeline`).
"""

from pathlib import Path

import click


@click.command("init")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def init_command(folder: Path) -> None:
    """Write a ladder.yaml and bilingual sample data into FOLDER, ready to run and to be replaced by yours."""
    from tianti.pipeline.scaffold import write_scaffold

    write_scaffold(folder)
    click.echo(f"wrote {folder / 'ladder.yaml'} and {folder / 'data'}\nnext: tianti run {folder / 'ladder.yaml'}")


@click.command("run")
@click.argument("ladder", type=click.Path(dir_okay=False, path_type=Path), default=Path("ladder.yaml"))
@click.option("--json", "as_json", is_flag=True, help="End with one JSON line on stdout, and show no progress.")
def run_command(ladder: Path, as_json: bool) -> None:
    """Build the ladder that LADDER (default ladder.yaml) describes; what did not change is not done again."""
    from tianti.cli.progress import ProgressBars, Quiet
    from tianti.cli.tables import print_run
    from tianti.pipeline.build import build_ladder
    from tianti.store import canonical_json

    if as_json:
        record = build_ladder(ladder, Quiet())
        click.echo(canonical_json(record).decode())
        return
    with ProgressBars() as bars:
        record = build_ladder(ladder, bars)
    print_run(record, ladder.parent)


COMMANDS = (init_command, run_command)
