"""Find personal data and secrets in a text: normalise it, run what may find something, settle overlaps, map back.

A text of which there are two readings (`normalise.loosely`) is looked into twice.

Not here: replacing, policies. Invariant: what is found are characters of the original text, in order, without overlaps.
"""

import re
import traceback
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tianti.errors import PrivacyError
from tianti.privacy.addresses import find_emails, find_ips
from tianti.privacy.assigned import find_assigned
from tianti.privacy.cards import find_bank_cards, find_ibans
from tianti.privacy.contract import Detector, Found
from tianti.privacy.identities import find_credit_codes, find_id_cards, find_plates, find_ssns
from tianti.privacy.normalise import Normal, loosely, normalise
from tianti.privacy.phones import phone_detector
from tianti.privacy.secrets import (
    find_api_keys,
    find_private_keys,
    find_tokens,
    find_url_credentials,
)
from tianti.spec.privacy import SECRETS, TYPES


class _BuiltIn(NamedTuple):
    """Looks only into texts that may have something: so many digits in a row, whatever parts groups, and a mark."""

    find: Detector
    types: frozenset[str]
    digits: int = 0
    marks: tuple[str, ...] = ()

    def is_worth(self, text: str, digits: int) -> bool:
        return digits >= self.digits and (not self.marks or any(mark in text for mark in self.marks))


_NAMES = ("pass", "pw", "secret", "token", "key", "sess", "cred", "密", "秘", "私", "口令", "令牌")
_ROW = re.compile(r"[0-9](?:[ .()/-]{0,2}[0-9])*")


def _built_in(regions: Sequence[str]) -> tuple[_BuiltIn, ...]:
    return (
        _BuiltIn(find_id_cards, frozenset({"id_card", "id_card_unverified"}), digits=17),
        _BuiltIn(phone_detector(regions), frozenset({"phone"}), digits=7),
        _BuiltIn(find_bank_cards, frozenset({"bank_card"}), digits=12),
        _BuiltIn(find_credit_codes, frozenset({"uscc"}), digits=6),
        _BuiltIn(find_plates, frozenset({"plate"}), digits=1),
        _BuiltIn(find_ssns, frozenset({"us_ssn"}), digits=9),
        _BuiltIn(find_ibans, frozenset({"iban"}), digits=2),
        _BuiltIn(find_emails, frozenset({"email"}), marks=("@",)),
        _BuiltIn(find_ips, frozenset({"ip"}), digits=1, marks=(".", ":")),
        _BuiltIn(find_url_credentials, frozenset({"url_credentials"}), marks=("://",)),
        _BuiltIn(find_private_keys, frozenset({"private_key"}), marks=("private key",)),
        _BuiltIn(find_api_keys, frozenset({"api_key"})),
        _BuiltIn(find_tokens, frozenset({"token"})),
        _BuiltIn(find_assigned, frozenset({"api_key", "token"}), marks=_NAMES),
    )


class Finder:
    """Finds all built-in types, and those of a user's `own` detectors, each with the types that it may find.

    `wanted` are the types worth looking for; None: all.
    """

    def __init__(
        self,
        regions: Sequence[str],
        own: Sequence[tuple[Detector, frozenset[str]]] = (),
        wanted: frozenset[str] | None = None,
    ) -> None:
        self._wanted = wanted
        self._built_in = tuple(one for one in _built_in(regions) if wanted is None or one.types & wanted)
        self._own = tuple(own)

    def find(self, text: str) -> list[Found]:
        """What is in `text`, by place; of two that overlap the secret, the proven one, the longer one, the earlier one.

        Raises:
            PrivacyError: a detector of one's own found a type that it did not declare, or what is not in the text.
        """
        normal = normalise(text)
        found = settle(self._look(normal))
        if (loose := loosely(normal)) is not None:
            found = settle((*found, *self._look(loose)))
        return found

    def _look(self, normal: Normal) -> list[Found]:
        """What is in one reading of a text, where it is in the original."""
        digits = max(map(_digits, _ROW.findall(normal.text)), default=0)
        low = normal.text.lower()
        found = [one for rule in self._built_in if rule.is_worth(low, digits) for one in rule.find(normal.text)]
        for detector, types in self._own:
            found += _declared(detector, types, normal.text)
        if self._wanted is not None:
            found = [one for one in found if one.kind in self._wanted]
        return [Found(*normal.span(one.start, one.end), one.kind, one.proven) for one in found]


def settle(found: Iterable[Found]) -> list[Found]:
    """Those that overlap no better one, by place; of secrets and of types of one's own also what sticks out.

    A phone number inside an address must not bring the rest of the address out.
    """
    kept: list[Found] = []
    for one in sorted(found, key=_rank):
        place = bisect_left(kept, (one.start,))
        if place > 0 and kept[place - 1].end > one.start:
            place -= 1
        better = kept[place : bisect_left(kept, (one.end,), place)]
        if not better:
            kept.insert(place, one)
        elif one.kind in SECRETS or one.kind not in TYPES:
            kept[place : place + len(better)] = sorted((*better, *_around(one, better)))
    return kept


def _around(one: Found, better: Sequence[Found]) -> Iterator[Found]:
    starts, ends = (one.start, *(other.end for other in better)), (*(other.start for other in better), one.end)
    return (Found(start, end, one.kind) for start, end in zip(starts, ends, strict=True) if start < end)


def _rank(one: Found) -> tuple[bool, bool, int, int]:
    return one.kind not in SECRETS, not one.proven, one.start - one.end, one.start


def _digits(row: str) -> int:
    return sum(map(str.isdigit, row))


def _declared(detector: Detector, types: frozenset[str], text: str) -> list[Found]:
    listed = _asked(detector, text)
    for one in listed:
        if one.kind not in types:  # whose name is not told: it may be what was found, misplaced
            expected = ", ".join(sorted(types))
            raise PrivacyError(f"a detector found another type than {expected}: add the type to its `types`")
        if not 0 <= one.start < one.end <= len(text):
            place = f"{one.start} to {one.end}"
            raise PrivacyError(
                f"a detector found {one.kind!r} at {place} of {len(text)} characters: it must be in the text"
            )
    return listed


def _asked(detector: Detector, text: str) -> list[Found]:
    try:
        return [Found(*one) for one in detector(text)]
    except Exception as error:  # whatever a user's detector does
        name, last = type(error).__name__, traceback.extract_tb(error.__traceback__)[-1]
    # out here, so that it has no cause: its message may quote the text
    raise PrivacyError(f"a detector failed with {name} at {last.filename}:{last.lineno}: correct it")
