"""How much of what is in texts do the detectors find, how much else, and what does it take?

    python -m benchmarks.pii [--presidio PYTHON] [--each 1000] [--seed 1]

On generated texts (tests/privacy: values by the standards, between Chinese characters, full-width, with characters of
no width; and ten kinds of texts with numbers that are nobody's), on presidio_pii_en and on multipriv_pii_zh; and how
often something is found in ordinary texts. Found is what has exactly the same characters and type; `covered`, of which
nothing would leave, whatever type it is taken for. PYTHON is one that can import presidio_analyzer: its pattern
recognisers read the same texts. Times are of the CPU. Generated texts must keep the limits.
"""

import argparse
import gzip
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table
from tests.privacy.corpus import positives
from tests.privacy.negatives import negatives

from benchmarks.real_data import ROOT, console, data_folder
from tianti.privacy.finder import Finder

REGIONS = ("CN", "US")
RECALL, PRECISION, MS = 0.995, 0.99, 0.3
Span = tuple[int, int, str]
NAMES = {
    "CREDIT_CARD": "bank_card",
    "EMAIL": "email",
    "EMAIL_ADDRESS": "email",
    "IBAN_CODE": "iban",
    "ID_CARD": "id_card",
    "IP_ADDRESS": "ip",
    "PHONE": "phone",
    "PHONE_NUMBER": "phone",
    "US_SSN": "us_ssn",
}
KNOWN_TO_PRESIDIO = {"bank_card", "email", "iban", "ip", "phone", "us_ssn"}
ORDINARY = ("clinc150_en", "banking77_en", "sst2_en", "thucnews_titles_zh", "shop_sentiment_zh", "tang_poems_zh")


class Case(NamedTuple):
    text: str
    spans: frozenset[Span]


class Said(NamedTuple):
    spans: list[list[Span]]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--presidio", metavar="PYTHON")
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.presidio is None:
        console.print("Presidio is skipped: --presidio PYTHON names one that has presidio-analyzer")
    kept = compare("generated", generated(chosen.seed, chosen.each), chosen.presidio)
    for name in ("presidio_pii_en", "multipriv_pii_zh"):
        compare(name, list(labelled(name)), chosen.presidio)
    ordinary()
    if not kept:
        sys.exit(
            f"generated texts need recall {RECALL}, precision {PRECISION} of every type, {MS} ms per 100 characters"
        )


def generated(seed: int, of_each: int) -> list[Case]:
    known = [Case(row.text, frozenset({(row.start, row.end, row.kind)})) for row in positives(seed, of_each)]
    return known + [Case(text, frozenset()) for _, text in negatives(seed, of_each)]


def rows(name: str) -> Iterator[dict]:
    for path in sorted(data_folder(name).glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)


def labelled(name: str) -> Iterator[Case]:
    for row in rows(name):
        spans = ((span["start"], span["end"], NAMES.get(span["type"])) for span in row["spans"])
        yield Case(row["text"], frozenset(span for span in spans if span[2]))


def compare(name: str, cases: Sequence[Case], presidio: str | None) -> bool:
    """Prints a table; whether ours keeps the limits."""
    texts = [case.text for case in cases]
    kinds = sorted({span[2] for case in cases for span in case.spans})
    said = {"tianti": ours(texts, "id_card_unverified" in kinds)}
    if presidio:
        said["presidio"] = theirs(texts, presidio)
    table = Table(title=f"{name}: {len(texts)} texts", title_justify="left")
    table.add_column("type", no_wrap=True)
    for column in ("known", *(f"{who}\n{what}" for who in said for what in ("recall", "covered", "precision"))):
        table.add_column(column, justify="right")
    kept = True
    for kind in kinds:
        figures = {who: figure(cases, one.spans, kind) for who, one in said.items()}
        known, recall, _, precision = figures["tianti"]
        kept &= recall >= RECALL and precision >= PRECISION
        cells = [f"{100 * share:.2f}" for share in figures["tianti"][1:]]
        if "presidio" in figures:
            looks = kind in KNOWN_TO_PRESIDIO
            cells += [f"{100 * share:.2f}" if looks else "none" for share in figures["presidio"][1:]]
        table.add_row(kind, str(int(known)), *cells)
    console.print(table)
    hundreds = sum(map(len, texts)) / 100
    for who, one in said.items():
        console.print(f"{who}: {1000 * one.seconds / hundreds:.3f} ms per 100 characters")
    return kept and 1000 * said["tianti"].seconds / hundreds <= MS


def figure(cases: Sequence[Case], said: Sequence[list[Span]], kind: str) -> tuple[float, float, float, float]:
    """How many are known; shares found, covered, and right of those found."""
    known = hit = covered = found = 0
    for case, spans in zip(cases, said, strict=True):
        right = {span for span in case.spans if span[2] == kind}
        of_kind = [span for span in spans if span[2] == kind]
        places = {place for start, end, _ in spans for place in range(start, end)}
        known += len(right)
        found += len(of_kind)
        hit += len(right.intersection(of_kind))
        covered += sum(places.issuperset(range(start, end)) for start, end, _ in right)
    return known, hit / known, covered / known, hit / found if found else 0.0


def ours(texts: Sequence[str], verified_apart: bool) -> Said:
    """`verified_apart`: the set tells ID cards with a wrong check digit from others."""
    finder = Finder(REGIONS)
    for text in texts[:200]:
        finder.find(text)
    start = time.process_time()
    found = [finder.find(text) for text in texts]
    seconds = time.process_time() - start
    cut = "" if verified_apart else "_unverified"
    return Said([[(one.start, one.end, one.kind.removesuffix(cut)) for one in said] for said in found], seconds)


def theirs(texts: Sequence[str], python: str) -> Said:
    script = ROOT / "benchmarks" / "pii_presidio.py"
    done = subprocess.run([python, script], input=json.dumps(texts), capture_output=True, text=True, cwd=Path("/"))
    if done.returncode:
        console.print(f"Presidio is skipped: {done.stderr.strip().splitlines()[-1]}")
        return Said([[] for _ in texts], 0.0)
    said = json.loads(done.stdout)
    spans = [[(start, end, NAMES[entity]) for start, end, entity in one] for one in said["spans"]]
    return Said(spans, said["seconds"])


def ordinary() -> None:
    """How often something is found in texts that were not made for this; reviews do hold phone numbers."""
    table = Table(title="ordinary texts: what is found", title_justify="left")
    for column in ("set", "texts", "found", "ms per 100 characters"):
        table.add_column(column, justify="left" if column in ("set", "found") else "right")
    for name in ORDINARY:
        texts = [row["text"] for row in rows(name)][:20_000]
        said = ours(texts, True)
        kinds = Counter(kind for spans in said.spans for _, _, kind in spans)
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) or "nothing"
        table.add_row(name, str(len(texts)), counts, f"{100_000 * said.seconds / sum(map(len, texts)):.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
