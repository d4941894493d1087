"""Bytes of a data file to text: unpack gzip, refuse what is binary, and name the encoding that would have fitted.

Not here: what the text means (`read`). Invariant: a byte is never replaced or skipped; it is decoded or an error.
"""

import codecs
import gzip
import zlib

from tianti.errors import DataError

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV UTF-8",
    b"BZh": "bzip2; unpack it or pack it with gzip",
    b"\xfd7zXZ": "xz; unpack it or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard; unpack it or pack it with gzip",
}
_WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD_BYTES = 65_536
# Encodings are guessed from this many characters beyond ASCII, and trusted when this share fits.
_GUESS_CHARACTERS = 2_000
_GUESS_SHARE = 0.5
# This many characters beyond ASCII are not valid UTF-8 by accident.
_SURE_CHARACTERS = 10


def unpack(content: bytes, origin: str) -> bytes:
    """The bytes inside gzip, or the bytes themselves; by what they are, not by the file's name.

    Raises:
        DataError: the archive is cut off or damaged, or there is nothing in it.
    """
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{origin}: expected a whole gzip file, got: {error}; fetch or pack it again") from error
    if not content.strip():
        raise DataError(f"{origin}: expected rows, got an empty file; check that it was written or fetched whole")
    return content


def decode(content: bytes, encoding: str | None, origin: str) -> str:
    """Text of a file, UTF-8 unless `encoding` (data.encoding) says otherwise; a byte order mark is dropped.

    Raises:
        DataError: the file is binary, or not in this encoding; the message names the place and the likely encoding.
    """
    name = encoding or "utf-8"
    try:
        wide = codecs.lookup(name).name.startswith(("utf-16", "utf-32"))
        if not wide:
            _refuse_binary(content, origin)
            if encoding and codecs.lookup(name).name != "utf-8":
                _refuse_utf8(content, encoding, origin)
        text = content.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        place = f"byte 0x{content[error.start]:02x} at byte {error.start:,} (line {line:,})"
        raise DataError(f"{origin}: expected {name} text, got {place}; {_cure(content, name)}") from error
    except (LookupError, ValueError) as error:
        cure = "use a name that Python knows, such as utf-8, gb18030 or utf-16"
        raise DataError(f"data.encoding: expected the name of a text encoding, got {name!r}; {cure}") from error
    if not text.strip():
        raise DataError(f"{origin}: expected rows, got an empty text; check that it was written or fetched whole")
    return text


def _refuse_binary(content: bytes, origin: str) -> None:
    for magic, found in _OTHER_FORMATS.items():
        if content.startswith(magic):
            raise DataError(f"{origin}: expected csv, tsv, jsonl, json or parquet, gzipped or not; got {found}")
    if b"\0" in content[:_HEAD_BYTES] and not content.startswith(_WIDE_BOMS):
        cure = "name the file of the rows; text in UTF-16 needs data.encoding: utf-16"
        raise DataError(f"{origin}: expected text, got a binary file; {cure}")


def _refuse_utf8(content: bytes, encoding: str, origin: str) -> None:
    """UTF-8 decodes in other encodings too, to nonsense: say so rather than train on it."""
    try:
        beyond_ascii = sum(character > "\x7f" for character in content[:_HEAD_BYTES].decode("utf-8", "ignore"))
        content.decode("utf-8")
    except UnicodeDecodeError:
        return
    if beyond_ascii >= _SURE_CHARACTERS:
        cure = "remove data.encoding, or convert the other files to UTF-8 too"
        raise DataError(f"{origin}: expected {encoding} text (data.encoding), got UTF-8; {cure}")


def _cure(content: bytes, tried: str) -> str:
    if tried == "utf-8":
        broken = _broken_places(content)
        if broken is not None:
            return f"nearly all of it is UTF-8, with {broken} broken places: repair or remove those rows"
    guess = _guess(content, tried)
    if guess is None:
        return "convert the file to UTF-8, or name its encoding as data.encoding (or --encoding)"
    return f"it looks like {guess}: " + (
        "remove data.encoding" if guess == "utf-8" else f"set data.encoding: {guess} (or --encoding)"
    )


def _broken_places(content: bytes) -> int | None:
    """How many characters are broken in what is otherwise UTF-8; None where it is not."""
    text = content.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    beyond_ascii = sum(character > "\x7f" for character in text) - broken
    return broken if broken * 10 < beyond_ascii else None


def _guess(content: bytes, tried: str) -> str | None:
    if content.startswith(_WIDE_BOMS):
        return "utf-16"
    if tried != "utf-8" and _decodes(content, "utf-8"):
        return "utf-8"
    if tried != "gb18030" and _decodes(content, "gb18030"):
        sample = "".join(c for c in content.decode("gb18030") if c > "\x7f")[:_GUESS_CHARACTERS]
        # common Chinese is in GB 2312, of which GB 18030 is the superset; what happens to decode is mostly not
        if len(sample.encode("gb2312", "ignore")) / 2 >= _GUESS_SHARE * len(sample):
            return "gb18030"
    return "latin-1" if tried != "latin-1" else None


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
