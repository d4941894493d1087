"""Addresses on the net: e-mail (RFC 5322, with letters of other scripts), IPv4 and IPv6.

Not here: credentials in URLs (`secrets`). Invariant: a Chinese word in front of an ASCII address is not part of it.
"""

import re
from collections.abc import Iterator

from tianti.privacy.around import LISTED
from tianti.privacy.contract import Found

_LATIN = r"\u00c0-\u024f\u0370-\u03ff\u0400-\u052f\u1e00-\u1fff"
# of what RFC 5322 allows besides, what stands between words in URLs and code is left out
_ATOM = rf"0-9A-Za-z{_LATIN}%'+_"
_HAN = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
_LABEL = rf"[0-9A-Za-z{_LATIN}](?:[0-9A-Za-z{_LATIN}-]{{0,62}}(?<!-))?"
_HAN_TOPS = (
    "中国|中國|公司|网络|網絡|网址|商城|集团|香港|台湾|台灣|澳门|手机|网店|在线|中文网|我爱你|政务|公益|移动"
    "|商店|企业|广东|信息|世界|みんな|한국"
)
_FILES = "png|jpe?g|gif|svg|webp|bmp|ico|pdf|css|js|ts|json|ya?ml|html?|tgz|zip|gz|whl|jar|py|md|txt"
# in this order: Chinese characters are part of it only where they stand right before the @
_LOCALS = tuple(
    re.compile(rf"(?:{local})\Z")
    for local in (rf"[{_ATOM}.-]{{1,64}}", r"\"[^\"\r\n]{1,62}\"", rf"[{_ATOM}{_HAN}.-]{{1,32}}")
)
_DOMAIN = re.compile(
    rf"(?:{_LABEL}\.){{1,8}}(?!(?:{_FILES})(?![0-9A-Za-z]))(?:xn--[0-9A-Za-z-]{{2,59}}|[A-Za-z{_LATIN}]{{2,24}})"
    rf"(?![A-Za-z{_LATIN}]|[0-9](?![0-9]{{10}}(?![0-9])))"
    rf"|(?:[0-9A-Za-z{_HAN}-]{{1,63}}\.){{1,4}}(?:{_HAN_TOPS})"
)
_V4 = re.compile(
    rf"(?=[1-9])(?:(?<![0-9A-Za-z.])|(?<=(?<![A-Za-z])[Ii][Pp])|{LISTED}(?=[0-9]{{2}}))"
    r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}"
    r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?![0-9A-Za-z]|\.[0-9]|节|章|条|版)"
)
_VERSION = re.compile(
    r"(?:version|(?<![a-z])ver|release|firmware|kernel|build|driver|python|php|section|chapter|clause"
    r"|版本号?|固件|内核|驱动|第|章|§)"
    r"[ .:是为=]{0,3}\Z",
    re.IGNORECASE,
)
_V6 = re.compile(
    rf"(?=[0-9A-Fa-f]{{1,4}}:[0-9A-Fa-f:])(?:(?<![0-9A-Za-z.])|{LISTED})(?<![0-9A-Fa-f:]:)"
    r"[0-9A-Fa-f:]{3,39}(?:(?:\.[0-9]{1,3}){3})?(?![0-9A-Za-z]|\.[0-9])"
)


_LONGEST_OF_BYTES = len("00:11:22:33:44:55:66:77")  # eight bytes, such as a device's number, read as an address too


def find_emails(text: str) -> Iterator[Found]:
    """`email`; a local part of Chinese characters begins where they do."""
    after = 0
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        start = _local_start(text, after, at) if domain else at
        if domain and start < at:
            yield Found(start, domain.end(), "email", True)
            after = domain.end()
        at = text.find("@", max(at + 1, after))


def _local_start(text: str, after: int, at: int) -> int:
    """Where the part before the @ begins; what only punctuates is no beginning."""
    for pattern in _LOCALS:
        if local := pattern.search(text, max(after, at - 64), at):
            return at - len(local[0].lstrip(".'-"))
    return at


def find_ips(text: str) -> Iterator[Found]:
    """`ip`; four numbers that are called a version or a section are none."""
    for match in _V4.finditer(text):
        if not _VERSION.search(text, max(0, match.start() - 12), match.start()):
            yield Found(*match.span(), "ip")
    for match in _V6.finditer(text):
        address = match[0] if match[0].endswith("::") else match[0].removesuffix(":")
        if address.count(":") >= 2 and _is_v6(address):
            yield Found(match.start(), match.start() + len(address), "ip", True)


def _is_v6(address: str) -> bool:
    """Whether it is an address that somebody may have: global, of a site, or of a link."""
    from ipaddress import AddressValueError, IPv6Address  # only a text that may have one pays for it

    try:
        first = int(IPv6Address(address)) >> 112
    except AddressValueError:
        return False
    return 0x2000 <= first < 0x4000 or first >= 0xFC00 or first == 0x64 or len(address) > _LONGEST_OF_BYTES
