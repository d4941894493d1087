"""A node to be tried: one model, one version with a label, in a process of its own; and its operations called."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.fuzz.api import Report, call_all
from tests.node_process import NodeProcess
from tests.tiny_release import make_release
from tianti.spec import Tier

_KNOWN = {"name": "tiny", "version": "1", "label": "stable"}
_MODELS = "^/v2/repository/models/"


@contextmanager
def run_node(folder: Path) -> Iterator[NodeProcess]:
    """In an empty folder."""
    release = make_release(folder)
    models = folder / "models.yaml"
    models.write_text(f"models: {{tiny: {{releases: {{1: {release.folder}}}, labels: {{stable: 1}}}}}}", "utf-8")
    with NodeProcess(Tier.CLOUD, None, models=models) as node:
        yield node


def call_operations(url: str, examples: int, seed: int) -> Report:
    """All but those below."""
    return call_all(url, _KNOWN, examples, seed, but=(_MODELS,))


def call_repository(url: str, examples: int, seed: int) -> Report:
    """Those that take models in and out: apart, since little else is answered while the only one is out."""
    report = call_all(url, _KNOWN, examples, seed, paths=_MODELS)
    with httpx2.Client(trust_env=False, timeout=30.0) as client:
        client.post(f"{url}/v2/repository/models/tiny/load").raise_for_status()
    return report
