"""Secrets that their form shows: keys and tokens of well-known forms, headers, URLs' credentials, private keys.

Not here: what only a name beside it shows (`assigned`); long random strings with neither, which are hashes as often.
Invariant: the time is linear.
"""

import re
from collections.abc import Iterator

from tianti.privacy.contract import Found

_EDGE = "(?<![0-9A-Za-z])"
_KEY = re.compile(
    _EDGE + "(?:A(?:KIA|SIA|IDA|ROA)[0-9A-Z]{16}(?![0-9A-Za-z])"  # AWS
    r"|AIza[\w-]{35}"  # Google
    r"|sk-(?=[A-Za-z_-]{0,60}[0-9])[\w-]{20,250}"  # OpenAI and those who took over its form
    r"|(?:[rsp]k_(?:live|test)|whsec)_[0-9A-Za-z]{16,250}"  # Stripe
    r"|LTAI[0-9A-Za-z]{12,26}|AKID[0-9A-Za-z]{32}|AKLT[\w-]{20,64}"  # Alibaba, Tencent, Volcano
    r"|SG\.[\w-]{16,32}\.[\w-]{30,64}|key-[0-9a-f]{32}"  # SendGrid, Mailgun
    r"|(?:AC|SK)[0-9a-f]{32}(?![0-9A-Za-z])"  # Twilio
    r"|gsk_[0-9A-Za-z]{40,60}|nvapi-[\w-]{60,80}|xai-[0-9A-Za-z]{60,100})",  # Groq, NVIDIA, xAI
    re.ASCII,
)
_TOKEN = re.compile(
    _EDGE + r"(?:gh[opsru]_[0-9A-Za-z]{36,255}|github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}|glpat-[\w-]{20,64}"
    r"|xox[abeoprs]-[0-9A-Za-z-]{20,250}|xapp-[0-9A-Za-z-]{20,250}|(?<=hooks\.slack\.com/services/)T\w+/B\w+/\w{20,40}"
    r"|(?<=qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=)[\w-]{36}|(?<=open-apis/bot/v2/hook/)[\w-]{36}"
    r"|npm_[0-9A-Za-z]{36}|hf_[0-9A-Za-z]{30,40}|pypi-AgE[\w-]{50,250}|do[opr]_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-f]{32}"
    r"|[0-9]{8,10}:AA[\w-]{33})",  # Telegram
    re.ASCII,
)
# from where its word begins: tried at each "-eyJ" of a long word, the time would be the square of its length
_JSON_WEB_TOKEN = re.compile(
    rf"(?<![\w-])[\w-]{{0,64}}?{_EDGE}(eyJ[\w-]{{8,4000}}(?:\.[\w-]{{0,8000}}){{2,4}})", re.ASCII
)
_WITH_DIGIT = "(?=[A-Za-z._~+/-]{0,60}[0-9])"
_HEADER = re.compile(
    r"(?:authorization[\"']?[ \t]{0,3}[:=]\s{0,3}[\"']?"
    rf"(?:(?:bearer|basic)[ \t]{{1,4}}|(?:[a-z][a-z0-9-]{{1,20}}[ \t]{{1,4}})?{_WITH_DIGIT})"
    rf"|(?<![A-Za-z])(?:bearer|basic)[ \t]{{1,4}}{_WITH_DIGIT})([\w.~+/-]{{16,4000}}={{0,2}})",
    re.A | re.I,
)
_DOTTED = r"[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
_PORT = r":[0-9]{1,5}(?:[/?#,]|[^!-~]|\Z)"
_URL = re.compile(
    r"(?:(?P<web>https?)|(?<!http)(?<!https))://"
    rf"(?(web)(?![\w.-]{{0,128}}{_PORT}|{_DOTTED}:[0-9]{{1,5}}@(?!localhost)[\w-]{{1,63}}(?![\w.:/-]))"
    rf"|(?!(?:[\w.-]{{0,128}}@)?{_DOTTED}{_PORT}))"
    r"(?P<found>[^\s:/?#\"'<>\[]{0,128}:(?!\$?[{(<][^{}()<>\s]{0,64}[})>][@/?#])"
    r"(?:[^\s\"'`。、“”「」]|[\"'](?=[0-9A-Za-z])){1,160})"  # any sign: people write them as they are
    r"@(?(web)(?=[0-9A-Za-z\[])|(?=[^\s@]))",
    re.A | re.I,
)
_PEM_BEGIN, _PEM_END = (
    re.compile(
        rf"(?<!-)-{{2,}}[ \t]{{0,3}}{word} (?:[A-Z0-9]{{2,12}} ){{0,3}}PRIVATE KEY(?: BLOCK)?[ \t]{{0,3}}-{{2,}}",
        re.IGNORECASE,
    )
    for word in ("BEGIN", "END")
)
# on a private key's first line
_PROSE = re.compile(r"[\"'`”」』)]{0,2} ?(?:[^\x00-\x7f]|[,.;:?!]|[A-Za-z]{1,11}[ ,.?!])")
_KEY_LINE = re.compile("[0-9A-Za-z+/]{16}")


def find_api_keys(text: str) -> Iterator[Found]:
    """`api_key`, by form."""
    return (Found(*match.span(), "api_key", True) for match in _KEY.finditer(text))


def find_tokens(text: str) -> Iterator[Found]:
    """`token`, by form and in headers."""
    for match in _TOKEN.finditer(text):
        yield Found(*match.span(), "token", True)
    for pattern in (_HEADER, _JSON_WEB_TOKEN) if "eyJ" in text else (_HEADER,):
        for match in pattern.finditer(text):
            yield Found(*match.span(1), "token", True)


def find_url_credentials(text: str) -> Iterator[Found]:
    """`url_credentials`: `user:password` of a URL, up to its last @."""
    return (Found(*match.span("found"), "url_credentials", True) for match in _URL.finditer(text))


def find_private_keys(text: str) -> Iterator[Found]:
    """`private_key`: a PEM block from its first line to its last; without a last line, to the end of the text.

    Where that end is prose, and no key, what looks like a first line is only spoken of.
    """
    begin = _PEM_BEGIN.search(text)
    while begin:
        last = _PEM_END.search(text, begin.end())
        if last is None and _PROSE.match(text, begin.end()) and not _KEY_LINE.search(text, begin.end()):
            return
        end = last.end() if last else len(text)
        yield Found(begin.start(), end, "private_key", True)
        begin = _PEM_BEGIN.search(text, end)
