"""The dashboard and the alerts speak of metrics that there are, and of all of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.telemetry.numbers import RELEASE, parse, prediction
from tianti.spec import Priority, Reason, Tier
from tianti.telemetry.families import COUNTERS, GAUGES, HISTOGRAMS
from tianti.telemetry.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = re.compile(r"\b(?:tianti|process)_\w+")


@pytest.fixture(scope="module")
def shown() -> dict[str, set[str]]:
    """The labels of every metric of a node that has seen everything."""
    metrics = Metrics(Tier.EDGE)
    metrics.watch(lambda: 1, lambda: 1.0, lambda: [("tiny", RELEASE, 1)])
    tally = metrics.of("tiny", RELEASE)
    tally.answered("oip", 0.1, [prediction(Tier.CLOUD, Reason.BUSY, certified=False)])
    tally.answered("oip", 0.1, [prediction(reason=Reason.PRIVATE, certified=False)])
    tally.held(["id_card"])
    tally.redacted({"phone": 1})
    tally.ran(1, 8, 8, [0.1], 0.1)
    tally.shed(Priority.BATCH, "backlog")
    tally.abandoned()
    tally.cached("hit")
    body = metrics.render()[0].decode()
    names = {key[0] for key in parse(body)}
    return {name: set(re.findall(r'(\w+)="', " ".join(re.findall(rf"^{name}{{.*}}", body, re.M)))) for name in names}


def dashboard() -> dict[str, Any]:
    return json.loads((DEPLOY / "grafana" / "tianti-node.json").read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return group["rules"]


def queries() -> list[str]:
    targets = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    variables = [each["definition"] for each in dashboard()["templating"]["list"] if each["type"] == "query"]
    return [*targets, *variables, *(rule["expr"] for rule in rules())]


def wrong_names(query: str, shown: dict[str, set[str]]) -> list[str]:
    """Metrics of a query that no node shows, and labels that they do not have."""
    names = NAME.findall(query)
    unknown = [name for name in names if name not in shown]
    grouped = [label for group in re.findall(r"\bby \((.*?)\)", query) for label in re.split(", *", group)]
    chosen = re.findall(r"(\w+)=~?\"", query)
    from_prometheus = {"job", "instance"}
    known = set().union(from_prometheus, *(shown.get(name, set()) for name in names))
    return unknown + [label for label in (*grouped, *chosen) if label not in known]


@pytest.mark.parametrize("query", queries())
def test_every_query_is_about_what_a_node_shows(query: str, shown: dict[str, set[str]]) -> None:
    assert wrong_names(query, shown) == []
    assert query.count("(") == query.count(")") and query.count("{") == query.count("}")


@pytest.mark.parametrize("query", ["rate(tianti_request_total[5m])", "sum by (reson) (tianti_degraded_total)"])
def test_a_wrong_name_would_be_found(query: str, shown: dict[str, set[str]]) -> None:
    assert wrong_names(query, shown) != []


def test_every_metric_has_a_panel() -> None:
    used = {name for query in queries() for name in NAME.findall(query)}
    for family in (*COUNTERS, *GAUGES, *HISTOGRAMS):
        assert any(name.startswith(family.name) for name in used), family.name


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_docs_name_every_metric_and_no_other(language: str, shown: dict[str, set[str]]) -> None:
    page = (DEPLOY.parent / "docs" / language / "telemetry.md").read_text(encoding="utf-8")
    named = set(NAME.findall(page))
    histograms = {family.name for family in HISTOGRAMS}
    assert named == {re.sub("_(bucket|sum|count)$", "", name) for name in shown} and histograms < named


def test_the_dashboard_takes_one_data_source_that_its_reader_chooses() -> None:
    found = dashboard()
    (source,) = [each for each in found["templating"]["list"] if each["type"] == "datasource"]
    panels = [panel for panel in found["panels"] if panel["type"] != "row"]
    for place in (*panels, *(target for panel in panels for target in panel["targets"])):
        assert place["datasource"] == {"type": "prometheus", "uid": "${" + source["name"] + "}"}
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    assert found["schemaVersion"] >= 38  # of Grafana 10
    places = [tuple(panel["gridPos"].values()) for panel in found["panels"]]
    assert len(set(places)) == len(places)


def test_every_alert_says_what_is_wrong() -> None:
    for rule in rules():
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"]["summary"]
