"""Every operation of a node's OpenAPI document, called with input that fits it and input that does not (Schemathesis).

Found is: a status of 500 or another that the document does not name, a body or content type that it does not describe,
input against the schema that is taken, a method that it does not name and that is answered, no answer at all.
503 and 504 are answers to a deadline that cannot be met; that every operation succeeds too is for the caller to see.
Not here: input that is near what is valid (`wire`), what a node keeps of it (`usage`).
"""

import gc
from collections.abc import Iterable, Mapping
from typing import Any

import httpx2
import schemathesis
from schemathesis.engine import Status, events, from_schema

from tests.fuzz.decoder import Tally

_LATE_S = 10.0


class Report:
    """By operation, and what was found."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.findings: list[str] = []

    @property
    def unanswered(self) -> list[str]:
        """Operations that were never answered with 200."""
        return [name for name, tally in self.tallies.items() if "200" not in tally.outcomes]


def call_all(
    url: str, known: Mapping[str, str], examples: int, seed: int, paths: str = "", but: Iterable[str] = ()
) -> Report:
    """Call the operations of a node.

    Args:
        url: of the node.
        known: parameters of paths that are there; one in five is another.
        examples: of each operation, beside those that its schema suggests.
        seed: the same gives the same calls.
        paths: a regular expression that theirs match.
        but: and these do not.
    """
    report = Report()
    for event in from_schema(_schema(url, known, examples, seed, paths, but)).execute():
        if isinstance(event, events.ScenarioFinished):
            _count(report, event)
        elif isinstance(event, events.NonFatalError):
            report.findings.append(f"{event.label}: {event.info.format()}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    gc.collect()  # its connections end with it
    return report


def _schema(url: str, known: Mapping[str, str], examples: int, seed: int, paths: str, but: Iterable[str]) -> Any:
    config = schemathesis.Config.from_dict(
        {
            "seed": seed,
            "base-url": url,
            "request-timeout": _LATE_S,
            "generation": {"max-examples": examples, "deterministic": True, "database": "none"},
            "phases": {"stateful": {"enabled": False}},
            "dictionaries": {name: {"values": [value]} for name, value in known.items()},
            "parameters": {f"path.{name}": {"dictionary": name, "probability": 0.8} for name in known},
            "checks": {
                "not_a_server_error": {"expected-statuses": ["2xx", "4xx", 503, 504]},
                "positive_data_acceptance": {"enabled": False},  # some limits are between fields, and in no schema
            },
        }
    )
    document = httpx2.get(f"{url}/openapi.json", trust_env=False, timeout=_LATE_S).json()
    found = schemathesis.openapi.from_dict(_without_tuples(document), config=config).include(path_regex=paths)
    for path in but:
        found = found.exclude(path_regex=path)
    return found


def _without_tuples(tree: Any) -> Any:
    """Rows of one of their types each: Schemathesis 4.32 makes of `prefixItems` what it then calls invalid."""
    if isinstance(tree, list):
        return [_without_tuples(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    found = {key: _without_tuples(each) for key, each in tree.items()}
    return found if "prefixItems" not in found else {"type": "array", "items": {"anyOf": found["prefixItems"]}}


def _count(report: Report, event: events.ScenarioFinished) -> None:
    recorder = event.recorder
    tally = report.tallies.setdefault(recorder.label, Tally())
    for interaction in recorder.interactions.values():
        response = interaction.response
        if response is None:
            asked = interaction.request
            report.findings.append(f"{recorder.label}: no answer to {asked.method} {asked.uri} {asked.body!r}")
        else:
            tally.count(str(response.status_code), response.elapsed * 1e3)
    for check in (check for checks in recorder.checks.values() for check in checks):
        if check.status is Status.FAILURE:
            found = check.failure_info
            report.findings.append(f"{recorder.label}: {check.name}: {found.failure.message}\n{found.code_sample}")
