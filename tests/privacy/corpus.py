"""Texts with a value of each type, in Chinese and English, whose places are known: what detectors are measured on.

Values stand between Chinese characters, after the number of a list, in full-width form, with what has no width in them;
`named` texts say with a word what follows, as people do, the others say nothing.

Not here: values (`values`), texts without any (`negatives`). Invariant: a seed gives the same texts.
"""

from random import Random
from typing import NamedTuple

from tests.privacy.values import FORMS
from tianti.spec.privacy import SECRETS, TYPES

SILENT = (
    "{}",
    "麻烦记一下{}谢谢",
    "我的是{}呢",
    "（{}）",
    "已经改成{}了，请确认。",
    "从昨天开始{}就用不了。",
    "“{}”是谁的？",
    "客户张伟{}上海",
    "他说：{}。你看对不对",
    "Please write down {} for me.",
    "{} is what they gave me",
    "It was changed to {}, thanks!",
    "see ({})",
    "my colleague sent {}; is that right?",
    "收到，{}，谢谢～",
    "new:\n{}\nold: none",
)
NAMED = {
    "phone": (
        "我的电话是{}，请回电",
        "请拨打{}联系他",
        "客服热线：{}",
        "手机{}打不通",
        "Call me at {} after six.",
        "my phone number is {}",
    ),
    "email": ("邮箱：{}，请查收", "Please mail {} today", "发到 {} 就行", "抄送：{}。"),
    "us_ssn": ("My SSN is {} as you asked", "social security number: {}", "SSN {}"),
}
NO_WIDTH = "\u200b\u200c\u200d\ufeff\u2060"
NUMBERED = TYPES - SECRETS - {"email"}  # the number of a list, without a blank, is taken for an address's own
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}


class Row(NamedTuple):
    """A text, and the one value in it."""

    text: str
    start: int
    end: int
    kind: str


def positives(seed: int, of_each: int) -> list[Row]:
    rng = Random(seed)
    return [row(rng, kind) for kind in FORMS for _ in range(of_each)]


def row(rng: Random, kind: str) -> Row:
    form = rng.choice(FORMS[kind])
    made = form.make(rng)
    before, value, after = made if isinstance(made, tuple) else ("", made, "")
    if kind not in SECRETS:
        value = disguised(rng, value)
    named = kind in NAMED and (form.named or rng.random() < 0.5)
    if kind in NUMBERED and not named and not before and rng.random() < 0.1:
        before = f"{rng.randint(2, 19)}."
    left, right = rng.choice(NAMED[kind] if named else SILENT).split("{}")
    start = len(left) + len(before)
    return Row(left + before + value + after + right, start, start + len(value), kind)


def disguised(rng: Random, value: str) -> str:
    """As it is, or in full-width characters, or with one of no width inside."""
    chance = rng.random()
    if chance < 0.2:
        return value.translate(FULL_WIDTH)
    if chance < 0.3:
        place = rng.randrange(1, len(value))
        return value[:place] + rng.choice(NO_WIDTH) + value[place:]
    return value
