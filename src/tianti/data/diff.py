"""Compare two tables of texts: what a model that knows the one would find otherwise in the other.

Not here: reading tables (`read`), saying it in words (`diff_report`).
Invariants: whatever is `claimed` is more than chance, and where both tables are of one source anything at all is
claimed in at most RATE of comparisons; facts (leaks, new words, duplicates) are counted and not judged.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from tianti.data.chance import holm, never_before_p, same_distribution_p, same_share_p
from tianti.data.diff_report import Leak, LengthDiff, Overlap, Shift, TableDiff, TableFacts, Unseen, Word
from tianti.data.rows import Row, normalise, text_key
from tianti.data.words import main_script, scripts, words

RATE = 0.05
"""Of comparisons in which anything is claimed though there is no difference, at most."""
_WORDS_RATE = RATE / 2  # one half for words, the other for labels, scripts and lengths together
_QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "longest": 1.0}
_SHOWN = 20
T = TypeVar("T", Shift, LengthDiff)


def diff(old: Sequence[Row], new: Sequence[Row], labelled: bool) -> TableDiff:
    """Compare two tables, neither of which is empty; `labelled`: their rows bear labels."""
    texts = [[row.text for row in rows if normalise(row.text)] for rows in (old, new)]
    mixes = [_shifts(*([main_script(scripts(text)) for text in side] for side in texts))]
    if labelled:
        mixes.append(_shifts(*([row.label for row in rows if row.label] for rows in (old, new))))
    lengths = _lengths(*texts)
    raised = iter(holm([shift.p for mix in mixes for shift in mix] + [lengths.p]))
    judged = [[_judged(shift, next(raised)) for shift in mix] for mix in mixes]
    return TableDiff(
        rate=RATE,
        old=_facts(old),
        new=_facts(new),
        labels=judged[1] if labelled else None,
        scripts=judged[0],
        lengths=_judged(lengths, next(raised)),
        unseen=_unseen(*texts),
        overlap=_overlap(old, new),
    )


def _shifts(old: Sequence[str], new: Sequence[str]) -> list[Shift]:
    """Every name's share on both sides, the greatest difference first."""
    before, after = Counter(old), Counter(new)
    found = [
        Shift(
            name=name,
            old=before[name],
            new=after[name],
            old_share=before[name] / max(len(old), 1),
            new_share=after[name] / max(len(new), 1),
            p=same_share_p(before[name], len(old), after[name], len(new)),
        )
        for name in sorted(before.keys() | after.keys())
    ]
    return sorted(found, key=lambda shift: -abs(shift.new_share - shift.old_share))


def _judged(found: T, p: float) -> T:
    return msgspec.structs.replace(found, p=p, claimed=p <= RATE - _WORDS_RATE)


def _lengths(old: Sequence[str], new: Sequence[str]) -> LengthDiff:
    if not old or not new:
        return LengthDiff(old={}, new={}, distance=0.0, p=1.0)
    sides = [np.array([len(text) for text in texts], dtype=np.int64) for texts in (old, new)]
    distance, p = same_distribution_p(*sides)
    quantiles = [
        {name: int(np.quantile(side, at, method="inverted_cdf")) for name, at in _QUANTILES.items()} for side in sides
    ]
    return LengthDiff(old=quantiles[0], new=quantiles[1], distance=distance, p=p)


def _facts(rows: Sequence[Row]) -> TableFacts:
    letters: Counter[str] = Counter()
    labels: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        letters += scripts(row.text)
        if normalise(row.text):
            labels[text_key(row.text)].append(row.label)
    full = sum(map(len, labels.values()))
    total = max(letters.total(), 1)
    return TableFacts(
        rows=len(rows),
        empty=len(rows) - full,
        unlabelled=sum(not row.label for row in rows),
        duplicates=full - len(labels),
        contradicting=sum(len(alike) for alike in labels.values() if len({*alike} - {""}) > 1),
        letters={script: count / total for script, count in letters.most_common()},
    )


def _unseen(old: Sequence[str], new: Sequence[str]) -> Unseen:
    before, after = [[words(text) for text in side] for side in (old, new)]
    known, found = _rows_of(before), _rows_of(after)
    strange = Counter({word: count for word, count in found.items() if word not in known})
    raised = len(known.keys() | found.keys())
    chances = {count: raised * never_before_p(count, len(old), len(new)) for count in set(strange.values())}
    listed = sorted(strange, key=lambda word: (-strange[word], word))
    return Unseen(
        distinct=len(strange),
        share=_share(not known.keys() >= each for each in after),
        usual_share=_share(any(known[word] == 1 for word in each) for each in before),
        claimed=sum(chances[count] <= _WORDS_RATE for count in strange.values()),
        most=[Word(word, strange[word], chances[strange[word]] <= _WORDS_RATE) for word in listed[:_SHOWN]],
    )


def _rows_of(texts: Iterable[set[str]]) -> Counter[str]:
    return Counter(word for each in texts for word in each)


def _share(holds: Iterable[bool]) -> float:
    found = list(holds)
    return sum(found) / max(len(found), 1)


def _overlap(old: Sequence[Row], new: Sequence[Row]) -> Overlap:
    there: dict[str, set[str]] = defaultdict(set)
    for row in old:
        if normalise(row.text):
            there[text_key(row.text)].add(row.label)
    leaks: dict[str, Leak] = {}
    rows = 0
    for row in new:
        key = text_key(row.text)
        if (labels := there.get(key)) is None:
            continue
        rows += 1
        conflicts = bool(row.label) and row.label not in labels and bool(labels - {""})
        if key not in leaks or conflicts:
            leaks[key] = Leak(row.text, row.label, sorted(labels), conflicts)
    listed = sorted(leaks.values(), key=lambda leak: not leak.conflicts)
    return Overlap(
        rows=rows,
        texts=len(leaks),
        conflicting=sum(leak.conflicts for leak in listed),
        examples=listed[:_SHOWN],
    )
