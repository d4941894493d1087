"""Numbers of persons and companies: Chinese ID cards, credit codes and plates, US social security numbers.

Not here: cards and accounts (`cards`). Invariant: a number with the right check digit is told from one without.
"""

import re
from collections.abc import Iterator

from tianti.privacy.around import AFTER, BEFORE, NOT_DECIMALS, WHOLE, bare, grouping, is_called, words
from tianti.privacy.checks import credit_code_right, id_card_right, is_date
from tianti.privacy.contract import Found

# a number may begin inside what another candidate took, so candidates are looked ahead for, not consumed
_ID_CARD = re.compile(rf"(?<![0-9]){NOT_DECIMALS}(?=([1-9](?:[ ./-]?[0-9]){{16}}[\s./-]?[0-9Xx]){AFTER})")
_LETTER = re.compile("[A-Za-z]")
_ID_GROUPS = {
    (18,),
    (6, 8, 4),
    (6, 4, 4, 4),
    (4, 4, 4, 4, 2),
    (3, 3, 4, 4, 4),
    (6, 12),
    (14, 4),
    (6, 6, 6),
    (6, 4, 2, 2, 4),
}
_PROVINCE = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
_CREDIT = "[0-9A-HJ-NPQRTUWXY]"
_REGISTERED = "1[1-39]|[2468][19]|3[1-59]|5[1-39]|6[1-2]|7[129]|9[1-3]|A[19]|N[1-39]|Y1"  # by whom, and as what
_CREDIT_CODE = re.compile(
    rf"{BEFORE}(?=((?:{_REGISTERED})(?:[ -]?[0-9]){{6}}(?:[ -]?{_CREDIT}){{10}}){AFTER})",
    re.IGNORECASE | re.ASCII,
)
_PLATE = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼] ?[A-HJ-Z] ?[·.-]? ?"
    r"(?:[A-HJK][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[A-HJK]|[A-HJ-NP-Z0-9]{4}(?:[A-HJ-NP-Z0-9挂学警港澳使领]|应急))"
    rf"{WHOLE}(?!元(?![旦宵]))",
    re.IGNORECASE,
)
_SSN = re.compile(
    rf"(?:{BEFORE}|(?<=SSN)|(?<=ssn))(?<![0-9]-)"
    rf"((?!000|666|9)[0-9]{{3}}([ -]?)(?!00)[0-9]{{2}}\2(?!0000)[0-9]{{4}}){WHOLE}(?!-[0-9])"
)
_SSN_WORDS = words("社会安全", "ssn|social security")


def find_id_cards(text: str) -> Iterator[Found]:
    """`id_card` with the right check digit, `id_card_unverified` with another, where place and day of birth exist."""
    for match in _ID_CARD.finditer(text):
        number = bare(match[1])
        if not is_date(number[6:14]):
            continue
        proven = id_card_right(number)
        if not proven and (grouping(match[1]) not in _ID_GROUPS or _LETTER.match(text, max(0, match.start() - 1))):
            continue  # letters before it are a label, such as ID, only where the rest is right
        if is_born(number) or (proven and number[0] == "9"):  # 9: a foreigner's permanent residence
            yield Found(*match.span(1), "id_card" if proven else "id_card_unverified", proven)


def is_born(number: str) -> bool:
    """Whether eighteen characters begin with a province, and go on with a day from 1900 to 2049."""
    return _PROVINCE.match(number) is not None and "1900" <= number[6:10] < "2050" and is_date(number[6:14])


def find_credit_codes(text: str) -> Iterator[Found]:
    """`uscc`, with the right check character."""
    for match in _CREDIT_CODE.finditer(text):
        code = bare(match[1])
        whole = all(count >= 3 for count in grouping(match[1])[1:-1])
        if whole and credit_code_right(code) and not is_born(code):
            yield Found(*match.span(1), "uscc", True)


def find_plates(text: str) -> Iterator[Found]:
    """`plate`, ordinary ones and those of new-energy, police, learners', trailers and border vehicles."""
    for match in _PLATE.finditer(text):
        if sum(character.isdigit() for character in match[0]) >= 2:
            yield Found(*match.span(), "plate")


def find_ssns(text: str) -> Iterator[Found]:
    """`us_ssn`; nine digits that nothing parts only where a word says so."""
    for match in _SSN.finditer(text):
        called = is_called(text, match.start(1), _SSN_WORDS)
        if called or (called is None and match[2]):
            yield Found(*match.span(1), "us_ssn")
