"""How one node is to run: what `tianti serve` takes, as a record that a worker process can be sent.

Not here: carrying it out (`build`, `serve`).
"""

from pathlib import Path
from typing import NamedTuple

import msgspec

from tianti.router import Policy
from tianti.runtimes.trust import Trust
from tianti.serving.tls import Tls
from tianti.spec import Tier


class MirrorOf(NamedTuple):
    """What a node mirrors: a repository's URL or folder, the root metadata that is trusted, where its files are kept.

    Where the URL ends in /repository, the hub before it gets what devices send to this node.
    """

    url: str
    root: Path
    folder: Path


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Of one node.

    Args:
        tier: whose model runs here.
        releases: folders, newest first; all of one model name. Or:
        models: a file that says which releases of which models are served; it is read again when it changes. Or:
        updates: a folder made by `tianti device enroll`: the node serves what rollouts name (`update.hosting`).
        mirror: a repository whose files are given out to the devices behind this node.
        upstreams: URLs of higher nodes, the nearest first, or `cloud` (see `router.connect`).
        host: where it listens.
        port: 0 takes a free one.
        policy: for requests that enter the ladder here.
        log: a file to which one JSON line for each of their answers is appended.
        log_texts: write their raw texts to it too.
        egress: a file to which one JSON line is appended for each text that entered here and left, or may not: types
            and counts, no values.
        memory_bytes: what the files of all loaded models may come to; None: no limit.
        trust: how nodes above are known, and what they are shown.
        tokens: a file of the tokens of those who may ask (`tianti token`); None: nobody is asked for one.
        tls: the node's certificate; None: plain HTTP.
        insecure: may be reached from elsewhere without either, since something in front of it does both.
        quota_per_s: texts that a caller may ask for whose token does not say; None: as many as it likes.
        traces: URL of an OpenTelemetry collector (OTLP over HTTP); None: no traces.
        json_logs: log lines are JSON.
        cache: how many exact answers of each release to keep; 0: none, and equal texts under way share none.
        grpc_port: where gRPC is answered, on the same host; 0 takes a free one; None: it is not.
        workers: processes that answer together on one port.
        ask_every_s: how often what is above is asked for releases, and told of reports.
    """

    tier: Tier
    releases: tuple[Path, ...] = ()
    models: Path | None = None
    updates: Path | None = None
    mirror: MirrorOf | None = None
    upstreams: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    policy: Policy = Policy()
    log: Path | None = None
    log_texts: bool = False
    egress: Path | None = None
    memory_bytes: int | None = None
    trust: Trust = Trust()
    tokens: Path | None = None
    tls: Tls | None = None
    insecure: bool = False
    quota_per_s: float | None = None
    traces: str | None = None
    json_logs: bool = False
    cache: int = 0
    grpc_port: int | None = None
    workers: int = 1
    ask_every_s: float = 15.0

    def share(self) -> "Settings":
        """Of one of the processes: what the node may spend and load, they divide."""
        policy, count = self.policy, self.workers
        return msgspec.structs.replace(
            self,
            policy=msgspec.structs.replace(policy, per_day=None if policy.per_day is None else policy.per_day / count),
            memory_bytes=None if self.memory_bytes is None else self.memory_bytes // count,
        )


class Peers(NamedTuple):
    """Which of a node's processes this is.

    `run`: a folder for what they tell each other, made for this run of the node; `number`: from 0, and that of the one
    which it replaces.
    """

    run: Path
    number: int
