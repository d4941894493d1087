"""A tiny release with three certified points and texts of every score: what points are for.

A word that the device does not know dilutes those that it knows, so its score falls from 1 to 0 with their share.
"""

import random
from pathlib import Path

import msgspec

from tests.tiny_release import OUT_OF_SCOPE, WORDS, make_release
from tianti.package import Release, write_release
from tianti.spec import TIERS, Level, Tested

STRICT, MIDDLE, LAX = 0.005, 0.01, 0.02
_THRESHOLDS = {STRICT: 0.97, MIDDLE: 0.8, LAX: 0.5}


def make_graded_release(folder: Path, words: dict[str, tuple[str, str, str]] | None = None) -> Release:
    """Below `folder`, which must be empty."""
    plain = make_release(folder / "plain", words=words)
    path = tuple(Tested(device=score, edge=score, harmful=0, disagreeing=0) for score in _THRESHOLDS.values())
    share = dict(zip(TIERS, (0.5, 0.3, 0.2), strict=True))
    levels = tuple(Level(alpha=alpha, point=point, share=share) for point, alpha in enumerate(_THRESHOLDS))
    certificate = msgspec.structs.replace(plain.record.certificate, path=path, levels=levels)
    record = msgspec.structs.replace(plain.record, certificate=certificate)
    return write_release(folder / "graded", record, {tier: plain.package(tier).folder for tier in TIERS})


def graded_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of one to seven words about one thing each."""
    chance = random.Random(seed)
    rows = [WORDS[label] for label in WORDS if label != OUT_OF_SCOPE]
    return [" ".join(chance.choices(chance.choice(rows), k=chance.randint(1, 7))) for _ in range(count)]
