"""`tianti predict`, `tianti serve` and `tianti up`: ask a ladder, and run its nodes.

Not here: routing (`router`), HTTP (`serving`).
"""

import json
import sys
from collections.abc import Callable, Iterable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tianti.cli.trust import trust_options
from tianti.errors import UsageError
from tianti.runtimes.trust import Trust
from tianti.spec import TIERS, Prediction, Tier

if TYPE_CHECKING:
    from tianti.device import Ladder
    from tianti.serving.settings import MirrorOf
    from tianti.serving.tls import Tls

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
RELEASE_OPTION = click.option(
    "--release", "-r", default="latest", show_default=True, help="A release's folder, id, or `latest` of this folder."
)


def releases_folder() -> Path:
    """Where releases are looked up by id: below the current folder."""
    return Path(".tianti") / "releases"


_LADDER_OPTIONS = (
    RELEASE_OPTION,
    click.option("--upstream", "-u", multiple=True, help="URL of a higher node; several are tried in order."),
    click.option("--point", type=float, help="The alpha to answer under, such as 0.01; must be certified."),
    click.option("--deadline-ms", type=float, default=500.0, show_default=True),
    click.option("--egress", type=_FILE, help="Append a line for each text that left or was held: types and counts."),
)


def ladder_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which ladder answers; the command gets `open_ladder`, which loads it."""

    @trust_options
    @wraps(command)
    def with_ladder(
        release: str,
        upstream: tuple[str, ...],
        point: float | None,
        deadline_ms: float,
        egress: Path | None,
        trust: Trust,
        **rest: object,
    ) -> None:
        from tianti.device import load

        ways = list(upstream)
        opened = partial(load, release, ways, point=point, deadline_ms=deadline_ms, audits=0.0, trust=trust)
        command(open_ladder=partial(opened, egress=egress), **rest)

    for option in reversed(_LADDER_OPTIONS):
        with_ladder = option(with_ladder)
    return with_ladder


@click.command("predict")
@ladder_options
@click.option("--json", "as_json", is_flag=True, help="One JSON line an answer.")
@click.argument("text")
def predict_command(open_ladder: Callable[[], "Ladder"], as_json: bool, text: str) -> None:
    """Answer TEXT on this device, or each line of standard input if TEXT is `-`."""
    with open_ladder() as ladder:
        for line in read_texts(text):
            _print_answer(ladder.predict(line), as_json)


def read_texts(text: str) -> Iterable[str]:
    """The text itself, or the lines of standard input where it is `-`; a UsageError at the first that is not UTF-8."""
    if text != "-":
        return [text]
    return (_decode(line, number) for number, line in enumerate(sys.stdin.buffer, start=1))


def _decode(line: bytes, number: int) -> str:
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        got = f"byte 0x{line[error.start]:02x} at {error.start + 1}"
        raise UsageError(f"standard input, line {number}: expected UTF-8, got {got}; convert it (`iconv`)") from error


def _print_answer(answer: Prediction, as_json: bool) -> None:
    if as_json:
        import msgspec

        from tianti.protocols import native

        click.echo(json.dumps(msgspec.to_builtins(native.show(answer, scores=True)), ensure_ascii=False))
        return
    decision = answer.decision
    marks = [mark for mark in ("certified", "degraded", "truncated") if getattr(decision, mark)]
    if decision.redactions:
        marks.append(f"{decision.redactions} redacted")
    said = "".join(f"  [{mark}]" for mark in marks)
    click.echo(f"{answer.label}  {answer.score:.3f}  {answer.tier}  {decision.reason}  {decision.ms:.2f} ms{said}")


@click.command("serve")
@click.option("--tier", "-t", type=click.Choice([tier.value for tier in TIERS]), required=True)
@click.option("--release", "-r", multiple=True, help="Newest first; repeatable.  [default: latest]")
@click.option(
    "--models",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that says which releases of which models are served; read again when it changes.",
)
@click.option(
    "--updates",
    type=_FOLDER,
    help="A folder made by `tianti device enroll`: serve every release that the rollout names, as they come.",
)
@click.option("--mirror", metavar="URL", help="Give out this repository to devices, and pass on what they send.")
@click.option("--mirror-root", type=_FILE, help="Its root metadata that is trusted, the oldest that a device may have.")
@click.option("--mirror-folder", type=_FOLDER, help="Where the mirror keeps its files.")
@click.option("--upstream", "-u", multiple=True, help="URL of a higher node; several are tried in order.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", "-p", type=int, default=8080, show_default=True, help="0 takes a free one.")
@click.option("--point", type=float, help="The alpha to answer under; must be certified.  [default: 0.01 or nearest]")
@click.option("--laxest", type=float, help="Up to which certified alpha load or budget may move it.  [default: not]")
@click.option("--per-day", type=float, help="Money for higher tiers in any 24 hours, at the release's prices.")
@click.option(
    "--audits", type=float, default=0.02, show_default=True, help="Share of requests compared with the cloud."
)
@click.option(
    "--log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append a line for each answer: scores, times, who answered (`tianti replay`). No text, no label.",
)
@click.option("--log-texts", is_flag=True, help="Write the texts to --log too: raw, as they came, on this disk.")
@click.option("--egress", type=_FILE, help="Append a line for each text that left, or may not: types and counts.")
@click.option(
    "--cache", type=click.IntRange(0), default=0, show_default=True, help="Exact answers of each release to keep."
)
@click.option("--memory", help="What the files of all loaded models may come to, such as 500 MB.  [default: no limit]")
@click.option("--tokens", type=_FILE, help="Who may ask: a file made by `tianti token`.  [default: anybody]")
@click.option("--quota", type=float, help="Texts a second for a caller whose token does not say.  [default: no limit]")
@click.option("--tls-cert", type=_FILE, help="The node's certificate (PEM).  [default: plain HTTP]")
@click.option("--tls-key", type=_FILE, help="Its key.")
@click.option("--client-ca", type=_FILE, help="Who signs the certificates that callers have to show (mutual TLS).")
@click.option("--insecure", is_flag=True, help="Serve others without tokens and TLS: something in front does both.")
@click.option("--traces", metavar="URL", help="Send spans to this OpenTelemetry collector (OTLP over HTTP).")
@click.option("--grpc-port", type=int, help="Answer gRPC too, here; 0 takes a free one.  [default: not]")
@click.option("--json-logs", is_flag=True, help="Log lines as JSON.")
@click.option("--workers", type=click.IntRange(1), help="Processes that answer together.  [default: one a usable core]")
@trust_options
def serve_command(
    tier: str,
    release: tuple[str, ...],
    models: Path | None,
    updates: Path | None,
    mirror: str | None,
    mirror_root: Path | None,
    mirror_folder: Path | None,
    upstream: tuple[str, ...],
    host: str,
    port: int,
    point: float | None,
    laxest: float | None,
    per_day: float | None,
    audits: float,
    log: Path | None,
    log_texts: bool,
    egress: Path | None,
    cache: int,
    memory: str | None,
    tokens: Path | None,
    quota: float | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    insecure: bool,
    traces: str | None,
    grpc_port: int | None,
    json_logs: bool,
    workers: int | None,
    trust: Trust,
) -> None:
    """Run one node: HTTP in the Open Inference Protocol v2, TensorFlow Serving's API and others (docs/en/http.md).

    Point, laxest, per-day, audits, log and egress are for requests that enter the ladder here; GET /status says what
    came of them.
    """
    from tianti.package import find_release
    from tianti.router import Policy
    from tianti.serving import Settings, serve
    from tianti.serving.cores import default_workers
    from tianti.spec.units import size_bytes

    folders = release or (("latest",) if models is None and updates is None else ())
    settings = Settings(
        tier=Tier(tier),
        releases=tuple(find_release(name, releases_folder()) for name in folders),
        models=models,
        updates=updates,
        mirror=_mirror(mirror, mirror_root, mirror_folder),
        upstreams=upstream,
        host=host,
        port=port,
        policy=Policy(point=point, laxest=laxest, per_day=per_day, audits=audits),
        log=log,
        log_texts=log_texts,
        egress=egress,
        cache=cache,
        memory_bytes=None if memory is None else size_bytes(memory, "--memory"),
        tokens=tokens,
        quota_per_s=quota,
        tls=tls_of(tls_cert, tls_key, client_ca),
        insecure=insecure,
        traces=traces,
        grpc_port=grpc_port,
        json_logs=json_logs,
        workers=workers or default_workers(grpc_port is not None),
        trust=trust,
    )
    serve(settings, lambda url: click.echo(f"{tier} ready on {url}"))


def _mirror(url: str | None, root: Path | None, folder: Path | None) -> "MirrorOf | None":
    from tianti.serving.settings import MirrorOf

    if url is None and root is None and folder is None:
        return None
    if url is None or root is None or folder is None:
        raise UsageError("expected --mirror URL, --mirror-root FILE and --mirror-folder DIR together, got less")
    return MirrorOf(url, root, folder)


def tls_of(certificate: Path | None, key: Path | None, client_ca: Path | None) -> "Tls | None":
    """The files of a server's TLS; None: plain HTTP.

    Raises:
        UsageError: one of a pair is lacking.
    """
    from tianti.serving.tls import Tls

    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise UsageError("expected --tls-cert FILE and --tls-key FILE together, got one of them")
    return Tls(certificate, key, client_ca)


@click.command("up")
@click.argument("release", default="latest")
@click.option("--port", "-p", type=int, default=8080, show_default=True, help="Device's port; edge and cloud follow.")
def up_command(release: str, port: int) -> None:
    """Run every tier of RELEASE on this machine; Ctrl-C stops all. A cloud that is only called stays where it is."""
    from tianti.package import find_release
    from tianti.serving.local import run_all

    run_all(find_release(release, releases_folder()), port, click.echo)


COMMANDS = (predict_command, serve_command, up_command)
