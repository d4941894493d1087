"""What would leave of many texts, by type and policy: counted, before any of them is sent.

Not here: what becomes of one text (`redactor`), reading files and running models (the caller), words for people
(`risks`).
Invariants: no text is in a Scan, and of a value its first characters at most, where examples were asked for; each place
of a type is `readable`, `replaced` or `held`, and each text has one fate.
"""

from collections.abc import Callable, Iterable

import msgspec

from tianti.errors import PrivacyError
from tianti.privacy.contract import LONGEST, NOT_SEARCHED, Found, Leaving
from tianti.privacy.placeholders import Placeholders
from tianti.privacy.redactor import Redactor
from tianti.spec.privacy import SECRETS, TYPES, Handling, PrivacyPolicy

_FIRST_ROWS = 5
_SHOWN = 2
_SHOWN_SHARE = 3  # a third of a value at most


class Fates(msgspec.Struct, kw_only=True):
    """Texts by what becomes of them: nothing was found in it, it leaves as it is, or with placeholders, or not."""

    nothing: int = 0
    readable: int = 0
    replaced: int = 0
    held: int = 0

    def add(self, leaving: Leaving, guarded: bool) -> None:
        """Count one more text; `guarded`: there is a policy."""
        if guarded and leaving.held:
            self.held += 1
        elif guarded and leaving.replaced:
            self.replaced += 1
        elif leaving.found:
            self.readable += 1
        else:
            self.nothing += 1


def total(fates: Fates) -> int:
    """How many texts these are."""
    return fates.nothing + fates.readable + fates.replaced + fates.held


class Example(msgspec.Struct, frozen=True):
    """A value, masked, and the row that it is in."""

    row: int
    masked: str


class TypeSeen(msgspec.Struct, kw_only=True):
    """One type of personal data, and what becomes of its places; those in a held text are all `held`.

    `proven` of the places are confirmed by a check digit, a numbering plan or a prefix. `climbing`: rows with it that
    the model here would pass on; None where none was run. `first_rows` count from 1.
    """

    type: str
    handling: Handling
    secret: bool
    rows: int = 0
    places: int = 0
    proven: int = 0
    readable: int = 0
    replaced: int = 0
    held: int = 0
    climbing: int | None = None
    first_rows: list[int] = []
    examples: list[Example] = []


class Scan(msgspec.Struct, kw_only=True):
    """What would leave of the rows. `absent`: types that were looked for and not seen.

    `failed`: rows that could not be searched, the first of which are `failed_rows`: too long, or a user's own detector
    failed; such a text is held.
    `fates` are of all texts, if each had to leave; `climbing` of those that the model here would pass on, None where
    none was run. `policy`: None where a release has none, and texts leave as they are.
    """

    schema: str = "tianti.scan/1"
    policy: PrivacyPolicy | None
    rows: int = 0
    empty: int = 0
    characters: int = 0
    failed: int = 0
    failed_rows: list[int] = []
    fates: Fates
    climbing: Fates | None = None
    types: list[TypeSeen] = []
    absent: list[str] = []


def scan(
    texts: Iterable[str],
    redactor: Redactor,
    policy: PrivacyPolicy | None,
    *,
    climbs: Callable[[str], bool] | None = None,
    examples: int = 0,
) -> Scan:
    """Count what would leave of the texts.

    Args:
        texts: one a row.
        redactor: of the policy.
        policy: None: there is none, and what the redactor finds would leave as it is.
        climbs: would the model here pass this text on?
        examples: masked ones to keep of each type.
    """
    done = Scan(policy=policy, fates=Fates(), climbing=None if climbs is None else Fates())
    seen: dict[str, TypeSeen] = {}
    for number, text in enumerate(texts, start=1):
        up = climbs is not None and climbs(text)
        try:
            if len(text) > LONGEST:
                raise PrivacyError(f"expected at most {LONGEST} characters, got {len(text)}")
            found = redactor.find(text)
            leaving = redactor.leave_with(text, found, Placeholders())
        except Exception:  # a user's own detector may do anything; a node holds what it cannot search
            found, leaving = [], NOT_SEARCHED
            _add_failed(done, number)
        done.rows, done.characters = number, done.characters + len(text)
        done.empty += not text.strip()
        done.fates.add(leaving, policy is not None)
        if up and done.climbing is not None:
            done.climbing.add(leaving, policy is not None)
        for kind in leaving.found:
            _add_row(seen.setdefault(kind, _new(kind, done)), number, up)
        for place in found:
            kept = seen[place.kind]
            _add_place(kept, place, policy is not None and bool(leaving.held))
            if len(kept.examples) < examples:
                kept.examples.append(Example(number, _masked(text[place.start : place.end])))
    done.types = sorted(seen.values(), key=_most_exposed_first)
    done.absent = sorted(_looked_for(policy) - seen.keys())
    return done


def _new(kind: str, done: Scan) -> TypeSeen:
    handling: Handling = "allow" if done.policy is None else done.policy.handling(kind)
    climbing = None if done.climbing is None else 0
    return TypeSeen(type=kind, handling=handling, secret=kind in SECRETS, climbing=climbing)


def _add_failed(done: Scan, number: int) -> None:
    done.failed += 1
    if len(done.failed_rows) < _FIRST_ROWS:
        done.failed_rows.append(number)


def _add_row(kept: TypeSeen, number: int, up: bool) -> None:
    kept.rows += 1
    if kept.climbing is not None:
        kept.climbing += up
    if len(kept.first_rows) < _FIRST_ROWS:
        kept.first_rows.append(number)


def _add_place(kept: TypeSeen, place: Found, held: bool) -> None:
    kept.places += 1
    kept.proven += place.proven
    if held:
        kept.held += 1
    elif kept.handling == "allow":
        kept.readable += 1
    else:
        kept.replaced += 1


def _masked(value: str) -> str:
    return value[: min(_SHOWN, len(value) // _SHOWN_SHARE)] + "*"


def _most_exposed_first(kept: TypeSeen) -> tuple[bool, int, str]:
    return kept.handling != "allow", -kept.rows, kept.type


def _looked_for(policy: PrivacyPolicy | None) -> set[str]:
    return set(TYPES).union(*(own.types for own in (policy.own if policy else ())))
