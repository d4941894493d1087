"""Does the certificate hold, and what does it cost? On a population whose true risk is known exactly.

CLINC150 (English intents, with out-of-scope rows mixed in at 3.2 %): three models of different strength stand for the
tiers, the rows that they were not fitted on are taken as the whole population, calibration rows are drawn from it with
replacement, and the true risk of what was chosen is counted on all of it. Also prints what other methods would do.

    python benchmarks/certificate_known_population.py [--repetitions 200] [--calibration 3000]

Needs ../shared (or TIANTI_SHARED) and scikit-learn; about 20 seconds.
"""

import argparse
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion

from tianti.certificate import NEVER, Answers, LadderAnswers, certify, decide, fit_head, order_points, read_many
from tianti.certificate.counts import binomial_cdf
from tianti.spec import TIERS, Tier

SHARED = Path(os.environ.get("TIANTI_SHARED", Path(__file__).parents[2] / "shared"))
ALPHAS = (0.005, 0.01, 0.02)
DELTA = 0.05
EDGE_PRICE, CLOUD_PRICE = 0.02, 0.20
OUT_OF_SCOPE_SHARE = 0.032

Point = tuple[float, float] | None


def load_rows() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """In-scope and out-of-scope rows of all splits."""
    rows = []
    for split in ("train", "validation", "test"):
        with gzip.open(SHARED / "data" / "clinc150_en" / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows += [json.loads(line) for line in file]
    return [row for row in rows if row["label"] != "oos"], [row for row in rows if row["label"] == "oos"]


def make_population(rng: np.random.Generator) -> LadderAnswers:
    """Fit three models and their heads; read every other row."""
    inside, outside = load_rows()
    inside = [inside[i] for i in rng.permutation(len(inside))]
    taught, rest = inside[:9000], inside[9000:]
    count = round(len(rest) * OUT_OF_SCOPE_SHARE / (1 - OUT_OF_SCOPE_SHARE))
    rest += [outside[i] for i in rng.permutation(len(outside))[:count]]
    rest = [rest[i] for i in rng.permutation(len(rest))]
    labels = {label: i for i, label in enumerate(sorted({row["label"] for row in taught}))}
    truth = np.array([labels.get(row["label"], -1) for row in rest])
    features: list[Any] = [
        TfidfVectorizer(max_features=400, sublinear_tf=True),
        TfidfVectorizer(max_features=1500, sublinear_tf=True),
        FeatureUnion(
            [("w", TfidfVectorizer(ngram_range=(1, 2))), ("c", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)))]
        ),
    ]
    population = {}
    for tier, feature in zip(TIERS, features, strict=True):
        model = LogisticRegression(C=20, max_iter=40, tol=1e-3)
        model.fit(feature.fit_transform([row["text"] for row in taught]), [labels[row["label"]] for row in taught])
        logits = model.decision_function(feature.transform([row["text"] for row in rest])).astype(np.float32)
        population[tier] = _read(logits, [row["text"] for row in rest], truth)
    return population


def _read(logits: NDArray[np.float32], texts: list[str], truth: NDArray[np.int64]) -> Answers:
    """The first 1000 rows fit the head and leave the population."""
    tokens = np.array([len(text.split()) for text in texts])
    unknown = np.zeros_like(tokens)
    head = fit_head(logits[:1000], tokens[:1000], unknown[:1000], truth[:1000], has_out_of_scope=True)
    said = read_many(head, logits[1000:], tokens[1000:], unknown[1000:])
    return Answers(said.score, said.right(truth[1000:]))


def ours(tuning: LadderAnswers, proving: LadderAnswers) -> list[Point]:
    """The certificate."""
    path = order_points(tuning, ALPHAS, EDGE_PRICE, CLOUD_PRICE)
    made = certify(path, proving, ALPHAS, 1 - DELTA, out_of_scope_rows=0, bound={})
    return [made.thresholds(alpha) for alpha in ALPHAS]


def naive(tuning: LadderAnswers, proving: LadderAnswers) -> list[Point]:
    """Negative control: the cheapest pair whose harm, counted on all calibration rows, is at most alpha."""
    both = {
        tier: Answers(np.append(tuned.score, proving[tier].score), np.append(tuned.right, proving[tier].right))
        for tier, tuned in tuning.items()
    }
    return cheapest(both, ALPHAS)


def budget_per_tier(_: LadderAnswers, proving: LadderAnswers) -> list[Point]:
    """alpha / 2 and delta / 2 for each of two tiers, each with its own fixed sequence over a fixed grid."""
    grid = np.append(NEVER, np.sqrt(np.linspace(1.0, 1e-6, 400)))
    cloud_right = proving[Tier.CLOUD].right
    chosen: list[Point] = []
    for alpha in ALPHAS:
        p_value = binomial_cdf(len(cloud_right), alpha / 2)
        pair = []
        for tier in (proving[Tier.DEVICE], proving[Tier.EDGE]):
            harmful = ((tier.score >= grid[:, None]) & ~tier.right & cloud_right).sum(axis=1)
            failed = np.flatnonzero(p_value[harmful] > DELTA / len(ALPHAS) / 2)
            pair.append(grid[max((failed[0] if len(failed) else len(grid)) - 1, 0)])
        chosen.append((float(pair[0]), float(pair[1])))
    return chosen


def cheapest(rows: LadderAnswers, harms: tuple[float, ...]) -> list[Point]:
    """The cheapest pair on a grid of 200 x 200 for each allowed harm, by counting."""
    device, edge, cloud = (rows[tier] for tier in TIERS)
    steps = np.linspace(0, 1, 200)
    grids = [np.append(NEVER, np.unique(np.quantile(tier.score, steps))[::-1]) for tier in (device, edge)]
    passes = (~(device.score >= grids[0][:, None])).astype(np.float32)
    stays = (edge.score >= grids[1][:, None]).astype(np.float32)
    bad = [(~tier.right & cloud.right).astype(np.float32) for tier in (device, edge)]
    harm = (((1 - passes) @ bad[0])[:, None] + passes @ (stays * bad[1]).T) / len(cloud.right)
    past = passes.sum(axis=1, keepdims=True)
    price = EDGE_PRICE * past + CLOUD_PRICE * (past - passes @ stays.T)
    chosen: list[Point] = []
    for limit in harms:
        i, j = divmod(int(np.where(harm <= limit, price, np.inf).argmin()), len(grids[1]))
        chosen.append((float(grids[0][i]), float(grids[1][j])))
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--calibration", type=int, default=3000)
    options = parser.parse_args()
    if not SHARED.is_dir():
        raise SystemExit(f"no data at {SHARED}; set TIANTI_SHARED")
    rng = np.random.default_rng(0)
    population = make_population(rng)
    rows = len(population[Tier.CLOUD].right)
    accuracy = ", ".join(f"{tier.right.mean():.1%}" for tier in population.values())
    print(f"population: {rows} rows, accuracy device/edge/cloud {accuracy}")
    tune = options.calibration // 3
    print(
        f"{options.repetitions} draws of {tune} tuning and {options.calibration - tune} certify rows, confidence 95 %"
    )

    def draw(n: int) -> LadderAnswers:
        picked = rng.integers(0, rows, n)
        return {tier: Answers(said.score[picked], said.right[picked]) for tier, said in population.items()}

    methods: dict[str, Callable[[LadderAnswers, LadderAnswers], list[Point]]] = {
        "certificate": ours,
        "budget per tier": budget_per_tier,
        "naive (control)": naive,
    }
    chosen: dict[str, list[list[Point]]] = {name: [] for name in methods}
    for _ in range(options.repetitions):
        tuning, proving = draw(tune), draw(options.calibration - tune)
        for name, method in methods.items():
            chosen[name].append(method(tuning, proving))
    chosen["oracle"] = [cheapest(population, ALPHAS)]
    print(
        f"{'alpha':>6} {'method':16} {'violations':>10} {'harm':>6} {'device':>7} {'edge':>6} {'cloud':>6}  cost/1000"
    )
    for level, alpha in enumerate(ALPHAS):
        for name, points in chosen.items():
            found = [decide(population, point[level]) for point in points]
            device, edge, cloud = np.mean([list(one.share.values()) for one in found], axis=0)
            cost = EDGE_PRICE * (edge + cloud) + CLOUD_PRICE * cloud
            violations = f"{sum(one.harm > alpha for one in found)}/{len(found)}"
            harm = np.mean([one.harm for one in found])
            print(
                f"{alpha:6.1%} {name:16} {violations:>10} {harm:6.2%} "
                f"{device:7.1%} {edge:6.1%} {cloud:6.1%}  {cost:.4f}"
            )


if __name__ == "__main__":
    main()
