"""Secrets that only a name beside them shows: what is assigned to a password, a key, a token, or said to be one.

What a key's name has is an `api_key`, what a password's, secret's or token's name has a `token`; only the value is
found, not the name. After `=` any value counts that is no code and no mask; what is merely said needs more: a digit, or
signs and letters as no word has them.

Not here: secrets that have a form of their own (`secrets`). Invariant: the time is linear.
"""

import re
from collections.abc import Iterator

from tianti.privacy.contract import Found

_KEYS = (
    r"(?:api|access|auth|app|account|private|subscription|encryption|signing|master|aes|secret(?:[ _-]?access)?)"
    r"[ _-]?key(?:[ _-]?(?:id|secret))?"
    r"|app[ _-]?secret|[密秘私][钥鑰]"
)
_PASSWORDS = r"pass[ _-]?(?:word|code|phrase)|passwd|pwd|(?<![A-Za-z])pw|密 {0,4}[码碼]|口令"
_OTHERS = r"(?<![A-Za-z])pass|secret|token|credentials?|sess(?:ion)?[ _-]?id|令牌"
_SAID = (  # between name and value, besides = and the like
    r":(?:\*\*)?\s{0,6}|-{1,2}>?[ \t]{1,3}|[→⇒➜➡👉]\s{0,3}|={2,3}[ \t]{0,3}"
    r"|(?(password)(?:is|was|to)|is)(?=[ :])[ \t]{0,3}:?\s{0,3}"
    r"|[已经經被都就还還也又先重新设設置改换換更定修默认認预預现現在应應该該好像一直我的暂暫时時]{0,6}[是为為成係叫]了?"
    r"[ \t]{0,3}:?\s{0,3}"
    r"|>(?=[^<>\s]{4,64}</)|\|[ \t]{0,3}(?=[^\s|]{4,64}[ \t]{1,40}\|)"  # of XML, and of a table
    r"|[,\s]{1,12}[\"']?value[\"']?[ \t]{0,3}[:=]\s{0,3}"  # where name and value are named
    r"|[,(][ \t]{0,3}(?=\"[^\"\r\n]{4,64}\"\)|'[^'\r\n]{4,64}'\))"  # of a call
)
_BARE = (
    r"(?(password)(?:(?<=[码碼令])(?:默认|默認|预设|預設)?[ \t]{0,3}|[ \t]{1,3})"
    r"|(?:(?<=[牌钥鑰])[ \t]{0,3}|[ \t]{1,3}(?=[A-Za-z]{0,20}[0-9])(?=[0-9]{0,20}[A-Za-z])(?=[0-9A-Za-z]{20})))"
)
# quotes, brackets and backslashes inside it are its own, unless something of the text around goes on with them
_PLAIN = r"(?:[!#-&(-;=-\[\]-~]|<(?!/)|\\(?![nrt\"']|u[0-9A-Fa-f]{4})|(?<![,:;(=\[{])[\"'](?=[0-9A-Za-z]))"
_ASSIGNED = re.compile(
    rf"(?:(?P<key>{_KEYS})|(?P<password>{_PASSWORDS})|{_OTHERS})(?:(?P<quoted>[\"'])|\](?==[^ =])|[*`]{{0,2}})"
    r"(?:(?:\](?= ?= ?[\"']))?[ \t]{0,3}(?:\([^()\r\n]{1,20}\)[ \t]{0,3}(?=[:=是]))?"
    rf"(?:(?P<sure>=>|:=|=(?!=))[ \t]{{0,3}}|(?P<said>{_SAID}))"
    rf"|{_BARE}(?=[“‘「『【《\"'(]?[0-9A-Za-z!@#$%^&*_~<-])(?!\(?(?:https?:|www\.)))"
    r"(?:\"(?P<double>(?:\\.|[^\"\\\r\n]){4,250})\"|'(?P<single>(?:\\.|[^'\\\r\n]){4,250})'"
    r"|[“‘「『【《](?P<marked>[^“”‘’「」『』【】《》\r\n]{4,250})[”’」』】》]"
    rf"|[“‘「『【《\"'`(]?(?P<plain>{_PLAIN}{{4,64}}))",
    re.IGNORECASE,
)
_PLAINS = re.compile(f"{_PLAIN}+")
_IN_QUERY = re.compile(r"[?&][\w.-]{0,32}\Z", re.ASCII)
_NO_VALUE = re.compile(  # a mask, a variable, a word that stands for a value
    r"[*xX.·#_-]+\Z|(?-i:\$[A-Z_][A-Z0-9_]*\Z)|\$[{(]|%(?:[sdr](?![0-9A-Za-z])|[(])|[<\[{]+[\w .,-]*[>\]}]*\Z"
    r"|your(?:_[a-z]+)+\Z|(?:none|null|nil|true|false|undefined|required|optional|string|str|bool)[.!?]*\Z",
    re.IGNORECASE,
)
_CODE = re.compile(  # calls, what is looked up, and quotes with a prefix
    r"(?:os|process|self|super\(\))\.|function\(|(?:await|async|lambda|typeof)\Z"
    r"|(?:[a-z_$]\w{0,30}\.){1,4}\w{0,30}?(?:token|password|secret|key|pwd)(?:[,;|?:)\]}]|\Z)"
    r"|[A-Za-z_]+(?:\.[A-Za-z_]\w*)+[(\[]|[bfru][\"']"
    r"|[A-Za-z_]+[(\[](?:[\"']|\w*[)\]]+\Z|\w+=|\Z)|[A-Za-z]*_[A-Za-z_]*[(\[][\w.()\[\]]*\Z",
    re.IGNORECASE,
)
_RANDOM = re.compile("[0-9]|.[@#$%^]|[a-z][A-Z].*[a-z][A-Z]", re.DOTALL)
_WORDED = re.compile(  # has a digit, and is prose all the same
    r"(?:expired|invalid|incorrect|correct|wrong|valid|missing|required|locked|blocked|disabled|revoked)[0-9]\Z"
    r"|[0-9]{1,3}(?:[-~][0-9]{1,3})?-?(?:char|digit|letter|symbol|bit|byte|day|hour|minute|factor|step)[a-z-]*\Z"
    r"|[0-9]{1,2}[-~][0-9]{1,3}\Z",
    re.IGNORECASE,
)
_NEIGHBOUR = re.compile(  # what is merely next to a password's name: an address, a day, a time, a product
    r"[\w.+-]+@[\w-]+\.[A-Za-z.]+\Z|20[0-9]{2}([-/.])[01]?[0-9]\1[0-3]?[0-9](?:T|\Z)|[0-2]?[0-9]:[0-5][0-9](?::|\Z)"
    r"|(?:win(?:dows)?|office|outlook|microsoft|iphone|ipad|galaxy|xbox)[0-9]{1,3}\Z",
    re.IGNORECASE,
)
_UNITS = tuple("年月位个個次字元")


def find_assigned(text: str) -> Iterator[Found]:
    """`api_key` and `token` by the name that a value has."""
    at = 0
    while match := _ASSIGNED.search(text, at):
        at, end = match.span(next(group for group in ("double", "single", "marked", "plain") if match[group]))
        parts = "&" if match["plain"] and _IN_QUERY.search(text, max(0, match.start() - 33), match.start()) else ""
        value = _trimmed(text[at:end], parts) if match["plain"] else text[at:end]
        if not _is_secret(match, value, text[at + len(value) : at + len(value) + 1]):
            continue  # whose characters may have another name
        if match["plain"] and (whole := _PLAINS.match(text, at)):
            value = _trimmed(whole[0], parts)
        yield Found(at, at + len(value), "api_key" if match["key"] else "token")
        at += len(value)


def _trimmed(value: str, parts: str) -> str:
    """Without what ends a sentence, brackets that were opened before it, and what follows a sign that parts values."""
    value = value.partition(parts)[0] if parts else value
    around = "".join(closing for opening, closing in ("()", "[]", "{}", "<>") if opening not in value)
    return value.rstrip(".,:;?`" + around)


def _is_secret(match: re.Match[str], value: str, after: str) -> bool:
    if len(value) < 4 or not value.isascii() or _NO_VALUE.match(value) or _CODE.match(value):
        return False
    if match["sure"]:
        return True
    said, number = match["said"], value.rstrip("#").isdigit() and after not in _UNITS
    if len(value) < 6 and not (match["password"] and said and number):
        return False
    if match["quoted"] and said and said.startswith(":"):
        return True
    if not said and _NEIGHBOUR.match(value):
        return False
    return _RANDOM.search(value) is not None and not _WORDED.match(value)
