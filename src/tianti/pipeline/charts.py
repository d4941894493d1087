"""Charts of a run as SVG text, drawn with matplotlib.

Not here: words and tables (`report`). Invariants: nothing global of matplotlib is touched; text stays text, so that any
browser's fonts show it, Chinese included; every label is escaped by the SVG writer.
"""

import io
import math
from typing import Any

from tianti.errors import needs_extra
from tianti.pipeline.evaluation import Evaluation
from tianti.pipeline.explained import Explained
from tianti.pipeline.search import SearchRecord, pareto_front
from tianti.spec import Tier, percent

with needs_extra("train"):
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

_COLOURS = {Tier.DEVICE: "#2a9d8f", Tier.EDGE: "#e9a23b", Tier.CLOUD: "#4a6fa5"}
_STYLE: dict[Any, Any] = {  # matplotlib types the keys as one literal of three hundred
    "svg.fonttype": "none",
    "svg.hashsalt": "tianti",  # the same figures give the same bytes
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#88888833",
    "text.color": "#777777",
    "axes.labelcolor": "#777777",
    "xtick.color": "#777777",
    "ytick.color": "#777777",
}


def draw_charts(evaluation: Evaluation, explained: Explained) -> dict[str, str]:
    """Each chart by its title, as <svg> text."""
    with rc_context(_STYLE):
        return {
            "Accuracy and size": _draw(_accuracy_by_size, evaluation),
            "Who answers at each level": _draw(_shares, evaluation),
            "Risk against coverage": _draw(_risk_coverage, evaluation),
            "Does the score mean what it says": _draw(_reliability, evaluation),
            **({"Do the words that are named decide": _draw(_faithfulness, explained)} if explained.tiers else {}),
        }


def draw_search(found: SearchRecord) -> str:
    """Cost against size of what a search tried, as <svg> text."""
    with rc_context(_STYLE):
        return _draw(_cost_by_size, found)


def _draw(plot, figures) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
    figure = Figure(figsize=(4.6, 3.1), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    plot(axes, figures)
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    return text[text.index("<svg") :]


def _accuracy_by_size(axes: Axes, evaluation: Evaluation) -> None:
    for tier in evaluation.present:
        figures = evaluation.tiers[tier]
        if figures.is_called:
            axes.axhline(figures.accuracy, color=_COLOURS[tier], linewidth=1, linestyle="--", label=f"{tier}, called")
            axes.legend(frameon=False)
            continue
        megabytes = figures.size_bytes / 1e6
        axes.scatter(megabytes, figures.accuracy, s=90, color=_COLOURS[tier])
        note = f"{tier}  {figures.latency_ms['p50']:.2f} ms"
        axes.annotate(note, (megabytes, figures.accuracy), xytext=(0, 9), textcoords="offset points", ha="center")
    _scale_sizes(axes)
    axes.margins(0.25)
    axes.set_xlabel("size, MB (log)")
    axes.set_ylabel("accuracy")


def _cost_by_size(axes: Axes, found: SearchRecord) -> None:
    for tier in (Tier.DEVICE, Tier.EDGE):
        fitting = [tried for tried in found.tried if tried.tier is tier and tried.cost_per_1000 is not None]
        for tried in fitting:
            ring = "#c1443c" if tried.chosen else _COLOURS[tier]
            cost = tried.cost_per_1000 or 0.0
            axes.scatter(tried.costs.size_bytes / 1e6, cost, s=60, color=_COLOURS[tier], edgecolors=ring)
        front = pareto_front(found, tier)
        sizes = [tried.costs.size_bytes / 1e6 for tried in front]
        costs = [tried.cost_per_1000 or 0.0 for tried in front]
        axes.plot(sizes, costs, color=_COLOURS[tier], linewidth=1, label=tier.value)
    _scale_sizes(axes)
    axes.set_xlabel("installed, MB (log)")
    axes.set_ylabel("cost of 1,000 requests")
    axes.legend(frameon=False)


def _scale_sizes(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.tick_params(axis="x", which="minor", labelsize=6)


def _shares(axes: Axes, evaluation: Evaluation) -> None:
    names = [percent(level.alpha) + ("" if level.certified else "\nnot certified") for level in evaluation.levels]
    left = [0.0] * len(names)
    for tier in evaluation.present:
        shares = [level.share[tier] for level in evaluation.levels]
        axes.barh(names, shares, left=left, color=_COLOURS[tier], label=tier.value, height=0.55)
        for row, (start, share) in enumerate(zip(left, shares, strict=True)):
            if share > 0.06:
                axes.text(start + share / 2, row, f"{share:.0%}", ha="center", va="center", color="white")
        left = [start + share for start, share in zip(left, shares, strict=True)]
    if any(held := [level.held for level in evaluation.levels]):
        axes.barh(names, held, left=left, color="#999999", label="held as private", height=0.55)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the test rows")
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.16), frameon=False)


def _risk_coverage(axes: Axes, evaluation: Evaluation) -> None:
    for tier in evaluation.present:
        figures = evaluation.tiers[tier]
        axes.plot(figures.coverage, figures.risk, color=_COLOURS[tier], label=tier.value)
    for number, level in enumerate(level for level in evaluation.levels if level.certified):
        point = level.share[Tier.DEVICE] + level.share[Tier.EDGE], level.test_risk
        axes.plot(*point, marker="D", color="#c1443c", linestyle="none")
        offset, side = ((-5, 3), "right") if number == 0 else ((5, 3), "left")  # the first two are often close
        axes.annotate(percent(level.alpha), point, xytext=offset, textcoords="offset points", ha=side)
    axes.set_xlabel("share answered (red: below the cloud, at a certified level)")
    axes.set_ylabel("wrong (red: what is certified), share of all")
    axes.legend(frameon=False)


def _reliability(axes: Axes, evaluation: Evaluation) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    for tier in evaluation.present:
        figures = evaluation.tiers[tier]
        axes.plot(figures.before.confidence, figures.before.accuracy, color=_COLOURS[tier], linestyle=":", linewidth=1)
        label = f"{tier}  {figures.before.error:.3f} -> {figures.after.error:.3f}"
        axes.plot(figures.after.confidence, figures.after.accuracy, color=_COLOURS[tier], marker=".", label=label)
    axes.set_xlabel("score (dotted: raw, line: after the score head)")
    axes.set_ylabel("share that is right")
    axes.set_ylim(0, math.nextafter(1.0, 2.0) + 0.02)
    axes.legend(title="calibration error", frameon=False)


def _faithfulness(axes: Axes, explained: Explained) -> None:
    for place, (tier, found) in enumerate(explained.judged):
        rankings = {"chance": found.chance, "words": found.words, "IG": found.gradients}
        bars = {name: judged.comprehensiveness for name, judged in rankings.items() if judged is not None}
        for at, (name, height) in enumerate(bars.items()):
            left = place + 0.27 * (at - (len(bars) - 1) / 2)
            axes.bar(left, height, width=0.24, color=_COLOURS[tier], alpha=1.0 if name == "words" else 0.4)
            axes.text(left, height, f"{name}\n{height:.2f}", ha="center", va="bottom", fontsize=7)
    axes.set_xticks(range(len(explained.tiers)), [tier.value for tier, _ in explained.judged])
    axes.margins(y=0.18)
    axes.set_ylabel("what the label's probability loses\nwithout the top words")
