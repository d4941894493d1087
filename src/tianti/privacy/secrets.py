"""Secrets: keys and tokens of well-known forms, headers, what is assigned to a password's name, URLs' credentials.

What is assigned to a name of a key is an `api_key`, to that of a password, secret or token a `token`; only the value is
found, not the name.

Not here: long random strings without a form or a name, which are hashes as often. Invariant: the time is linear.
"""

import re
from collections.abc import Iterator

from tianti.privacy.contract import Found

_EDGE = "(?<![0-9A-Za-z])"
_KEY = re.compile(
    _EDGE + "(?:A(?:KIA|SIA|IDA|ROA)[0-9A-Z]{16}(?![0-9A-Za-z])"  # AWS
    r"|AIza[\w-]{35}"  # Google
    r"|sk-(?=[A-Za-z_-]{0,60}[0-9])[\w-]{20,250}"  # OpenAI and those who took over its form
    r"|[rsp]k_(?:live|test)_[0-9A-Za-z]{16,250}"  # Stripe
    r"|LTAI[0-9A-Za-z]{12,26}|AKID[0-9A-Za-z]{32}|AKLT[\w-]{20,64}"  # Alibaba, Tencent, Volcano
    r"|SG\.[\w-]{16,32}\.[\w-]{30,64}|key-[0-9a-f]{32}"  # SendGrid, Mailgun
    r"|(?:AC|SK)[0-9a-f]{32}(?![0-9A-Za-z])"  # Twilio
    r"|gsk_[0-9A-Za-z]{40,60}|nvapi-[\w-]{60,80}|xai-[0-9A-Za-z]{60,100})",  # Groq, NVIDIA, xAI
    re.ASCII,
)
_TOKEN = re.compile(
    _EDGE + r"(?:gh[opsru]_[0-9A-Za-z]{36,255}|github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}|glpat-[\w-]{20,64}"
    r"|xox[abeoprs]-[0-9A-Za-z-]{10,250}|xapp-[0-9A-Za-z-]{20,250}|(?<=hooks\.slack\.com/services/)T\w+/B\w+/\w{20,40}"
    r"|npm_[0-9A-Za-z]{36}|hf_[0-9A-Za-z]{30,40}|pypi-AgE[\w-]{50,250}|do[opr]_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-f]{32}"
    r"|eyJ[\w-]{8,4000}(?:\.[\w-]{0,8000}){2,4}"  # JSON web token
    r"|[0-9]{8,10}:AA[\w-]{33})",  # Telegram
    re.ASCII,
)
_HEADER = re.compile(
    r"(?<![A-Za-z])(?:bearer|basic)[ \t]{1,4}"
    r"(?:(?<=authorization: basic )|(?<=authorization: bearer )|(?=[A-Za-z._~+/-]{0,60}[0-9]))("
    r"[\w.~+/-]{16,4000}={0,2})",
    re.A | re.I,
)
_URL = re.compile(
    r"://([\w.~!$&*+=%-]{0,128}:[\w.~!$&()*+=%:;^-]{1,128}(?:@[\w.~!$&()*+=%:;^-]{1,128})?)@(?=[0-9A-Za-z\[])", re.A
)
_ASSIGNED = re.compile(
    r"(?:(?P<key>api[_-]?key|access[_-]?key(?:[_-]?(?:id|secret))?|secret[_-]?(?:access[_-]?)?key|auth[_-]?key|密钥|密鑰)"
    r"|password|passwd|passphrase|pwd|(?<![A-Za-z])pass|secret|token|j?session[_-]?id|密码|密碼|口令|令牌)"
    r"(?P<quoted>[\"']?)[ \t]{0,3}"
    r"(?:(?P<sure>=>|:=|=)|:|是|为|is(?= )|(?<=[码碼令牌钥鑰])(?=[ 0-9A-Za-z]))[ \t]{0,3}"
    r"(?:\"(?P<double>[^\"\r\n]{4,250})\"|'(?P<single>[^'\r\n]{4,250})'|(?P<plain>[!#-&(-+./0-9:=?-Z^-z|~-]{4,250}))",
    re.IGNORECASE,
)
_NO_VALUE = re.compile(  # a variable, a call, a mask, a word of code
    r"(?-i:\$[A-Z_][A-Z0-9_]*\Z)|\$[{(]|%(?:[sdr](?![0-9A-Za-z])|[(])|[<{[]|[\w.]+[(\[]|os\.|process\.|self\.|(.)\1*\Z"
    r"|(?:none|null|nil|true|false|undefined|required|optional|string|str|bool)\Z",
    re.IGNORECASE,
)
_PEM_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"[0-9A-Za-z+/=\\\s]*")


def find_api_keys(text: str) -> Iterator[Found]:
    """`api_key`, by form."""
    return (Found(*match.span(), "api_key", True) for match in _KEY.finditer(text))


def find_tokens(text: str) -> Iterator[Found]:
    """`token`, by form and in headers."""
    for match in _TOKEN.finditer(text):
        yield Found(*match.span(), "token", True)
    for match in _HEADER.finditer(text):
        yield Found(*match.span(1), "token", True)


def find_assigned(text: str) -> Iterator[Found]:
    """`api_key` and `token` by the name that a value has; after a colon or a verb with a digit or a quoted name."""
    for match in _ASSIGNED.finditer(text):
        value = match["double"] or match["single"] or match["plain"].rstrip(".,:;?!)")
        least = 4 if match["sure"] else 6
        if len(value) < least or _NO_VALUE.match(value) or not value.isascii():
            continue
        if match["sure"] or match["quoted"] or any(character.isdigit() for character in value):
            start = match.start(match.lastgroup or 0)
            yield Found(start, start + len(value), "api_key" if match["key"] else "token")


def find_url_credentials(text: str) -> Iterator[Found]:
    """`url_credentials`: `user:password` of a URL."""
    return (Found(*match.span(1), "url_credentials", True) for match in _URL.finditer(text))


def find_private_keys(text: str) -> Iterator[Found]:
    """`private_key`: a PEM block, from its first line to its last, or as far as what looks like one goes."""
    begin, has_end = _PEM_BEGIN.search(text), True
    while begin:
        last = _PEM_END.search(text, begin.end()) if has_end else None
        has_end = last is not None
        body = last or _PEM_BODY.match(text, begin.end())
        end = body.end() if body else begin.end()
        yield Found(begin.start(), end, "private_key", True)
        begin = _PEM_BEGIN.search(text, end)
