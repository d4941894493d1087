"""One HTML file about a run, which opens offline.

Not here: drawing (`charts`), measuring (`stages.evaluate`). Invariants: no external resource; whatever comes from the
user's data is escaped.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from tianti.data import CleaningReport, describe
from tianti.errors import needs_extra
from tianti.pipeline.evaluation import Evaluation
from tianti.pipeline.explained import Explained
from tianti.pipeline.search import SearchRecord, pareto_front
from tianti.pipeline.workspace import RunRecord
from tianti.spec import Certificate, Tier, percent
from tianti.spec.ladder import LadderSpec
from tianti.store import write_atomic

if TYPE_CHECKING:
    from jinja2 import Template


def render_body(
    evaluation: Evaluation,
    certificate: Certificate,
    cleaning: CleaningReport,
    spec: LadderSpec,
    explained: Explained,
) -> str:
    """All of the report but the run's own timeline: the same for every run that ends in the same release."""
    from tianti.pipeline.charts import draw_charts

    return _template("report.html.j2").render(
        headline=_headline(evaluation, certificate, spec),
        evaluation=evaluation,
        leaving=evaluation.leaving,
        tiers=[(tier, evaluation.tiers[tier]) for tier in evaluation.present],
        certificate=certificate,
        charts=draw_charts(evaluation, explained),
        cleaning=describe(cleaning),
        explained=explained,
        spec=spec,
    )


def write_report(path: Path, body: str, record: RunRecord, found: SearchRecord | None) -> None:
    """Put title, search and timeline round a body, and write the file."""
    longest = max(stage.seconds for stage in record.timeline) or 1.0
    searched = "" if found is None else _render_search(found)
    page = _template("page.html.j2").render(record=record, body=body, searched=searched, longest=longest)
    write_atomic(path, page.encode())


def _render_search(found: SearchRecord) -> str:
    from tianti.pipeline.charts import draw_search

    fronts = {(tier, tried.name) for tier in (Tier.DEVICE, Tier.EDGE) for tried in pareto_front(found, tier)}
    return _template("search.html.j2").render(found=found, fronts=fronts, chart=draw_search(found))


def _headline(evaluation: Evaluation, certificate: Certificate, spec: LadderSpec) -> str:
    level = evaluation.served_level()
    if not level.certified:
        return "No level can be certified with these calibration rows, so every request goes to the cloud."
    saved = 1 - level.cost_per_1000 / spec.prices.cloud if spec.prices.cloud else 0.0
    edge = f", {level.share[Tier.EDGE]:.0%} on the edge" if Tier.EDGE in evaluation.tiers else ""
    held = (
        f" ({level.held:.1%} more stay on the device, held as private, outside the certificate)" if level.held else ""
    )
    cost = "differ from its own in at most" if evaluation.risk == "disagree" else "cost at most"
    of = "of all requests" if evaluation.risk == "disagree" else "of its accuracy"
    return (
        f"{level.share[Tier.DEVICE]:.0%} of the requests are answered on the device{edge} and "
        f"{level.share[Tier.CLOUD]:.0%} in the cloud{held}, which at the assumed prices saves {saved:.0%} of what the "
        f"cloud alone would cost. For requests like the calibration rows, answers given below the cloud {cost} "
        f"{percent(level.alpha)} {of}, with {percent(certificate.confidence)} confidence."
    )


def _template(name: str) -> "Template":
    with needs_extra("train"):
        from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tianti.pipeline", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["percent"] = percent
    return environment.get_template(name)
