"""Numbers of bank cards and accounts: cards by issuer's prefix, length and Luhn, IBAN by country, length and mod 97.

Not here: other numbers (`identities`). Invariant: everything found has the right check digit.
"""

import re
from collections.abc import Iterator
from functools import cache

from tianti.privacy.around import AFTER, BEFORE, bare, grouping, is_called, words
from tianti.privacy.checks import iban_right, luhn_right
from tianti.privacy.contract import Found
from tianti.privacy.identities import is_born

_CARD = re.compile(
    rf"(?=[0-9])(?:{BEFORE}|(?<=[Cc]ard)|(?<=CARD)|(?<=[Vv]isa)|(?<=VISA))"
    rf"(?=([0-9]{{16}}[ -][0-9]{{3}}(?![ -]?[0-9])|[0-9]{{12,19}}|[0-9]{{4}} ?[0-9]{{4}}[ -][0-9]{{8,11}}"
    rf"|[0-9]{{4}}([ ./-])[0-9]{{4}}\2[0-9]{{4}}(?:\2[0-9]{{4}}(?:\2?[0-9]{{1,3}})?|\2?[0-9]{{1,3}})?"
    rf"|[0-9]{{4}}([ -])[0-9]{{6}}\3[0-9]{{4,5}}|[0-9]{{6}}[ -][0-9]{{6,13}}){AFTER})"
)
_LAST_GROUP = re.compile(r"[ ./-][0-9]{1,3}\Z")
_ISSUERS = re.compile(
    r"62[0-9]{14,17}"  # UnionPay
    r"|4[0-9]{15}|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|3[47][0-9]{13}|(?:30[0-5]|3[689][0-9])[0-9]{11}|35(?:2[89]|[3-8][0-9])[0-9]{12}|(?:1800|2131)[0-9]{11}"
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12}(?:[0-9]{3})?|(?:50|5[6-8]|6[0378])[0-9]{14,17}"
    r"|(?:9558|9559|6858|6888|6908|6913)[0-9]{12,15}"  # of before there was UnionPay
)
_CARD_WORDS = words("卡|账[号户]|帐[号户]|银行", "card|cc(?![a-z])|visa|master|amex|maestro|debit|credit|unionpay")

_IBAN = re.compile(rf"(?:{BEFORE}|(?<=IBAN)|(?<=iban))[A-Za-z]{{2}}[0-9]{{2}}(?=[ -]?[0-9A-Za-z])")
_IBAN_COUNTRIES = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18
DO28 EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23
IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19
MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24
SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20
"""
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_COUNTRIES.split()}


def find_bank_cards(text: str) -> Iterator[Found]:
    """`bank_card`; with an unusual prefix only where a word says so, an order's number only in a card's groups."""
    for match in _CARD.finditer(text):
        start, whole = match.start(1), match[1]
        # a month or a security code may follow, as if it were the last group
        right = [one for one in dict.fromkeys((whole, _LAST_GROUP.sub("", whole))) if _is_right(bare(one))]
        if not right:
            continue
        called = is_called(text, start, _CARD_WORDS)
        issued = next((one for one in right if _ISSUERS.fullmatch(bare(one))), None)
        if issued and (called or called is None or len(grouping(issued)) > 2):
            yield Found(start, start + len(issued), "bank_card", True)
        elif called:
            yield Found(start, start + len(right[0]), "bank_card", True)


def _is_right(number: str) -> bool:
    return luhn_right(number) and not (len(number) == 18 and is_born(number))


def find_ibans(text: str) -> Iterator[Found]:
    """`iban`, as one word or in groups."""
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[0][:2].upper())
        if length is None or not (rest := _rest(length - 4).match(text, match.end())):
            continue
        if iban_right(bare(text[match.start() : rest.end()])):
            yield Found(match.start(), rest.end(), "iban", True)


@cache
def _rest(characters: int) -> re.Pattern[str]:
    return re.compile(rf"(?:[ -]?[0-9A-Za-z]){{{characters}}}{AFTER}")
