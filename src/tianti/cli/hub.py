"""`tianti hub`: run the one stateful process of a fleet. Not here: what it does (`hub`)."""

from pathlib import Path

import click

from tianti.cli.answer import tls_of
from tianti.cli.signing import PASSPHRASE_OPTION, read_passphrase

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("hub")
@click.option("--repository", type=_FOLDER, required=True, help="The folder that `tianti release` publishes to.")
@click.option("--keys", type=_FOLDER, required=True, help="rollout, snapshot and timestamp .pem, and root.json.")
@PASSPHRASE_OPTION
@click.option("--db", type=_FILE, default="hub.sqlite", show_default=True, help="Devices and what they report.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", "-p", type=int, default=8090, show_default=True, help="0 takes a free one.")
@click.option("--every", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Seconds between two looks.")
@click.option("--tokens", type=_FILE, help="Who may ask about the fleet: a file of `tianti token`.  [default: anybody]")
@click.option("--tls-cert", type=_FILE, help="The hub's certificate (PEM).  [default: plain HTTP]")
@click.option("--tls-key", type=_FILE, help="Its key.")
@click.option("--insecure", is_flag=True, help="Serve others without tokens and TLS: something in front does both.")
@click.option("--json-logs", is_flag=True, help="Log lines as JSON.")
def hub_command(
    repository: Path,
    keys: Path,
    passphrase_file: Path | None,
    db: Path,
    host: str,
    port: int,
    every: float,
    tokens: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure: bool,
    json_logs: bool,
) -> None:
    """Serve the repository, enroll devices, take their reports, and guard rollouts; renew what the online keys sign."""
    from tianti.hub import HubSettings, run_hub

    settings = HubSettings(
        repository=repository,
        keys=keys,
        passphrase=read_passphrase(passphrase_file),
        ledger=db,
        host=host,
        port=port,
        tokens=tokens,
        tls=tls_of(tls_cert, tls_key, None),
        insecure=insecure,
        json_logs=json_logs,
        every_s=every,
    )
    run_hub(settings, lambda url: click.echo(f"hub ready on {url}"))


COMMANDS = (hub_command,)
