"""The options that say how nodes above are known and what they are shown, for each command that asks them.

Not here: their meaning (`runtimes.trust`).
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import click

from tianti.runtimes.trust import Trust

_FILE = click.Path(dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--upstream-ca", type=_FILE, help="Who signs the nodes' certificates.  [default: the world's]"),
    click.option("--upstream-cert", type=_FILE, help="Certificate to show to nodes above."),
    click.option("--upstream-key", type=_FILE, help="Its key."),
    click.option("--upstream-token-env", metavar="NAME", help="Environment variable that holds a token for them."),
    click.option("--upstream-token-file", type=_FILE, help="File that holds it instead."),
)


def trust_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets them as one argument `trust`."""

    @wraps(command)
    def with_trust(
        upstream_ca: Path | None,
        upstream_cert: Path | None,
        upstream_key: Path | None,
        upstream_token_env: str | None,
        upstream_token_file: Path | None,
        **rest: object,
    ) -> None:
        trust = Trust(upstream_ca, upstream_cert, upstream_key, upstream_token_env, upstream_token_file)
        command(trust=trust, **rest)

    for option in reversed(_OPTIONS):
        with_trust = option(with_trust)
    return with_trust
