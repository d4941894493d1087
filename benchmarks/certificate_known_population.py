"""Does the certificate hold, and what does it cost? On populations whose true risk is known exactly.

CLINC150 and BANKING77. Device: TF-IDF of 2,000 words with logistic regression; edge: all-MiniLM-L6-v2 with logistic
regression; cloud: a network on the same vectors, averaged with TF-IDF of characters. Rows that they were not fitted on
are taken as the whole population; calibration rows are drawn from it with replacement, and the true risk of what was
chosen is counted on all of it. Each level is certified by itself, at 95 %. "Naive" takes the cheapest thresholds whose
risk, counted on all calibration rows, is at most alpha; the oracle knows the population.

    python -m benchmarks.certificate_known_population [--repetitions 2000] [--outside 0.1] [SET ...]

`--outside` mixes that share of out-of-scope rows into CLINC150, calibration and traffic alike; the cloud refuses them,
so every answer below it is harm. Fitting takes some minutes a set, and is kept.
"""

import argparse
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from benchmarks.real_data import WORK, console, data_folder, encoder_folder
from tianti.certificate import (
    NEVER,
    REJECTED,
    Answers,
    LadderAnswers,
    certify,
    decide,
    fit_head,
    order_points,
    read_many,
    some,
    wilson,
)
from tianti.certificate.counts import binomial_cdf
from tianti.data import Columns, read_table
from tianti.spec import TIERS, Risk, Tier

ALPHAS = (0.005, 0.01, 0.02)
DELTA = 0.05
EDGE_PRICE, CLOUD_PRICE = 0.1, 1.0
TRAIN = {"banking77_en": 6_000, "clinc150_en": 9_000}
HEAD_ROWS = 1_000  # of those that nothing was fitted on; they fit the heads, order two tiers' points, and leave
TWO, THREE = 2_000, 3_000  # calibration rows: all certify; a third orders and two thirds certify

Point = tuple[float, float] | None


class Population:
    """Answers on every row of a population, and on rows outside it that heads and orders may see."""

    def __init__(self, name: str, outside: float) -> None:
        kept = WORK / f"population-{name}.npz"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            fitted: dict[str, Any] = fit_tiers(name)
            np.savez(kept, **fitted)
        with np.load(kept) as found:
            said = dict(found)
        strangers = np.flatnonzero(said["truth"] < 0)
        known = np.flatnonzero(said["truth"] >= 0)
        mixed = np.random.default_rng(0).permutation(
            np.append(known, strangers[: round(len(known) * outside / (1 - outside))])
        )
        apart, self.rows = mixed[:HEAD_ROWS], mixed[HEAD_ROWS:]
        self.apart = {tier: read(said, tier, apart, apart, outside > 0) for tier in TIERS}
        self.answers = {tier: read(said, tier, apart, self.rows, outside > 0) for tier in TIERS}


def read(
    said: dict[str, NDArray[Any]], tier: Tier, apart: NDArray[np.int64], rows: NDArray[np.int64], outside: bool
) -> Answers:
    """A tier's answers on rows; the cloud refuses what is out of scope, so that any answer below it is harm."""
    logits, truth = said[tier], said["truth"]
    head = fit_head(logits[apart], said["tokens"][apart], said["unknown"][apart], truth[apart], outside)
    found = read_many(head, logits[rows], said["tokens"][rows], said["unknown"][rows])
    right = found.right(truth[rows])
    return Answers(found.score, right | (truth[rows] == REJECTED) if tier is Tier.CLOUD else right)


def fit_tiers(name: str) -> dict[str, NDArray[Any]]:
    """Logits of every tier on the rows that none was fitted on."""
    rows = [
        row
        for role in ("train", "validation", "test")
        if (path := data_folder(name) / f"{role}.jsonl.gz").exists()
        for row in read_table(str(path), Path(), Columns(text="text", label="label"))
    ]
    inside = [row for row in rows if row.label != "oos"]
    inside = [inside[place] for place in np.random.default_rng(0).permutation(len(inside))]
    rows = inside + [row for row in rows if row.label == "oos"]
    labels = {label: place for place, label in enumerate(sorted({row.label for row in inside}))}
    texts, truth = [row.text for row in rows], np.array([labels.get(row.label, REJECTED) for row in rows])
    vectors, n = embed(texts), TRAIN[name]
    words = TfidfVectorizer(max_features=2_000, sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=60_000)
    console.print(f"{name}: fitting four models on {n} of {len(texts)} texts")

    def linear(features: Any, other: Any, strength: float) -> NDArray[np.float64]:  # noqa: ANN401  (sparse or dense)
        return LogisticRegression(C=strength, max_iter=200).fit(features, truth[:n]).decision_function(other)

    device = linear(words.fit_transform(texts[:n]), words.transform(texts[n:]), 20)
    edge = linear(vectors[:n], vectors[n:], 100)
    network = MLPClassifier((512,), max_iter=40, random_state=0).fit(vectors[:n], truth[:n]).predict_proba(vectors[n:])
    spelled = linear(characters.fit_transform(texts[:n]), characters.transform(texts[n:]), 30)
    cloud = (np.log(np.maximum(network, 1e-9)) + spelled - np.logaddexp.reduce(spelled, axis=1, keepdims=True)) / 2
    known, cut = set(words.vocabulary_), words.build_analyzer()
    tokens = [cut(text) for text in texts[n:]]
    return {
        Tier.DEVICE: device.astype(np.float32),
        Tier.EDGE: edge.astype(np.float32),
        Tier.CLOUD: cloud.astype(np.float32),
        "tokens": np.array([len(each) for each in tokens]),
        "unknown": np.array([sum(word not in known for word in each) for each in tokens]),
        "truth": truth[n:],
    }


def embed(texts: list[str]) -> NDArray[np.float32]:
    """all-MiniLM-L6-v2: the mean of its last vectors, of length 1; [texts, 384]."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = (kind.from_pretrained(encoder_folder()) for kind in (AutoTokenizer, AutoModel))
    order, vectors = np.argsort([len(text) for text in texts]), np.zeros((len(texts), 384), np.float32)
    with torch.inference_mode():
        for start in track(range(0, len(texts), 64), "embedding", console=console):
            some_texts = order[start : start + 64]
            batch = tokenizer(
                [texts[place] for place in some_texts],
                padding=True,
                truncation=True,
                max_length=64,
                return_tensors="pt",
            )
            weight = batch["attention_mask"][..., None]
            mean = (model.eval()(**batch).last_hidden_state * weight).sum(1) / weight.sum(1)
            vectors[some_texts] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return vectors


def without_edge(answers: LadderAnswers) -> LadderAnswers:
    """Two tiers: the edge is never sure."""
    edge = answers[Tier.EDGE]
    return {**answers, Tier.EDGE: Answers(np.zeros_like(edge.score), edge.right)}


def ours(tuning: LadderAnswers, proving: LadderAnswers, alpha: float, risk: Risk) -> Point:
    """The certificate."""
    path = order_points(tuning, (alpha,), EDGE_PRICE, CLOUD_PRICE)
    return certify(path, proving, (alpha,), 1 - DELTA, out_of_scope_rows=0, bound={}, risk=risk).thresholds(alpha)


def cheapest(rows: LadderAnswers, alpha: float, risk: Risk) -> Point:
    """The cheapest pair on a grid whose risk, by counting, is at most alpha."""
    device, edge, cloud = (rows[tier] for tier in TIERS)
    steps = np.linspace(0, 1, 200)
    grids = [np.append(NEVER, np.unique(np.quantile(tier.score, steps))[::-1]) for tier in (device, edge)]
    grids = [grid[grid > 0.0] for grid in grids]
    passes = (~(device.score >= grids[0][:, None])).astype(np.float32)
    stays = (edge.score >= grids[1][:, None]).astype(np.float32)
    bad = [(~tier.right & cloud.right).astype(np.float32) for tier in (device, edge)]
    if risk == "net":
        bad = [each - (tier.right & ~cloud.right) for each, tier in zip(bad, (device, edge), strict=True)]
    found = (((1 - passes) @ bad[0])[:, None] + passes @ (stays * bad[1]).T) / len(cloud.right)
    past = passes.sum(axis=1, keepdims=True)
    price = EDGE_PRICE * past + CLOUD_PRICE * (past - passes @ stays.T)
    i, j = divmod(int(np.where(found <= alpha, price, np.inf).argmin()), len(grids[1]))
    return float(grids[0][i]), float(grids[1][j])


def add_rows(table: Table, name: str, population: Population, repetitions: int, tiers: int, risk: Risk) -> None:
    """Repeat: draw, choose, count. One row a level and method."""
    rng, calibration = np.random.default_rng(0), TWO if tiers == 2 else THREE
    whole: LadderAnswers = population.answers
    apart: LadderAnswers = population.apart
    if tiers == 2:
        whole, apart = without_edge(whole), without_edge(apart)
    n = len(whole[Tier.CLOUD].right)
    for alpha in ALPHAS:
        chosen: dict[str, list[Point]] = {"certificate": [], "naive": []}
        for _ in track(
            range(repetitions), f"{name}, {tiers} tiers, {risk} {alpha:.1%}", console=console, transient=True
        ):
            drawn = rng.integers(n, size=calibration)
            tuning = apart if tiers == 2 else some(whole, drawn[: calibration // 3])
            proving = some(whole, drawn if tiers == 2 else drawn[calibration // 3 :])
            chosen["certificate"].append(ours(tuning, proving, alpha, risk))
            if len(chosen["naive"]) < 200:  # a control, and slow
                chosen["naive"].append(cheapest(some(whole, drawn), alpha, risk))
        chosen["oracle"] = [cheapest(whole, alpha, risk)]
        accepted = int((binomial_cdf(calibration, alpha) <= DELTA).sum()) - 1
        if tiers == 2 and risk == "harm":
            chosen[f"oracle at {accepted} of {calibration}"] = [cheapest(whole, accepted / calibration, risk)]
        for method, points in chosen.items():
            found = [decide(whole, point) for point in points]
            violated = sum(one.risk(risk) > alpha for one in found)
            share = {tier: float(np.mean([one.share[tier] for one in found])) for tier in TIERS}
            table.add_row(
                name,
                str(tiers),
                f"{risk} {alpha:.1%}",
                method,
                f"{violated / len(found):.1%} (<= {wilson(violated, len(found))[1]:.1%})" if len(found) > 1 else "",
                f"{np.mean([one.risk(risk) for one in found]):.2%}",
                f"{share[Tier.DEVICE]:.1%}",
                f"{share[Tier.CLOUD]:.1%}",
                f"{EDGE_PRICE * (share[Tier.EDGE] + share[Tier.CLOUD]) + CLOUD_PRICE * share[Tier.CLOUD]:.3f}"
                if tiers == 3
                else "",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2_000)
    parser.add_argument("--outside", type=float, default=0.0)
    parser.add_argument("--risk", choices=("harm", "net"), default="harm")
    parser.add_argument("sets", nargs="*", default=list(TRAIN))
    options = parser.parse_args()
    table = Table(title=f"{options.repetitions} certificates, {options.outside:.0%} out of scope; edge .1, cloud 1")
    for column in ("data", "tiers", "level", "method", "violated", "risk", "device", "cloud", "cost"):
        table.add_column(column)
    for name in options.sets:
        population = Population(name, options.outside if name == "clinc150_en" else 0.0)
        right = ", ".join(f"{tier} {said.right.mean():.2%}" for tier, said in population.answers.items())
        console.print(f"{name}: {len(population.rows)} rows; right: {right}")
        for tiers in (2, 3):
            add_rows(table, name, population, options.repetitions, tiers, options.risk)
    console.print(table)


if __name__ == "__main__":
    main()
