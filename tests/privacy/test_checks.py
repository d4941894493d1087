"""Check digits against numbers that standards and issuers publish, and every single wrong digit."""

from collections.abc import Callable

import pytest

from tianti.privacy.checks import credit_code_right, iban_right, id_card_right, luhn_right

PUBLISHED = [
    (id_card_right, "11010519491231002X"),  # GB 11643's own example
    (id_card_right, "440524188001010014"),  # its other one
    (luhn_right, "4111111111111111"),
    (luhn_right, "79927398713"),
    (luhn_right, "378282246310005"),
    (credit_code_right, "91350100M000100Y43"),  # GB 32100's own example
    (iban_right, "GB82WEST12345698765432"),
    (iban_right, "DE89370400440532013000"),
    (iban_right, "gb82west12345698765432"),
]


@pytest.mark.parametrize(("right", "number"), PUBLISHED)
def test_published_numbers(right: Callable[[str], bool], number: str) -> None:
    assert right(number)


@pytest.mark.parametrize(("right", "number"), PUBLISHED)
def test_one_wrong_digit_is_seen(right: Callable[[str], bool], number: str) -> None:
    for place, digit in enumerate(number):
        if digit.isdigit():
            wrong = number[:place] + str((int(digit) + 1) % 10) + number[place + 1 :]
            assert not right(wrong), wrong


def test_what_no_credit_code_has() -> None:
    assert not credit_code_right("91350100M000100I43")
