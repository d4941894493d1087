"""What may stand around a number, and which words say what it is.

`\\b` is of no use here: it counts Chinese characters as part of a word, so that a number in Chinese text has no edge.

Not here: what is found. Invariant: only ASCII letters and digits, and a decimal point, are a number's own.
"""

import re

BEFORE = r"(?<![0-9A-Za-z])(?<![0-9]\.)"
AFTER = r"(?![0-9A-Za-z])(?!\.[0-9])"

_REACH = 32

# what numbers are called that are no card's and no phone's
_OTHERS = "订单|单号|訂單|單號|运单|流水|编号|序列号|批次|交易号|快递|物流|包裹|条码|发票|货号|型号|工单|案号|合同"
_OTHERS_ENGLISH = (
    "order|tracking|track|invoice|serial|parcel|shipment|ticket|reference|ref|sku|isbn|batch|case|transaction"
    "|ssn|social security"
)


def words(chinese: str, english: str) -> re.Pattern[str]:
    """A pattern for `is_called`: what numbers of a kind are called (alternatives of a regular expression)."""
    of_kind, of_others = f"{chinese}|(?<![a-z])(?:{english})", f"{_OTHERS}|(?<![a-z])(?:{_OTHERS_ENGLISH})(?![a-z])"
    return re.compile(f"(?P<kind>{of_kind})|{of_others}", re.IGNORECASE)


def is_called(text: str, start: int, called: re.Pattern[str]) -> bool | None:
    """Whether the nearest word before `start` is one of a kind's; None: there is neither such a word nor another's."""
    said = [match["kind"] is not None for match in called.finditer(text, max(0, start - _REACH), start)]
    return said[-1] if said else None


def grouping(number: str) -> tuple[int, ...]:
    """How many characters are in each of a number's groups, which single blanks, dashes or dots part."""
    return tuple(len(part) for part in re.split("[ .-]", number))


def bare(number: str) -> str:
    """A number without what parts its groups."""
    return re.sub("[ .-]", "", number)
