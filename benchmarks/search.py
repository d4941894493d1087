"""The ladder that a search chooses beside the default preset's: what 1,000 requests cost at 1 %, on test rows.

    python -m benchmarks.search [MINUTES] [SET ...]

Both are built on the same rows, certified by themselves, and compared on the same test file, as much of it out of scope
as of the certify rows; harm is how often a text that was answered below the cloud is wrong where the cloud is right.
Which thresholds a few hundred certify rows allow is a matter of luck, so cost, cloud share and harm are means over 200
draws of as many rows from them, each with its own certificate; "above" is how many of those break their promise on the
test file (5 % of them may). Where the search did not choose the most accurate device that it tried, a third ladder is
that device with the edge that was chosen.
"""

import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.table import Table

from benchmarks.real_data import WORK, build, console, data_folder, encoder_folder
from tianti.certificate import Answers, LadderAnswers, certify, decide
from tianti.data import Row, read_prepared
from tianti.package import ReleaseRecord, read_release
from tianti.pipeline import RunRecord, Workspace
from tianti.pipeline.candidates import candidates
from tianti.pipeline.readings import run_package, truth_of
from tianti.pipeline.search import name_of
from tianti.spec import TIERS, Role, Tier
from tianti.spec.ladder import PriceSpec, StudentSpec, parse_spec

ALPHA, DRAWS = 0.01, 200
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


def expect(folder: Path, workspace: Path, record: RunRecord) -> tuple[float, float, float, float]:
    """Cost of 1,000, share of the cloud, harm: means over draws of certify rows; and the share of draws above ALPHA."""
    release = read_release(folder).record
    prepare = next(stage.key for stage in record.timeline if stage.name == "prepare")
    prepared = read_prepared(Workspace(workspace).store.get(prepare))  # type: ignore[arg-type]
    certified = prepared.rows[Role.CERTIFY]
    tested = at_mix(prepared.rows[Role.TEST], certified, prepared.out_of_scope)
    certify_rows, test = (answers_of(folder, release, rows) for rows in (certified, tested))
    n = len(certify_rows[Tier.CLOUD].right)
    certificate, found = release.certificate, []
    points = [(point.device, point.edge) for point in certificate.path]
    for draw in np.random.default_rng(0).integers(n, size=(DRAWS, n)):
        some = {tier: Answers(said.score[draw], said.right[draw]) for tier, said in certify_rows.items()}
        alphas = [level.alpha for level in certificate.levels]
        proven = certify(points, some, alphas, certificate.confidence, out_of_scope_rows=0, bound={})
        outcome = decide(test, proven.thresholds(ALPHA))
        found.append(
            (PriceSpec().per_1000(outcome.share), outcome.share[Tier.CLOUD], outcome.harm, outcome.harm > ALPHA)
        )
    return tuple(np.mean(found, axis=0).tolist())


def at_mix(rows: Sequence[Row], like: Sequence[Row], out_of_scope: str | None) -> list[Row]:
    """Rows with as large a share out of scope as others have: a certificate speaks of the mix that it was made with."""
    strangers, known = [[row for row in rows if (row.label == out_of_scope) is which] for which in (True, False)]
    share = np.mean([row.label == out_of_scope for row in like])
    return [*known, *strangers[: round(len(known) * share / (1 - share))]]


def answers_of(folder: Path, release: ReleaseRecord, rows: Sequence[Row]) -> LadderAnswers:
    truth = truth_of(rows, release.labels, release.out_of_scope)
    answers = {}
    for tier in TIERS:
        said = run_package(folder / "packages" / tier, [row.text for row in rows]).read(release.heads[tier])
        answers[tier] = Answers(said.score, said.right(truth))
    return answers


def add(table: Table, name: str, called: str, text: str) -> RunRecord:
    """Build a ladder, and add its row."""
    record, folder = build(f"search-{name}", text)
    cost, cloud, harm, above = expect(folder, WORK / f"search-{name}", record)
    accuracy = record.tiers["device"]["accuracy_in_scope"]
    device = next((each["name"] for each in tried(record, Tier.DEVICE) if each["chosen"]), "")
    table.add_row(name, called, f"{cost:.4f}", f"{cloud:.1%}", f"{harm:.2%}", f"{above:.1%}", f"{accuracy:.2%}", device)
    return record


def tried(record: RunRecord, tier: Tier) -> list[dict[str, Any]]:
    """What a search tried for a tier, and fits."""
    every = [] if record.search is None else record.search["tried"]
    return [each for each in every if each["tier"] == tier and not each["missed"]]


def add_most_accurate(table: Table, name: str, searched: str, record: RunRecord) -> None:
    """Add the ladder of the most accurate device, where the search chose another."""
    best = max(tried(record, Tier.DEVICE), key=lambda each: each["accuracy"])
    if best["chosen"]:
        return
    edge = next(each for each in tried(record, Tier.EDGE) if each["chosen"])
    spec = parse_spec(searched)
    models = {
        tier: {name_of(spec, tier, each): each for each in candidates(spec, tier)} for tier in (Tier.DEVICE, Tier.EDGE)
    }
    text = ladder(name, None, models[Tier.EDGE][edge["name"]], models[Tier.DEVICE][best["name"]])
    add(table, name, f"most accurate device: {best['name']}", text)


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    table = Table(title=f"search of {minutes:g} minutes beside the default preset, at {ALPHA:.0%}")
    for column in (
        "data",
        "ladder",
        "cost of 1,000",
        "to the cloud",
        "harm",
        "above",
        "device on test",
        "chosen device",
    ):
        table.add_column(column)
    for name in sys.argv[2:] or SETS:
        searched = ladder(name, minutes, StudentSpec(), DEVICE)
        add(table, name, "default", ladder(name, None, StudentSpec(), DEVICE))
        add_most_accurate(table, name, searched, add(table, name, "searched", searched))
    console.print(table)


if __name__ == "__main__":
    main()
