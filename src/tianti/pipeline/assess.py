"""`tianti assess`: how many of the calls that a cloud model gets could be answered on a device?

Writes a ladder of two tiers for somebody's logs and the model that answers them now, builds it, and says what came of
it. Not here: building (`build`). Invariant: shares and disagreement are of texts that neither trained nor certified;
money is said only with the prices that it assumes.
"""

import os
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tianti.data import read_report
from tianti.errors import UsageError
from tianti.pipeline.workspace import RunRecord, Workspace
from tianti.spec import percent
from tianti.spec.ladder import SCRATCH
from tianti.spec.units import share
from tianti.store import write_atomic

_HEADER = """\
# Written by `tianti assess`, which will write over it: copy it before you change it. Every key: docs/en/ladder.md
# With labels of your own (data.label) the certificate can bound lost accuracy instead of disagreement.
"""
_FEW = 0.01
_LEVELS = ("0.5%", "1%", "2%")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. `cloud` are the keys of `cloud:` in ladder.yaml; paths are relative to the current folder.

    `price` is of 1,000 calls, in any currency; `per_month` how many calls there are.
    """

    texts: Path
    column: str
    encoding: str | None
    cloud: dict[str, Any]
    level: str
    price: float
    per_month: int | None


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, at one level. `share` of `n` fresh texts would stay on the device, `differing` from the cloud.

    `certified`: the disagreement of all such requests is at most `level`, with this confidence. `saved` is per month.
    """

    certified: bool
    level: float
    confidence: float
    share: float
    differing: float
    n: int
    rows_needed: int | None
    price: float
    per_month: int | None
    saved: float | None
    repeated: float  # share of the logged calls whose text is in another one too
    others: dict[str, float]  # share at each other level that is certified, such as "2%"

    def lines(self) -> list[str]:
        """Sentences for people."""
        found = [self._main()]
        found += [f"  at {level}: {on_device:.1%}" for level, on_device in self.others.items()]
        if not self.certified:
            return found
        found.append(f"On {self.n:,} fresh texts {self.differing:.2%} were answered otherwise than by the cloud.")
        if self.repeated > _FEW:
            repeat = f"{self.repeated:.0%} of the logged calls repeat a text, which counts once"
            found.append(f"{repeat}: what share of all calls stays here, and what that saves, may be otherwise.")
        bill = f"{self.price:g} per 1,000 calls"
        if self.saved is None or self.per_month is None:
            return [*found, f"Saves {self.share:.0%} of the bill (assumed: {bill}; in money: --price, --per-month)."]
        return [*found, f"Saves {self.saved:,.0f} a month at {self.per_month:,} calls and {bill}."]

    def _main(self) -> str:
        held = f"{percent(self.level)} disagreement with the cloud ({percent(self.confidence)} confidence)"
        calls = "these calls" if self.repeated <= _FEW else "the distinct texts of these calls"
        if self.certified:
            return f"{self.share:.1%} of {calls} can be answered on the device, at most {held}."
        cure = (
            f"{self.rows_needed:,} certify rows (a fifth of all) would do" if self.rows_needed else "the models differ"
        )
        return f"None of {calls} can be shown to be answered on the device, at most {held}: {cure}."


def write_ladder(question: Question, out: Path) -> Path:
    """Write ladder.yaml into a folder, over that of an earlier assessment; returns its path.

    Raises:
        UsageError: the texts are not there, the level is none, or the folder holds a ladder of somebody's own.
    """
    if not question.texts.is_file():
        raise UsageError(f"--text: no file {question.texts}")
    alpha = share(question.level, "--level")
    levels = list(_LEVELS) if alpha in {share(level, "") for level in _LEVELS} else sorted({*_LEVELS, question.level})
    named = {key: value for key, value in question.cloud.items() if value is not None}
    for key in ("tokenizer", "labels"):
        if key in named and not Path(named[key]).is_file():
            raise UsageError(f"--{key}: no file {named[key]}")
    for key in ("tokenizer", "labels", "base"):
        if key in named and named[key] != SCRATCH and Path(named[key]).exists():
            named[key] = _beside(out, Path(named[key]))
    tree = {
        "name": "assessment",
        "data": {
            "train": _beside(out, question.texts),
            "text": question.column,
            "label": None,
            "calibration": "30%",
            "test": "15%",
            **({} if question.encoding is None else {"encoding": question.encoding}),
        },
        "cloud": named,
        "edge": None,
        "certificate": {"levels": levels},
        "prices": {"cloud": question.price},
    }
    path = out / "ladder.yaml"
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(_HEADER):
        raise UsageError(f"{path} was not written by an assessment; choose another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (_HEADER + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)).encode())
    return path


def repeated_share(workspace: Workspace, record: RunRecord) -> float:
    """The share of the rows of a run that cleaning left out because their text is in another row too."""
    key = next(done.key for done in record.timeline if done.name == "prepare")
    folder = workspace.store.get(key)
    assert folder is not None  # the run has just ended
    sources = read_report(folder).sources.values()
    return sum(source.duplicate + source.leaked for source in sources) / sum(source.read for source in sources)


def conclude(record: RunRecord, question: Question, repeated: float) -> Statement:
    """What a run of that ladder says at the level that was asked about; `repeated` as in `repeated_share`."""
    alpha = share(question.level, "--level")
    levels = {level["alpha"]: level for level in record.certificate["levels"]}
    level = levels[alpha]
    on_device = level["share"]["device"] if level["certified"] else 0.0
    calls = question.per_month
    return Statement(
        certified=level["certified"],
        level=alpha,
        confidence=record.certificate["confidence"],
        share=on_device,
        differing=level["test_risk"],
        n=level["test_n"],
        rows_needed=level["rows_needed"],
        price=question.price,
        per_month=calls,
        saved=None if calls is None else on_device * calls * question.price / 1000,
        repeated=repeated,
        others={
            percent(other): found["share"]["device"]
            for other, found in levels.items()
            if found["certified"] and other != alpha
        },
    )


def _beside(out: Path, path: Path) -> str:
    try:
        return Path(os.path.relpath(path, out)).as_posix()
    except ValueError:  # on another drive
        return str(path.resolve())
