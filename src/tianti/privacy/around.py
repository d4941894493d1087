"""What may stand around a number, and which words say what it is.

`\\b` is of no use here: it counts Chinese characters as part of a word, so that a number in Chinese text has no edge.

Not here: what is found. Invariant: only ASCII letters and digits, and a decimal point, are a number's own; the dot of
a list ("1.") is no decimal point.
"""

import re

# of two measured values, such as a place, the second is none of a list
_NO_PAIR = "".join(rf"(?<!{whole}\.[0-9]{{11}},{blank})" for whole in ("[2-9][0-9]", "[0-9]{3}") for blank in ("", " "))
# up to 19 anywhere; more is rather measured, but after a line break
LISTED = rf"(?:(?<={_NO_PAIR}(?<![0-9.])[1-9]\.)|(?<={_NO_PAIR}(?<![0-9.])1[0-9]\.)|(?<=\n[1-9][0-9]\.))"
# nor has a decimal point another dot close before it, or as many digits
NOT_DECIMALS = rf"(?!(?<=[0-9]\.)(?!{LISTED}|(?<=\.[0-9]\.)|(?<=\.[0-9]{{2}}\.)|(?<=[0-9]{{9}}\.)))"
BEFORE = rf"(?<![0-9A-Za-z]){NOT_DECIMALS}"
AFTER = r"(?![0-9A-Za-z])"
WHOLE = rf"{AFTER}(?!\.[0-9])"
"""After a number that nothing proves: decimals say that it is an amount."""

_REACH = 32

# what numbers are called that are no card's and no phone's
_OTHERS = (
    "订单|单号|訂單|單號|运单|流水|编号|序列号|批次|交易号|快递|物流|包裹|条码|发票|货号|型号|工单|案号|合同"
    "|金额|房间?号"
)
_OTHERS_ENGLISH = (
    "order|tracking|track|invoice|serial|parcel|shipment|ticket|reference|ref|sku|isbn|batch|case|transaction|part|item"
    "|ssn|social security"
)

# what stands between such a word and the number that is called so
_LABEL = re.compile(
    r"[\s_-]?(?:(?:号码?|码|编号|no|number|id|code|sn)\.?(?:\s?(?:is|是|为))?)?[\s:#=_(\[\"'“「-]{0,6}(?:[0-9]{2,8}-){0,2}\Z",
    re.IGNORECASE,
)


def words(chinese: str, english: str) -> re.Pattern[str]:
    """A pattern for `is_called`: what numbers of a kind are called (alternatives of a regular expression)."""
    of_kind, of_others = f"{chinese}|(?<![a-z])(?:{english})", f"{_OTHERS}|(?<![a-z])(?:{_OTHERS_ENGLISH})s?(?![a-z])"
    return re.compile(f"(?P<kind>{of_kind})|{of_others}", re.IGNORECASE)


def is_called(text: str, start: int, called: re.Pattern[str]) -> bool | None:
    """Whether a word before `start` is one of a kind's; not if another's labels the number; None: there is neither."""
    said = None
    for match in called.finditer(text, max(0, start - _REACH), start):
        if match["kind"] is not None:
            said = True
        elif _LABEL.match(text, match.end(), start):
            said = False
    return said


def grouping(number: str) -> tuple[int, ...]:
    """How many characters are in each of a number's groups, whatever parts them."""
    return tuple(map(len, re.findall("[0-9A-Za-z]+", number)))


def bare(number: str) -> str:
    """A number without what parts its groups."""
    return re.sub("[^0-9A-Za-z]", "", number)
