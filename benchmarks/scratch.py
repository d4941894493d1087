"""Chinese from scratch: every tier beside TF-IDF + logistic regression on the same rows, in one run.

    python -m benchmarks.scratch [SET ...]

The peer is what the data sets' own table was made with: character 1-3-grams, C = 10.
"""

import sys
from pathlib import Path

from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks.real_data import build, console, data_folder
from tianti.data import Columns, read_table
from tianti.spec import TIERS

SETS = {"shop_sentiment_zh": 256, "thucnews_titles_zh": 64}
"""Names, and tokens of a text that models see: reviews are long, titles are not."""


def main() -> None:
    table = Table(title="accuracy on test, shipped files")
    for column in ("set", "TF-IDF + LR", *TIERS, "device, MB", "seconds"):
        table.add_column(column, justify="left" if column == "set" else "right")
    for name in sys.argv[1:] or SETS:
        max_length, data = SETS[name], data_folder(name)
        record, _ = build(name, ladder(name, data, max_length))
        tiers = [record.tiers[tier] for tier in TIERS]
        table.add_row(
            name,
            f"{measure_peer(data):.4f}",
            *(f"{figures['accuracy_in_scope']:.4f}" for figures in tiers),
            f"{tiers[0]['size_bytes'] / 1e6:.2f}",
            f"{record.seconds:.0f}",
        )
    console.print(table)


def ladder(name: str, data: Path, max_length: int) -> str:
    return f"""
name: {name}
data:
  train: {data}/train.jsonl.gz
  validation: 5%
  calibration: {data}/validation.jsonl.gz
  test: {data}/test.jsonl.gz
  max_length: {max_length}
"""


def measure_peer(data: Path) -> float:
    texts = {}
    for role in ("train", "test"):
        rows = read_table(str(data / f"{role}.jsonl.gz"), data, Columns(text="text", label="label"))
        texts[role] = [row.text for row in rows], [row.label for row in rows]
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=300).fit(vectorizer.fit_transform(texts["train"][0]), texts["train"][1])
    return model.score(vectorizer.transform(texts["test"][0]), texts["test"][1])


if __name__ == "__main__":
    main()
