"""What a scan found, in sentences for whoever has to sign what may leave.

Not here: counting (`scan`). Invariant: what leaves readable comes first, and what cannot be seen is always said.
"""

from collections.abc import Iterator, Sequence

from tianti.privacy.contract import LONGEST, RULES
from tianti.privacy.scan import Scan, TypeSeen, total

_UNSEEN = "names, postal addresses, birthdays, health, pay, or what only the sense of a sentence gives away"


def risks(scan: Scan) -> list[str]:
    """The sentences, the gravest first."""
    parts = (_unguarded, _readable, _secrets, _failed, _held, _replaced, _doubtful, _other_rules, _passed_on, _unseen)
    return [line for part in parts for line in part(scan)]


def _unguarded(scan: Scan) -> Iterator[str]:
    if scan.policy is None:
        yield "This release has no privacy policy: texts leave as they are, secrets too. Build it again to give it one."


def _readable(scan: Scan) -> Iterator[str]:
    seen = [kind for kind in scan.types if kind.readable]
    if seen and scan.policy is not None:
        yield (
            f"{_places(seen, 'readable')} would leave readable, because the policy allows it: {_names(seen)}. "
            "`redact` puts placeholders there."
        )


def _secrets(scan: Scan) -> Iterator[str]:
    seen = [kind for kind in scan.types if kind.secret]
    if seen:
        rows = ", ".join(f"{kind.type} in row {kind.first_rows[0]:,}" for kind in seen)
        yield f"The file itself has secrets ({rows}): whoever can read it has them. Change them at their source."


def _failed(scan: Scan) -> Iterator[str]:
    if scan.failed:
        yield (
            f"{_texts(scan.failed).capitalize()} could not be searched, the first in row {scan.failed_rows[0]:,}: a "
            f"detector of your own failed, or there are more than {LONGEST:,} characters. Such a text does not leave."
        )


def _held(scan: Scan) -> Iterator[str]:
    keeping = [kind for kind in scan.types if kind.handling == "local_only"]
    if keeping:
        held = scan.fates.held - scan.failed
        unsure = "" if scan.climbing is None else f", as of {scan.climbing.held:,} of them"
        yield (
            f"{_texts(held)} ({held / scan.rows:.1%}) would not leave, because of {_names(keeping)} (`local_only`). "
            f"Where the model here is unsure{unsure}, it answers all the same, and no certificate speaks about that."
        )


def _replaced(scan: Scan) -> Iterator[str]:
    seen = [kind for kind in scan.types if kind.replaced]
    if seen:
        yield (
            f"Placeholders would stand in {_places(seen, 'replaced')} of {_texts(scan.fates.replaced)}; the "
            "values stay on the node where the text comes in."
        )


def _doubtful(scan: Scan) -> Iterator[str]:
    for kind in scan.types:
        if kind.type == "id_card_unverified":
            yield (
                f"{_places([kind], 'places')} written like an ID card number, with a wrong check digit: mistyped, made "
                f"up, or another number. Look at row {kind.first_rows[0]:,}."
            )


def _other_rules(scan: Scan) -> Iterator[str]:
    if scan.policy is not None and scan.policy.rules != RULES:
        yield (
            f"The release was certified with version {scan.policy.rules} of the built-in detectors, here is version "
            f"{RULES}: texts are redacted by what is here, and answers are not `certified`."
        )


def _passed_on(scan: Scan) -> Iterator[str]:
    if scan.climbing is not None:
        yield (
            f"The model here would pass on {total(scan.climbing):,} of the {scan.rows:,} texts and answer the others "
            "itself. Audits send a share of those too (2 % unless set otherwise), by the same policy."
        )


def _unseen(scan: Scan) -> Iterator[str]:
    own = [] if scan.policy is None else sorted({kind for detector in scan.policy.own for kind in detector.types})
    looked = f" Detectors of your own looked for {', '.join(own)}, as well as they can." if own else ""
    where = f"the {_texts(scan.fates.nothing)} without a find" if scan.fates.nothing else "each of these texts"
    yield (
        f"Patterns find what has a form. They do not find {_UNSEEN}: {where} may hold any of it. Read some of them."
        f"{looked}"
    )
    yield "Placeholders lower exposure. They do not make a text anonymous: the rest may still tell whom it is about."


def _places(kinds: Sequence[TypeSeen], what: str) -> str:
    count = sum(getattr(kind, what) for kind in kinds)
    return f"{count:,} {'place' if count == 1 else 'places'}"


def _texts(count: int) -> str:
    return f"{count:,} {'text' if count == 1 else 'texts'}"


def _names(kinds: Sequence[TypeSeen]) -> str:
    return ", ".join(kind.type for kind in kinds)
