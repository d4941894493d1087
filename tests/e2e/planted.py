"""Texts with personal data and secrets in them, each value another, in forms that leave no doubt of what they are.

Not here: how well values are found that are harder to tell (`tests.privacy`). Invariant: a seed gives the same texts.
"""

import string
from collections.abc import Callable
from random import Random
from typing import NamedTuple

WORDS = ("lamp lamp lamp lamp lamp lamp", "tune", "sonata", "我想听", "drizzle 请拨打")
"""The device is sure of the first."""


class Planted(NamedTuple):
    text: str
    kind: str
    value: str


def planted(count: int, seed: int = 7) -> list[Planted]:
    """As many texts of each kind as there is room for, in turn."""
    rng, kinds = Random(seed), sorted(VALUES)
    rows: dict[str, Planted] = {}
    while len(rows) < count:
        kind = kinds[len(rows) % len(kinds)]
        value = VALUES[kind](rng)
        before = rng.choice(WORDS)
        text = f"{before} https://{value}@db.example.com/x" if kind == "url_credentials" else f"{before} {value} 谢谢"
        rows[value] = Planted(text, kind, value)
    return list(rows.values())


def leaks(rows: list[Planted], content: bytes) -> list[Planted]:
    """Those whose value, or all of it but an end, is in the content."""
    return [row for row in rows if any(part.encode() in content for part in (row.value[1:], row.value[:-1]))]


def _digits(rng: Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def _letters(rng: Random, count: int) -> str:
    return "".join(rng.choices(string.ascii_letters + string.digits, k=count))


def _id_card(rng: Random) -> str:
    body = f"110105{rng.randrange(1950, 2005)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}{_digits(rng, 3)}"
    total = sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(body))
    return body + "10X98765432"[total % 11]


def _bank_card(rng: Random) -> str:
    body = "622202" + _digits(rng, 12)
    doubled = (int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(body)))
    return body + str(-sum(number - 9 * (number > 9) for number in doubled) % 10)


VALUES: dict[str, Callable[[Random], str]] = {
    "phone": lambda rng: "138" + _digits(rng, 8),
    "email": lambda rng: f"{_letters(rng, 9).lower()}@example.com",
    "id_card": _id_card,
    "bank_card": _bank_card,
    "ip": lambda rng: "203." + ".".join(str(rng.randrange(100, 255)) for _ in range(3)),
    "api_key": lambda rng: "AKIA" + "".join(rng.choices(string.ascii_uppercase + "234567", k=16)),
    "token": lambda rng: "ghp_" + _letters(rng, 36),
    "url_credentials": lambda rng: f"{_letters(rng, 6)}:{_letters(rng, 12)}",
}
