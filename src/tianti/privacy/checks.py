"""Check digits: of Chinese ID cards (GB 11643), cards (ISO 7812), credit codes (GB 32100), accounts (ISO 13616).

Not here: finding candidates. Invariant: nothing raises for characters that the caller's pattern admits.
"""

from datetime import date

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"
_CREDIT_DIGITS = {character: value for value, character in enumerate("0123456789ABCDEFGHJKLMNPQRTUWXY")}
_CREDIT_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def id_card_right(number: str) -> bool:
    """Whether the last of eighteen characters is the ID card's check digit (mod 11-2)."""
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, number, strict=False))
    return _ID_CHECKS[total % 11] == number[17].upper()


def luhn_right(digits: str) -> bool:
    """Whether the last digit is the check digit of a bank card."""
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(_DOUBLED[value] for value in values[1::2])) % 10 == 0


def credit_code_right(code: str) -> bool:
    """Whether the last of eighteen characters checks a unified social credit code (mod 31-3)."""
    values = [_CREDIT_DIGITS.get(character, -1) for character in code.upper()]
    if min(values) < 0:
        return False
    total = sum(weight * value for weight, value in zip(_CREDIT_WEIGHTS, values, strict=False))
    return (31 - total % 31) % 31 == values[17]


def iban_right(account: str) -> bool:
    """Whether an IBAN without blanks has the right check digits (mod 97)."""
    return int("".join(str(int(character, 36)) for character in account[4:] + account[:4])) % 97 == 1


def is_date(digits: str) -> bool:
    """Whether eight digits are a day."""
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True
