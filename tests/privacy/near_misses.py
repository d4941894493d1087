"""Texts with what is of a type's shape but none: what check digits, numbering plans and words are there for."""

from collections.abc import Callable
from random import Random

from tests.privacy.corpus import SILENT
from tests.privacy.values import CARDS, card, credit_code, digits, iban, with_luhn


def other_check(rng: Random, number: str) -> str:
    """With another last digit, or another letter."""
    alphabet = "0123456789" if number[-1].isdigit() else "ABCDEFGHJKLM"
    return number[:-1] + rng.choice([one for one in alphabet if one != number[-1].upper()])


def no_plan(rng: Random) -> str:
    """Areas and countries that there are not, and exchanges that begin with 1."""
    number = digits(rng, 7)
    return rng.choice(
        (f"012-2{number}", f"026-3{number}", f"+999 21{number}", f"+210 5{number}", f"415-1{number[:2]}-{number[3:]}")
    )


def order_like_card(rng: Random) -> str:
    prefix = rng.choice([prefix for prefix, length in CARDS if length == 16])
    return with_luhn(prefix + digits(rng, 15 - len(prefix)))


ORDERS = (
    *("订单号{}什么时候发货", "运单{}没更新", "订单号码是：{}", "流水号为{}", "订单编号“{}”"),
    *("order {} is late", "Order no. {}", "ORDER #{}", "order_id={}", "tracking number is {}", "invoice: {}"),
)
NEAR: dict[str, tuple[Callable[[Random], str], tuple[str, ...]]] = {
    "bank_card": (lambda rng: other_check(rng, card(rng)), SILENT),
    "uscc": (lambda rng: other_check(rng, credit_code(rng)), SILENT),
    "iban": (lambda rng: other_check(rng, iban(rng)), SILENT),
    "phone": (no_plan, SILENT),
    "order": (order_like_card, ORDERS),
}


def near_misses(seed: int, kind: str, count: int) -> list[str]:
    rng = Random(seed)
    make, texts = NEAR[kind]
    return [rng.choice(texts).format(make(rng)) for _ in range(count)]
