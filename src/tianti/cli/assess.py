"""`tianti assess`: from logs and a cloud model to how much of it a device could take over.

Not here: any of the work (`pipeline.assess`).
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import click


@click.command("assess")
@click.option("--text", "texts", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Your logs.")
@click.option("--column", default="text", show_default=True, help="Name of the column of texts.")
@click.option("--encoding", help="Of the logs, such as gb18030; default UTF-8.")
@click.option("--cloud", "endpoint", required=True, help="URL of the server that answers them now.")
@click.option("--protocol", type=click.Choice(["oip", "tfs"]), default="oip", show_default=True)
@click.option("--model", help="Its name there.  [default: the only one]")
@click.option("--model-version", help="[default: the one that the server declares]")
@click.option("--tokenizer", help="Its tokenizer.json, where the server takes tokens.")
@click.option("--labels", help="A file with its labels, one a line, where the server does not name them.")
@click.option("--key-env", help="The environment variable with a bearer token for the server.")
@click.option("--calls", type=click.IntRange(min=1), default=10_000, show_default=True, help="Most calls to pay for.")
@click.option("--base", default="scratch", show_default=True, help="An encoder to start from: hf://ORG/NAME, a folder.")
@click.option("--level", default="1%", show_default=True, help="Of all calls, how many may be answered otherwise.")
@click.option("--price", type=click.FloatRange(min=0.0), default=0.2, show_default=True, help="Of 1,000 calls.")
@click.option("--per-month", type=click.IntRange(min=1), help="Calls a month, to say the saving in money.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("assessment"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout, and no progress.")
def assess_command(
    texts: Path,
    column: str,
    encoding: str | None,
    endpoint: str,
    protocol: Literal["oip", "tfs"],
    model: str | None,
    model_version: str | None,
    tokenizer: str | None,
    labels: str | None,
    key_env: str | None,
    calls: int,
    base: str,
    level: str,
    price: float,
    per_month: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Say how many of the calls in your logs a small model on the device could answer as your cloud model does.

    No labels are needed: the cloud model is asked about the texts, a model is distilled, and a certificate is made.
    Answers are kept, so a stopped assessment goes on without paying twice.
    """
    from tianti.cli.progress import ProgressBars, Quiet
    from tianti.pipeline import Workspace
    from tianti.pipeline.assess import Question, conclude, repeated_share, write_ladder
    from tianti.pipeline.build import build_ladder
    from tianti.store import canonical_json

    cloud = {
        "endpoint": endpoint,
        "protocol": protocol,
        "model": model,
        "version": model_version,
        "tokenizer": tokenizer,
        "labels": labels,
        "key_env": key_env,
        "calls": calls,
        "base": base,
    }
    question = Question(
        texts=texts, column=column, encoding=encoding, cloud=cloud, level=level, price=price, per_month=per_month
    )
    ladder = write_ladder(question, out)
    with nullcontext(Quiet()) if as_json else ProgressBars() as console:
        record = build_ladder(ladder, console)
    workspace = Workspace(out)
    statement = conclude(record, question, repeated_share(workspace, record))
    if as_json:
        click.echo(canonical_json(statement).decode())
        return
    for line in statement.lines():
        click.echo(line)
    click.echo(f"Report: {workspace.report_path(record.run)}")
    click.echo(f"Next: tianti predict -r {workspace.releases / record.release} -u cloud TEXT")


COMMANDS = (assess_command,)
