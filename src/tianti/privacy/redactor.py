"""What a policy makes of a text that is about to leave.

Not here: what is found (`finder`), what placeholders look like (`placeholders`), asking whether to leave (`router`).
Invariant: what leaves has no character that was found and not allowed, and no placeholder that this did not give.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from tianti.privacy.contract import LONGEST, NOT_SEARCHED, RULES, Detector, Found, Leaving
from tianti.privacy.conversation import Conversation
from tianti.privacy.finder import Finder
from tianti.privacy.placeholders import ESCAPED, Placeholders, name_of, replace
from tianti.spec.privacy import TYPES, Handling, PrivacyPolicy


class Redactor:
    """Applies a policy to texts; `own` are the detectors that it names, each with the types that it may find.

    It keeps nothing of a text, and may be used by several threads.
    """

    def __init__(self, policy: PrivacyPolicy, own: Sequence[tuple[Detector, frozenset[str]]] = ()) -> None:
        kinds = TYPES.union(*(declared for _, declared in own))
        self.rules_match = policy.rules == RULES
        """Whether the certificate was computed with these built-in detectors."""
        self.has_own = bool(own)
        """Whether a user's own detectors are asked, which may take any time."""
        self.names = frozenset(name_of(kind) for kind in (*kinds, ESCAPED))
        """Types as placeholders have them."""
        self._handling: dict[str, Handling] = {kind: policy.handling(kind) for kind in kinds}
        allowed = frozenset(kind for kind, handling in self._handling.items() if handling == "allow")
        # apart: what is allowed must not hide what is not, where both are in the same place
        self._kept = Finder(policy.regions, own, kinds - allowed if allowed else None)
        self._allowed = Finder(policy.regions, own, allowed) if allowed else None

    def allows(self, kind: str) -> bool:
        """May what is of this type leave as it is?"""
        return self._handling[kind] == "allow"

    def find(self, text: str) -> list[Found]:
        """What is in a text, ascending and apart; what may not leave goes before what may.

        Raises:
            PrivacyError: an own detector broke its contract.
        """
        kept = self._kept.find(text)
        if self._allowed is None:
            return kept
        ends = [found.end for found in kept]

        def is_free(found: Found) -> bool:
            at = bisect_left(ends, found.start + 1)
            return at == len(kept) or kept[at].start >= found.end

        return sorted([*kept, *filter(is_free, self._allowed.find(text))])

    def leaving(self, text: str) -> Leaving:
        """What may leave of one request's text; placeholders are numbered anew. One that is too long is held.

        Raises:
            PrivacyError: an own detector broke its contract: the text must not leave.
        """
        return NOT_SEARCHED if len(text) > LONGEST else self.leave_with(text, self.find(text), Placeholders())

    def leave_with(self, text: str, found: Sequence[Found], given: Placeholders) -> Leaving:
        """What may leave of a text in which this was found, with these placeholders.

        Raises:
            PrivacyError: the placeholders have no room for another value.
        """
        handling = self._handling
        spans = [(start, end, kind) for start, end, kind, _ in found if handling[kind] != "allow"]
        counts = Counter(one.kind for one in found)
        held = tuple(sorted(kind for kind in counts if handling[kind] == "local_only"))
        return Leaving(replace(text, spans, self.names, given), dict(counts), len(spans), held)

    def begin(self, ttl_s: float = 3600.0) -> Conversation:
        """Begin a conversation, in which placeholders go on and can be restored for `ttl_s`."""
        return Conversation(self, ttl_s)
