"""The ladder that a search chooses beside the default preset's: what 1,000 requests cost at 1 %, on test rows.

    python -m benchmarks.search [MINUTES] [SET ...]

Both are built on the same rows, certified by themselves, and compared on the same test file, as much of it out of scope
as of the certify rows; harm is how often a text that was answered below the cloud is wrong where the cloud is right.
"As released" is what the release's own thresholds come to. Which thresholds a few hundred rows allow is a matter of
luck, so the first figures are means over 200 draws of tuning and certify rows, as many as there were, from the test
rows; "above" is how many of those draws break their promise (5 % of them may). Where the search did not choose the most
accurate device or edge that it tried, a third ladder has that one, and the other tier as it was chosen.
"""

import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.real_data import WORK, build, console, data_folder, encoder_folder
from tianti.certificate import REJECTED, Answers, certify, decide, fit_head, order_points, some
from tianti.data import Row, read_prepared
from tianti.package import read_release
from tianti.pipeline import RunRecord, Workspace
from tianti.pipeline.candidates import candidates
from tianti.pipeline.readings import Outputs, run_package, truth_of
from tianti.pipeline.search import name_of
from tianti.spec import TIERS, Role, Tier
from tianti.spec.ladder import CertificateSpec, PriceSpec, StudentSpec
from tianti.spec.parse import parse_spec

ALPHA, DRAWS = 0.01, 200
PRICES, ALPHAS, CONFIDENCE = PriceSpec(), CertificateSpec().alphas, CertificateSpec().confidence_share
SETS = {
    "clinc150_en": "english",
    "banking77_en": "english",
    "thucnews_titles_zh": "scratch",
    "shop_sentiment_zh": "scratch",
}
DEVICE = StudentSpec(size="1.5 MB", download="1 MB")


def ladder(name: str, minutes: float | None, edge: StudentSpec, device: StudentSpec) -> str:
    data = data_folder(name)
    strangers = "\n  out_of_scope: oos" if name == "clinc150_en" else ""
    cloud = f"cloud: {{base: {encoder_folder()}}}" if SETS[name] == "english" else ""
    search = "" if minutes is None else f"search: {{minutes: {minutes}}}"
    return f"""
name: {name}
data:
  train: {data}/train.jsonl.gz
  calibration: {data}/validation.jsonl.gz
  test: {data}/test.jsonl.gz{strangers}
{cloud}
edge: {written(edge)}
device: {written(device)}
{search}
"""


def written(student: StudentSpec) -> str:
    """A student as ladder.yaml says it."""
    said = msgspec.to_builtins(student)
    return json.dumps({key: value for key, value in said.items() if value is not None and key != "fit"})


class Expected(NamedTuple):
    """Means over draws: cost of 1,000, share of the cloud, harm; and the share of draws with more than ALPHA of it."""

    cost: float
    cloud: float
    harm: float
    above: float


def expect(outputs: Mapping[Tier, Outputs], truth: NDArray[np.int64], tuning: int, certify_n: int) -> Expected:
    """What three models come to, whichever rows tune and certify.

    The test rows are taken as the whole population, from which both are drawn with replacement, so that the cost and
    harm of each draw are known exactly. A certificate of a few hundred rows may be lucky or not; a search cannot know.
    """
    has_out_of_scope = bool((truth == REJECTED).any())
    found = []
    for draw in np.random.default_rng(0).integers(len(truth), size=(DRAWS, tuning + certify_n)):
        tune, certified = np.split(draw, [tuning])
        answers = {}
        for tier, said in outputs.items():
            head = fit_head(said.logits[tune], said.tokens[tune], said.unknown[tune], truth[tune], has_out_of_scope)
            read = said.read(head)
            answers[tier] = Answers(read.score, read.right(truth))
        points = order_points(some(answers, tune), ALPHAS, PRICES.edge, PRICES.cloud)
        proven = certify(points, some(answers, certified), ALPHAS, CONFIDENCE, out_of_scope_rows=0, bound={})
        outcome = decide(answers, proven.thresholds(ALPHA))
        found.append((PRICES.per_1000(outcome.share), outcome.share[Tier.CLOUD], outcome.harm, outcome.harm > ALPHA))
    return Expected(*np.mean(found, axis=0).tolist())


def at_mix(rows: Sequence[Row], like: Sequence[Row], out_of_scope: str | None) -> list[Row]:
    """Rows with as large a share out of scope as others have: a certificate speaks of the mix that it was made with."""
    strangers, known = [[row for row in rows if (row.label == out_of_scope) is which] for which in (True, False)]
    share = np.mean([row.label == out_of_scope for row in like])
    return [*known, *strangers[: round(len(known) * share / (1 - share))]]


def add(table: Table, name: str, called: str, text: str) -> RunRecord:
    """Build a ladder, and add its row."""
    record, folder = build(f"search-{name}", text)
    release = read_release(folder).record
    prepare = next(stage.key for stage in record.timeline if stage.name == "prepare")
    prepared = read_prepared(Workspace(WORK / f"search-{name}").store.get(prepare))  # type: ignore[arg-type]
    tuned, certified = prepared.rows[Role.TUNING], prepared.rows[Role.CERTIFY]
    tested = at_mix(prepared.rows[Role.TEST], certified, prepared.out_of_scope)
    truth = truth_of(tested, release.labels, release.out_of_scope)
    outputs = {tier: run_package(folder / "packages" / tier, [row.text for row in tested]) for tier in TIERS}
    said = {tier: outputs[tier].read(release.heads[tier]) for tier in TIERS}
    answers = {tier: Answers(said[tier].score, said[tier].right(truth)) for tier in TIERS}
    own = decide(answers, release.certificate.thresholds(ALPHA))
    expected = expect(outputs, truth, len(tuned), len(certified))
    table.add_row(
        name,
        called,
        f"{expected.cost:.4f}",
        f"{expected.cloud:.1%}",
        f"{expected.harm:.2%}",
        f"{expected.above:.1%}",
        f"{PRICES.per_1000(own.share):.4f}",
        f"{own.share[Tier.CLOUD]:.1%}",
        f"{own.harm:.2%}",
        f"{record.tiers['device']['accuracy_in_scope']:.2%}",
    )
    return record


def tried(record: RunRecord, tier: Tier) -> list[dict[str, Any]]:
    """What a search tried for a tier, and fits."""
    every = [] if record.search is None else record.search["tried"]
    return [each for each in every if each["tier"] == tier and not each["missed"]]


def add_most_accurate(table: Table, name: str, searched: str, record: RunRecord) -> None:
    """Add the ladder of the most accurate device, and of the most accurate edge, where the search chose another."""
    spec, both = parse_spec(searched), (Tier.DEVICE, Tier.EDGE)
    models = {tier: {name_of(spec, tier, each): each for each in candidates(spec, tier)} for tier in both}
    chosen = {tier: next(each["name"] for each in tried(record, tier) if each["chosen"]) for tier in both}
    console.print(f"{name}: chosen device {chosen[Tier.DEVICE]}, edge {chosen[Tier.EDGE]}")
    for tier in both:
        best = max(tried(record, tier), key=lambda each: each["accuracy"])
        if not best["chosen"]:
            names = {**chosen, tier: best["name"]}
            text = ladder(name, None, models[Tier.EDGE][names[Tier.EDGE]], models[Tier.DEVICE][names[Tier.DEVICE]])
            add(table, name, f"most accurate {tier}", text)
            console.print(f"{name}: most accurate {tier} {best['name']}")


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    table = Table(title=f"search of {minutes:g} minutes beside the default preset, at {ALPHA:.0%}; cost of 1,000")
    for column in (
        "data",
        "ladder",
        "expected: cost",
        "cloud",
        "harm",
        "above",
        "released: cost",
        "cloud",
        "harm",
        "device, test",
    ):
        table.add_column(column)
    for name in sys.argv[2:] or SETS:
        searched = ladder(name, minutes, StudentSpec(), DEVICE)
        add(table, name, "default", ladder(name, None, StudentSpec(), DEVICE))
        add_most_accurate(table, name, searched, add(table, name, "searched", searched))
    console.print(table)


if __name__ == "__main__":
    main()
