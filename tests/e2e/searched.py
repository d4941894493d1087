"""Values planted in texts, and the search for them in whatever processes have written, however it encodes them.

Not here: the processes (`nothing_kept`).
"""

import base64
import gzip
import hashlib
import html
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from tests.tiny_release import WORDS
from tianti.privacy import RULES
from tianti.spec.privacy import PrivacyPolicy

VALUES: Mapping[str, str] = {
    "phone": "139-1827-4655",
    "email": "li.ming.8842@mail.example.com",
    "id_card": "11010519491231002X",
    "bank_card": "6222 0212 3456 7894",
    "api_key": "AKIAQ3EGRXZT5YVKP2WM",
    "nothing that a pattern finds": "欧阳靖宇·昭阳巷",
}
POLICY = PrivacyPolicy(
    rules=RULES, default="redact", types={"id_card": "local_only", "email": "allow"}, regions=("CN", "US")
)
LENGTH = 8
"""Of a text that the model reads, in words: what follows them is cut off, so that a word alone says who answers."""
_FEW = 7  # digits of a value in one go, that nothing else would have by chance


def planted_texts() -> list[str]:
    """One for each value and each tier that could answer it; in the tiny release's words."""
    return [f"{' '.join([word] * LENGTH)} {value}" for word in WORDS["lights"] for value in VALUES.values()]


class Hit(NamedTuple):
    """A value, and how it was encoded where it was found."""

    kind: str
    encoding: str
    where: str


def encodings(value: str) -> Iterator[tuple[str, bytes]]:
    """A value's bytes, as programs write what they are given."""
    plain = value.encode()
    yield "as it is", plain
    if len(digits := re.sub(r"\D", "", value)) > _FEW:
        yield "digits only", digits.encode()
    yield "ascii with escapes", value.encode("ascii", "backslashreplace")
    points = [f"{unit:04x}" for unit in memoryview(value.encode("utf-16-le")).cast("H")]
    yield "every character escaped", "".join(rf"\u{point}" for point in points).encode()
    yield "every character escaped", "".join(rf"\u{point.upper()}" for point in points).encode()
    for quoted in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield "quoted for a URL", quoted.encode()
        yield "quoted for a URL", re.sub("%..", lambda found: found[0].lower(), quoted).encode()
    yield "escaped for HTML", html.escape(value).encode()
    yield "escaped for HTML", value.encode("ascii", "xmlcharrefreplace")
    for written in ("utf-16-le", "utf-16-be", "utf-32-le", "gb18030"):
        yield written, value.encode(written)
    yield "hexadecimal", plain.hex().encode()
    yield "hexadecimal", plain.hex().upper().encode()
    for shift in range(3):  # where it begins within three bytes
        padded = base64.b64encode(b"\0" * shift + plain)[-(-shift * 4 // 3) : (shift + len(plain)) * 4 // 3]
        yield "base64", padded
        yield "base64", padded.translate(bytes.maketrans(b"+/", b"-_"))
    for name in ("md5", "sha1", "sha256", "blake2b"):  # without a key: whoever knows such a value finds it again
        digest = hashlib.new(name, plain)
        yield name, digest.digest()
        yield name, digest.hexdigest().encode()


@cache
def _looked_for() -> "tuple[re.Pattern[bytes], dict[bytes, tuple[str, str]]]":
    known: dict[bytes, tuple[str, str]] = {}
    for kind, value in VALUES.items():
        for encoding, found in encodings(value):
            known.setdefault(found, (kind, encoding))
    for text in planted_texts():
        for encoding, found in list(encodings(text))[-8:]:
            known.setdefault(found, ("a whole text", encoding))
    longest_first = sorted(known, key=len, reverse=True)
    return re.compile(b"|".join(map(re.escape, longest_first))), known


def find(content: bytes, where: str = "") -> list[Hit]:
    """All planted values in some bytes, packed ones too."""
    pattern, known = _looked_for()
    if content.startswith(b"\x1f\x8b"):
        content += gzip.decompress(content)
    return [Hit(*known[found], where) for found in sorted(set(pattern.findall(content)))]


def find_below(folder: Path) -> list[Hit]:
    """All planted values in all files below a folder, and in their names."""
    hits = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        hits += find(name.encode(), f"the name of {name}")
        if path.is_file():
            hits += find(path.read_bytes(), name)
    return hits
