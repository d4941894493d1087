"""How a hub is to run: what `tianti hub` takes. Not here: carrying it out (`site`)."""

from pathlib import Path

import msgspec

from tianti.serving.tls import Tls


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Of one hub.

    Args:
        repository: its folder, which others may publish to at the same time.
        keys: a folder with rollout.pem, snapshot.pem and timestamp.pem, and the root.json that is trusted.
        passphrase: of these keys.
        ledger: the SQLite file of devices and reports.
        host: where it listens.
        port: 0 takes a free one.
        tokens: a file of tokens for those who may ask about the fleet (scopes admin, telemetry); None: anybody may.
        tls: its certificate; None: plain HTTP.
        insecure: may be reached from elsewhere without either, since something in front of it does both.
        json_logs: log lines are JSON.
        every_s: how often rollouts are looked at.
    """

    repository: Path
    keys: Path
    passphrase: str
    ledger: Path
    host: str = "127.0.0.1"
    port: int = 8090
    tokens: Path | None = None
    tls: Tls | None = None
    insecure: bool = False
    json_logs: bool = False
    every_s: float = 30.0
