"""`tianti token create`, `list` and `revoke`: who may ask a node.

Not here: the file (`serving.tokens`). Invariant: a token is printed once, alone on standard output.
"""

from datetime import UTC, datetime
from pathlib import Path

import click

_FILE_OPTION = click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="tokens.json",
    show_default=True,
    help="The node's file of tokens (`tianti serve --tokens`).",
)


@click.group("token")
def token_group() -> None:
    """Tokens of a node's callers. A node that runs takes up a change within a second."""


@token_group.command("create")
@click.argument("name")
@click.option("--scope", multiple=True, required=True, help="predict, admin or telemetry; repeatable.")
@_FILE_OPTION
@click.option("--expires", help="In how long: 90d, 12h, 30m.  [default: never]")
@click.option("--quota", type=float, help="Texts a second, for all tokens of NAME.  [default: no limit]")
def create_command(name: str, scope: tuple[str, ...], path: Path, expires: str | None, quota: float | None) -> None:
    """Make a token for NAME and print it; only its hash is kept. NAME may have several, so that they can be changed."""
    from tianti.errors import UsageError
    from tianti.serving.tokens import Scope, create_token

    if unknown := [word for word in scope if word not in list(Scope)]:
        raise UsageError(f"scope: expected {', '.join(Scope)}, got {unknown[0]!r}")
    click.echo(create_token(path, name, tuple(map(Scope, scope)), expires, quota))
    click.echo(f"{name} is in {path}; keep the token, it cannot be shown again", err=True)


@token_group.command("list")
@_FILE_OPTION
def list_command(path: Path) -> None:
    """A line for each token: id, name, scopes, until when, texts a second."""
    from tianti.serving.tokens import read_tokens

    now = datetime.now(UTC)
    for token in read_tokens(path):
        until = "never expires" if token.expires is None else f"until {token.expires:%Y-%m-%d %H:%M} UTC"
        ended = "  [expired]" if token.expires is not None and token.expires <= now else ""
        quota = "" if token.quota_per_s is None else f"  {token.quota_per_s:g}/s"
        click.echo(f"{token.id}  {token.name}  {','.join(token.scopes)}  {until}{quota}{ended}")


@token_group.command("revoke")
@click.argument("name")
@click.option("--id", "token_id", help="Only this one, as `token list` names it.  [default: all of NAME]")
@_FILE_OPTION
def revoke_command(name: str, token_id: str | None, path: Path) -> None:
    """Remove NAME's tokens."""
    from tianti.serving.tokens import revoke_tokens

    count = revoke_tokens(path, name, token_id)
    click.echo(f"{count} of {name} revoked; a node that runs refuses within a second")


COMMANDS = (token_group,)
