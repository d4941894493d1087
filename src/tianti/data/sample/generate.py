"""Generates the sample data set: what people ask an assistant, in Chinese, English and both, and which intent it is.

Every line of wording in the YAML files beside this one is a family. Train sees some families of an intent;
calibration and test also ask in families that train never saw. What is certified on calibration holds for test, and
says nothing of people who speak otherwise.

Not here: a validation split (Tianti carves it out of train), and any text that was not written for Tianti.
Invariant: calibration and test are one shuffled draw, cut in two, so they are exchangeable; no text occurs twice in
the three splits, whatever its case, blanks and punctuation; a seed gives the same rows on every version of Python.
"""

import gzip
import io
import re
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

import msgspec

from tianti.store.files import write_atomic

OUT_OF_SCOPE = "out_of_scope"
SIZES = {"train": 6000, "calibration": 3600, "test": 2000}
OUT_OF_SCOPE_SHARE = 0.035
HELD_OUT_SHARE = 0.3  # of an intent's families, kept from train
RIVAL_IN_DOMAIN_SHARE = 0.6  # the other intent of a contrast is mostly one that is easily confused with it
TOPIC_SHARE = 0.06  # of the other rows, a noun phrase only
ASK_SHARE = 0.35  # of the other rows, a phrase in a polite frame rather than a whole sentence
SLIP_SHARE = 0.3  # of all rows, with a typing error

ALTERNATIVES = re.compile(r"\(([^()]*)\)")
SLOT = re.compile(r"<(\w+)>")

T = TypeVar("T")


class Mix(NamedTuple):
    """What rows are made of.

    `unseen` is the share asked in held-out families; `contrast` is the share that has the words of two intents, as in
    "don't <other>, <want>", so that only their order tells which one it is.
    """

    unseen: float
    contrast: float


# order is learnt from more examples than it is asked for
TRAIN_MIX = Mix(unseen=0.0, contrast=0.3)
ASKED_MIX = Mix(unseen=0.22, contrast=0.13)


class Wording(msgspec.Struct, frozen=True):
    """How one intent is worded in one language: as a noun, as an infinitive, and as whole sentences."""

    about: list[str]
    do: list[str]
    say: list[str]


class LanguageFrames(msgspec.Struct, frozen=True):
    """What goes round the wording in one language."""

    ask: list[str]
    topic: list[str]
    contrast: list[str]
    before: list[str]
    after: list[str]


class Frames(msgspec.Struct, frozen=True):
    """frames.yaml."""

    en: LanguageFrames
    zh: LanguageFrames
    homophones: dict[str, str]
    pinyin: dict[str, str]


class Row(NamedTuple):
    """One labelled text, and the family it comes from."""

    text: str
    label: str
    domain: str
    lang: str
    family: str


class Families(NamedTuple):
    """Lines of wording of one kind, parted into those that train may use and those that it never sees."""

    seen: list[str]
    unseen: list[str]

    def draw(self, rng: Random, unseen_share: float) -> str:
        """Pick a line, an unseen one with the given chance."""
        return pick(rng, self.unseen if self.unseen and rng.random() < unseen_share else self.seen)


def pick(rng: Random, choices: Sequence[T]) -> T:
    """Pick one. Of `random`, only `random()` itself promises the same numbers on every version of Python."""
    return choices[int(rng.random() * len(choices))]


def shuffled(rng: Random, things: Sequence[T]) -> list[T]:
    """Put things in a random order."""
    return sorted(things, key=lambda _: rng.random())


def part_families(rng: Random, lines: Sequence[str]) -> Families:
    """Keep a share of the lines from train."""
    held_out = round(len(lines) * HELD_OUT_SHARE)
    order = shuffled(rng, lines)
    return Families(seen=order[held_out:], unseen=order[:held_out])


def load(name: str, shape: type[T]) -> T:
    """Read one of the YAML files beside this module."""
    return msgspec.yaml.decode((Path(__file__).parent / name).read_bytes(), type=shape)


def text_key(text: str) -> str:
    """What two texts share when they differ only in case, blanks and punctuation."""
    return "".join(character for character in text.casefold() if character.isalnum())


class Generator:
    """Draws rows from the wording; one seed fixes which families are held out, and every row."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        domains = load("domains.yaml", dict[str, list[str]])
        self.domains = {label: domain for domain, labels in domains.items() for label in labels}
        self.slots = load("slots.yaml", dict[str, dict[str, list[str]]])
        self.frames = load("frames.yaml", Frames)
        self.about: dict[tuple[str, str], list[str]] = {}
        self.do: dict[tuple[str, str], Families] = {}
        self.say: dict[tuple[str, str], Families] = {}
        self.contrast: dict[str, Families] = {}
        self._load_families()

    def _load_families(self) -> None:
        for lang in ("en", "zh"):
            wordings = load(f"intents_{lang}.yaml", dict[str, Wording])
            self.contrast[lang] = part_families(self.rng, self._frames_of(lang).contrast)
            for label in self.domains:
                self.about[label, lang] = wordings[label].about
                self.do[label, lang] = part_families(self.rng, wordings[label].do)
                self.say[label, lang] = part_families(self.rng, wordings[label].say)
        for label, lines in load("intents_mixed.yaml", dict[str, list[str]]).items():
            self.say[label, "mixed"] = part_families(self.rng, lines)
        for lang, lines in load("out_of_scope.yaml", dict[str, list[str]]).items():
            self.say[OUT_OF_SCOPE, lang] = part_families(self.rng, lines)

    def _frames_of(self, lang: str) -> LanguageFrames:
        return self.frames.en if lang == "en" else self.frames.zh

    def rows(self, count: int, mix: Mix, taken: set[str]) -> list[Row]:
        """Draw rows whose texts are not taken yet, as many of each intent, in random order."""
        strangers = round(count * OUT_OF_SCOPE_SHARE)
        labels = [*islice(cycle(self.domains), count - strangers), *[OUT_OF_SCOPE] * strangers]
        return shuffled(self.rng, [self._new_row(label, mix, taken) for label in labels])

    def _new_row(self, label: str, mix: Mix, taken: set[str]) -> Row:
        while True:
            row = self._row(label, mix)
            key = text_key(row.text)
            if key not in taken:
                taken.add(key)
                return row

    def _row(self, label: str, mix: Mix) -> Row:
        lang = self._language()
        if (label, lang) in self.do and self.rng.random() < mix.contrast:
            family = self.contrast[lang].draw(self.rng, mix.unseen)
            template = self._contrast(family, label, lang, mix.unseen)
        elif (label, lang) in self.do and self.rng.random() < TOPIC_SHARE:
            family = pick(self.rng, self._frames_of(lang).topic)
            template = family.replace("<about>", pick(self.rng, self.about[label, lang]))
        elif (label, lang) in self.do and self.rng.random() < ASK_SHARE:
            family = self.do[label, lang].draw(self.rng, mix.unseen)
            template = pick(self.rng, self._frames_of(lang).ask).replace("<do>", family)
        else:
            template = family = self.say[label, lang].draw(self.rng, mix.unseen)
        text = self._with_noise(self._filled(template, lang), lang)
        return Row(text, label, self.domains.get(label, OUT_OF_SCOPE), lang, family)

    def _language(self) -> str:
        draw = self.rng.random()
        return "en" if draw < 0.46 else "zh" if draw < 0.88 else "mixed"

    def _contrast(self, frame: str, label: str, lang: str, unseen_share: float) -> str:
        """Put the wanted intent and another one into a frame."""
        others = [other for other in self.domains if other != label]
        if self.rng.random() < RIVAL_IN_DOMAIN_SHARE:
            others = [other for other in others if self.domains[other] == self.domains[label]]
        other = pick(self.rng, others)
        parts = {
            "<want>": self.do[label, lang].draw(self.rng, unseen_share),
            "<want_about>": pick(self.rng, self.about[label, lang]),
            "<other>": self.do[other, lang].draw(self.rng, unseen_share),
            "<other_about>": pick(self.rng, self.about[other, lang]),
        }
        for name, part in parts.items():
            frame = frame.replace(name, part)
        return frame

    def _filled(self, template: str, lang: str) -> str:
        """Choose among the alternatives and fill the slots; a filler may hold slots itself."""
        while "(" in template:
            template = ALTERNATIVES.sub(lambda found: pick(self.rng, found[1].split("|")), template)
        while "<" in template:
            template = SLOT.sub(lambda found: pick(self.rng, self.slots[self._slot_language(lang)][found[1]]), template)
        return " ".join(template.split())

    def _slot_language(self, lang: str) -> str:
        return pick(self.rng, ("zh", "zh", "en")) if lang == "mixed" else lang

    def _with_noise(self, text: str, lang: str) -> str:
        """Add what people say around a request, slips of the fingers, and their ways with capitals and full stops."""
        frames, comma = self._frames_of(lang), ", " if lang == "en" else "，"
        if self.rng.random() < SLIP_SHARE:
            text = self._english_slip(text) if lang == "en" else self._chinese_slip(text)
        if self.rng.random() < 0.3:
            text = pick(self.rng, frames.before) + pick(self.rng, (comma, " ")) + text
        if self.rng.random() < 0.25:
            text += pick(self.rng, (comma, " ")) + pick(self.rng, frames.after)
        if self.rng.random() < 0.3:
            text += pick(self.rng, "..!?" if lang == "en" else "。。！？")
        if self.rng.random() < 0.3:
            return text[0].upper() + text[1:]
        return text.lower() if self.rng.random() < 0.6 else text

    def _english_slip(self, text: str) -> str:
        """Drop, double or swap letters inside a word; the short words that turn a meaning round stay whole."""
        words = text.split(" ")
        places = [at for at, word in enumerate(words) if len(word) > 3 and word.isalpha()]
        if places:
            at = pick(self.rng, places)
            word = words[at]
            cut = 1 + int(self.rng.random() * (len(word) - 2))
            words[at] = pick(
                self.rng,
                (
                    word[:cut] + word[cut + 1 :],
                    word[:cut] + word[cut] + word[cut:],
                    word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :],
                ),
            )
        return " ".join(words)

    def _chinese_slip(self, text: str) -> str:
        """Write a character as one that sounds the same, or leave a word in pinyin."""
        slips = [*self.frames.homophones.items(), *self.frames.pinyin.items()]
        possible = [(right, wrong) for right, wrong in slips if right in text]
        if not possible:
            return text
        right, wrong = pick(self.rng, possible)
        return text.replace(right, wrong, 1)


def draw_splits(seed: int = 7) -> dict[str, list[Row]]:
    """Draw train, calibration and test, each row with its family."""
    generator, taken = Generator(seed), set[str]()
    asked = generator.rows(SIZES["calibration"] + SIZES["test"], ASKED_MIX, taken)
    return {
        "train": generator.rows(SIZES["train"], TRAIN_MIX, taken),
        "calibration": asked[: SIZES["calibration"]],
        "test": asked[SIZES["calibration"] :],
    }


def sample_rows(seed: int = 7) -> dict[str, list[dict[str, str]]]:
    """Return the rows of train, calibration and test, each with its text, label, domain and lang (en, zh or mixed)."""
    return {
        split: [{"text": row.text, "label": row.label, "domain": row.domain, "lang": row.lang} for row in rows]
        for split, rows in draw_splits(seed).items()
    }


def write_sample(folder: Path, seed: int = 7) -> dict[str, Path]:
    """Write train.jsonl.gz, calibration.jsonl.gz and test.jsonl.gz into a folder, and return where each one is.

    Raises:
        StoreError: the folder cannot be written.
    """
    paths = {}
    for split, rows in sample_rows(seed).items():
        lines = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        paths[split] = folder / f"{split}.jsonl.gz"
        write_atomic(paths[split], _gzipped(lines))
    return paths


def _gzipped(content: bytes) -> bytes:
    """Compress to the same bytes each time. (gzip.compress would name the operating system in the header.)"""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
        file.write(content)
    return packed.getvalue()


def questions(lang: str) -> list[str]:
    """Return a few questions for a demonstration, in "en" or "zh"; none of them is in train.

    Raises:
        KeyError: there are none in that language.
    """
    return load("questions.yaml", dict[str, list[str]])[lang]
