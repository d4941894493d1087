"""A detector of your own: one function. Name it in ladder.yaml and put this file beside it, on every device too:

    privacy: {own: [{use: "own_detector:members", types: [member]}]}

It is given a text whose digits are 0 to 9 and in which nothing is of zero width, and says which of its characters are
what. Here: member numbers, such as M-20418873, whose last digit is a check digit. A certificate is bound to the bytes
of this file; a detector that reads another file, such as a model, names that file's hash as its attribute `digest`.
"""

import re
from collections.abc import Iterator

from tianti.privacy import Found

# \b and \w take Chinese characters for letters of a word, so what may stand beside a number is said in full
_MEMBER = re.compile(r"(?<![0-9A-Za-z])[Mm]-?([0-9]{8})(?![0-9A-Za-z])")


def members(text: str) -> Iterator[Found]:
    """What ladder.yaml names."""
    for match in _MEMBER.finditer(text):
        digits = [int(digit) for digit in match[1]]
        if sum(digits[:-1]) % 10 == digits[-1]:
            yield Found(match.start(), match.end(), "member", proven=True)
