"""Phone numbers: Chinese mobile, fixed and 400 numbers, those of the regions that a policy names, and any with `+`.

Candidates are found by pattern; `phonenumbers` (its import takes 20 ms, so only a text with a candidate pays for it)
says whether the numbering plan has them. Digits that nothing parts are a number only if a word says so, but for Chinese
mobile and fixed ones.

Not here: short service numbers, which are nobody's. Invariant: a number with `+` is found whatever the regions.
"""

import re
from collections.abc import Container, Iterator, Sequence
from types import ModuleType

from tianti.privacy.around import AFTER, NOT_DECIMALS, WHOLE, grouping, is_called, words
from tianti.privacy.contract import Detector, Found

_WORDS = words(
    "电话|手机|電話|手機|联系|聯絡|致电|拨打|热线|客服|来电|传真|座机|短信|微信",
    "tel(?![a-z])|telephone|phone|mobile|cell(?:phone)?(?![a-z])|call|fax|contact|dial|hotline|sms|whatsapp|text|reach",
)
_FIRST = "(?=[0-9(+])"  # looked at before what stands before it: that is fast
# words that are often written without a blank before the number, and an address's end
_GLUED = r"(?<=[Tt]el)|(?<=TEL)|(?<=[Pp]hone)|(?<=[Mm]obile)|(?<=[Ff]ax)|(?<=wx)|(?<=\.com)|(?<=\.cn)"
_EDGE = rf"{_FIRST}(?:(?<![0-9A-Za-z])|{_GLUED}){NOT_DECIMALS}"
# and those that are written so on either side of a mobile number
_LABELS = ["wx", "vx", "v", "qq", "wechat", "weixin", "tel", "phone", "mobile", "cell", "call", "whatsapp", "id", "no"]
_BEFORE_MOBILE = rf"{_FIRST}(?:{'|'.join(rf'(?<=(?<![0-9A-Za-z])(?i:{label}))' for label in _LABELS)})"
_AFTER_MOBILE = rf"(?:{AFTER}|(?=(?i:{'|'.join(_LABELS)})(?![A-Za-z])))"
_NOT_AMID = r"(?<![0-9]-)"
_EXTENSION = r"(?:(?: ?转 ?| ?分机号? ?| ?(?:ext|x)\.? ?|#)[0-9]{1,6}|-[0-9]{1,4})?"

_MOBILE = re.compile(
    rf"(?:{_EDGE}|{_BEFORE_MOBILE})(?=((?:(?:\((?:\+|00)?86\)|(?:\+|00)?86)[ -]?|0)?"
    rf"((?:\(1[3-9][0-9]\) ?|1[3-9][0-9])(?:[ ./-]?[0-9]){{8}})){_AFTER_MOBILE}"
    r"(?P<decimals>\.[0-9]{2,4}(?![0-9号栋楼室]))?(?P<more>[ -][0-9])?)"
)
_MOBILE_PLAN = re.compile(r"\(?1(?:[38][0-9]|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|9[0-35-9])")
_MOBILE_GROUPS = {(4, 3, 4), (3, 3, 5), (3, 8), (7, 4), (5, 6), (4, 4, 3), (5, 3, 3)}
_FIXED = re.compile(
    rf"{_EDGE}{_NOT_AMID}("
    r"(?:\(0[1-9][0-9]{1,2}\)|0[1-9][0-9]{1,2}|(?:\(86\) ?|86[ -])[1-9][0-9]{1,2}(?=[ -]))[ /-]?"
    rf"[2-9][0-9]{{2,3}}[ -]?[0-9]{{4}})"
    rf"{_EXTENSION}{AFTER}",
    re.IGNORECASE,
)
_SERVICE = re.compile(rf"{_EDGE}{_NOT_AMID}[48]00(?:[ -]?[0-9]){{7}}{WHOLE}(?!-[0-9])")
_SERVICE_GROUPS = {(3, 3, 4), (3, 4, 3), (3, 7), (4, 3, 3), (4, 6), (10,)}
_ABROAD = re.compile(
    rf"(?<![0-9A-Za-z+])((?:\+|00)[1-9](?:[ ().-]{{0,2}}[0-9]){{6,14}})(?: ?(?:ext|x)\.? ?[0-9]{{1,6}})?{WHOLE}",
    re.IGNORECASE,
)
_AMERICAN = re.compile(
    rf"{_EDGE}{_NOT_AMID}(?<!\+)(?:1[ .-]?)?(?:\([2-9][0-9]{{2}}\) ?|[2-9][0-9]{{2}}[ .-]?)"
    rf"[2-9][0-9]{{2}}[ .-]?[0-9]{{4}}"
    rf"(?: ?(?:ext|x)\.? ?[0-9]{{1,6}})?{WHOLE}(?!-[0-9])",
    re.IGNORECASE,
)
_AS_PHONES_ARE = re.compile(r"\(|(?:1[.-])?[0-9]{3}([.-])[0-9]{3}\1[0-9]{4}")
_NATIONAL = re.compile(
    rf"{_EDGE}{_NOT_AMID}(?:\([0-9]{{1,5}}\)|[0-9])(?:[ ./-]{{0,2}}[0-9]){{3,16}}{WHOLE}(?!-[0-9A-Za-z])"
)
_LABELLED = re.compile(
    r"(?:(?<![a-z])(?:tel|telephone|phone|mobile|cell|fax|whatsapp|call(?:ed|ing)?(?: [a-z]{2,8}){0,2})"
    r"|手机|手機|联系方式|(?P<sure>电话|電話|传真|座机|致电))(?: ?(?:number|no\.?|号码?))?"
    r"(?: ?[:#]\s{0,2}| (?:is|at|on) |是|为|(?(sure) ?|(?!)))"
    rf"(?P<number>\(?[0-9](?:[ ()./-]{{0,2}}[0-9]){{6,14}}){WHOLE}",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[./-][01]?[0-9][./-][0-3]?[0-9]|[0-3]?[0-9][./-][0-3]?[0-9][./-](?:19|20)[0-9]{2}"
)
_AMERICA = frozenset({"US", "CA"})


def phone_detector(regions: Sequence[str]) -> Detector:
    """A detector of `phone`; numbers of `regions` are known without a country code."""
    others = [region for region in regions if region != "CN" and region not in _AMERICA]
    american = next((region for region in regions if region in _AMERICA), None)

    def find(text: str) -> Iterator[Found]:
        known = {one.start: one for one in _chinese(text)} if "CN" in regions else {}
        yield from known.values()
        yield from _abroad(text, known)
        if american:
            yield from _national(text, known, american, _AMERICAN, strict=False)
        for region in others:
            yield from _national(text, known, region, _NATIONAL, strict=True)
        yield from _labelled(text)

    return find


def _chinese(text: str) -> Iterator[Found]:
    for match in _MOBILE.finditer(text):
        groups = grouping(match[2])
        usual = groups in ((11,), (3, 4, 4))
        if usual or (groups in _MOBILE_GROUPS and not re.search("[./]", match[2]) and not match["more"]):
            called = is_called(text, match.start(), _WORDS)
            planned = _MOBILE_PLAN.match(match[2]) is not None
            if called or (planned and not match["decimals"]):
                yield Found(*match.span(1), "phone", planned and called is not False)
    for match in _FIXED.finditer(text):
        called = not match[1].isdigit() or is_called(text, match.start(), _WORDS) is not False
        if called and _is_valid(match[1], "CN"):
            yield Found(*match.span(), "phone", True)
    for match in _SERVICE.finditer(text):
        groups = grouping(match[0])
        called = is_called(text, match.start(), _WORDS)
        if groups in _SERVICE_GROUPS and (called or (called is None and len(groups) > 1)):
            yield Found(*match.span(), "phone")


def _abroad(text: str, known: Container[int]) -> Iterator[Found]:
    """With a country code: the longest part from the code on that is a number, if other digits follow it."""
    for match in _ABROAD.finditer(text):
        number, called = match[1], is_called(text, match.start(), _WORDS)
        if match.start() in known or (number[0] == "0" and number.isdigit() and not called):
            continue
        if _is_valid("+" + number.lstrip("+0"), None):
            yield Found(*match.span(), "phone", True)
        elif shorter := _shortened(number):
            yield Found(match.start(), match.start() + shorter, "phone", True)
        elif called or (not number[1:].isdigit() and _is_possible("+" + number.lstrip("+0"))):
            yield Found(*match.span(), "phone")


def _shortened(number: str) -> int:
    """How many characters remain of a number without the groups at its end that are none of its own; 0: it is none."""
    for _ in range(2):
        number = re.sub(r"[ ().-]+[0-9]+\Z", "", number)
        if _is_valid("+" + number.lstrip("+0"), None):
            return len(number)
    return 0


def _national(text: str, known: Container[int], region: str, pattern: re.Pattern[str], strict: bool) -> Iterator[Found]:
    """Of one region: the numbering plan has it, or it is written as its phone numbers are, or a word says so."""
    for match in pattern.finditer(text):
        if match.start() in known or not 7 <= len(re.sub("[^0-9]", "", match[0])) <= 17 or _DATE.match(match[0]):
            continue
        called = is_called(text, match.start(), _WORDS)
        if called is False or (called is None and match[0].isdigit()):
            continue
        if _is_valid(match[0], region, strict=strict and not called):
            yield Found(*match.span(), "phone", True)
        elif not strict and (called or _AS_PHONES_ARE.match(match[0])):
            yield Found(*match.span(), "phone")


def _labelled(text: str) -> Iterator[Found]:
    """What is said to be a phone number, of whatever region."""
    for match in _LABELLED.finditer(text):
        if not _DATE.match(match["number"]):
            yield Found(*match.span("number"), "phone")


def _is_valid(number: str, region: str | None, strict: bool = False) -> bool:
    phonenumbers = _library()
    if strict:
        leniency = phonenumbers.Leniency.STRICT_GROUPING
        return any(phonenumbers.PhoneNumberMatcher(number, region, leniency=leniency))
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False


def _is_possible(number: str) -> bool:
    phonenumbers = _library()
    try:
        reason = phonenumbers.is_possible_number_with_reason(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return False
    return reason == phonenumbers.ValidationResult.IS_POSSIBLE


def _library() -> ModuleType:
    import phonenumbers

    return phonenumbers
