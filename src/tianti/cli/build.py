"""`tianti init` and `tianti run`: from a folder to a release.

Not here: the stages (`pipeline`).
"""

from pathlib import Path
from typing import Literal

import click

from tianti.cli.answer import releases_folder
from tianti.errors import UsageError
from tianti.spec import TIERS, Tier


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


@click.command("import")
@click.argument("source")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to make.")
@click.option(
    "--tokenizer", type=click.Path(exists=True, path_type=Path), help="A tokenizer.json, where none is beside."
)
@click.option("--labels", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="One a line, or JSON.")
@click.option("--max-length", type=click.IntRange(min=4), help="Tokens of a text at most; default 64.")
@click.option("--pad-to", type=click.IntRange(min=4), help="Pad every text to this length: as the model was trained.")
@click.option("--pad-side", type=click.Choice(["left", "right"]), default="right", show_default=True)
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Labelled rows: also write a ladder.yaml.",
)
@click.option("--text", default="text", show_default=True, help="Name of the text column of --data.")
@click.option("--label", default="label", show_default=True, help="Name of the label column of --data.")
@click.option("--encoding", help="Of --data, such as gb18030; default UTF-8.")
@click.option("--json", "as_json", is_flag=True)
def import_command(
    source: str,
    out: Path,
    tokenizer: Path | None,
    labels: Path | None,
    max_length: int | None,
    pad_to: int | None,
    pad_side: Literal["left", "right"],
    data: Path | None,
    text: str,
    label: str,
    encoding: str | None,
    as_json: bool,
) -> None:
    """Make a package, and with --data a ladder, of a classifier that was trained elsewhere.

    SOURCE is a Hugging Face folder, an ONNX, Keras (.keras) or TFLite file, a SavedModel folder, or module:function,
    which builds a torch module. Formats that can carry code are refused.
    """
    from tianti.pipeline.bring import Origin, import_model
    from tianti.store import canonical_json

    origin = Origin(tokenizer=tokenizer, labels=labels, max_length=max_length, pad_to=pad_to, pad_side=pad_side)
    made = import_model(source, out, origin, data, text, label, encoding)
    manifest = made.package.manifest
    if as_json:
        found = {"package": made.package.id, "labels": manifest.labels, "accuracy": made.accuracy, "rows": made.rows}
        click.echo(canonical_json(found).decode())
        return
    click.echo(f"wrote {made.package.folder}: {len(manifest.labels)} labels, {manifest.size_bytes:,} bytes")
    if made.accuracy is not None:
        click.echo(f"on your {made.rows} rows it is right on {made.accuracy:.1%}")
        click.echo(f"next: tianti run {made.ladder}")


@click.command("export")
@click.argument("release", default="latest")
@click.option("--triton", type=click.Path(file_okay=False, path_type=Path), help="Write a model repository of Triton.")
@click.option("--tf-serving", type=click.Path(file_okay=False, path_type=Path), help="Write SavedModels by version.")
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    type=click.Choice([str(tier) for tier in TIERS]),
    help="Default: all that the release holds.",
)
def export_command(release: str, triton: Path | None, tf_serving: Path | None, tiers: tuple[str, ...]) -> None:
    """Write the models of RELEASE for Triton Inference Server or TF Serving."""
    from tianti.package import find_release, read_release
    from tianti.pipeline.export import export_saved_models, export_triton

    if triton is None and tf_serving is None:
        raise UsageError("nothing to write: expected --triton DIR, --tf-serving DIR or both")
    found = read_release(find_release(release, releases_folder()))
    held = tuple(tier for tier in found.record.packages if found.package(tier).endpoint() is None)
    for out, export in ((triton, export_triton), (tf_serving, export_saved_models)):
        for folder in [] if out is None else export(found, out, tuple(map(Tier, tiers)) or held):
            click.echo(f"wrote {folder}")


COMMANDS = (init_command, run_command, import_command, export_command)
