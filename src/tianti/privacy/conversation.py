"""A conversation: texts that leave with the same placeholders, and answers in which they are restored.

Not here: storing it (`kept`), what placeholders look like (`placeholders`).
Invariant: values are in the memory of this process alone, from which the first use after their time drops them; nothing
prints, copies or pickles them.
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tianti.privacy.contract import LONGEST, NOT_SEARCHED, Leaving
from tianti.privacy.placeholders import Placeholders, Row, look_alikes, read

if TYPE_CHECKING:
    from tianti.privacy.redactor import Redactor


class Restored(NamedTuple):
    """An answer with its placeholders restored.

    `restored`: how many places. `unknown`: what looks like a placeholder and stands for nothing that is known here, or
    has lost its brackets, such as PHONE_1; it stays in the text as it is, as a secret's does, which is not unknown.
    """

    text: str
    restored: int
    unknown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Restored: {self.restored} placeholders, {len(self.unknown)} unknown>"


class Conversation:
    """Made by `Redactor.begin`. Values are kept for `ttl_s` from the first text on, then anew from the next one.

    It may be used by several threads.
    """

    __slots__ = ("_clock", "_given", "_lock", "_redactor", "_ttl_s", "_until")

    def __init__(
        self,
        redactor: "Redactor",
        ttl_s: float,
        given: Placeholders | None = None,
        left_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redactor = redactor
        self._ttl_s = ttl_s
        self._given = given or Placeholders()
        self._clock = clock
        self._until = clock() + (ttl_s if left_s is None else left_s)
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<Conversation: {self._given!r} for {max(0.0, self._until - self._clock()):.0f} s>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a conversation is neither pickled nor copied: save(conversation, path, key) encrypts it")

    def leaving(self, text: str) -> Leaving:
        """What may leave of a text; a value that was replaced before gets the placeholder that it had. As `Redactor`
        does, it holds a text that is too long.

        Raises:
            PrivacyError: an own detector broke its contract, or the conversation has no room for another value.
        """
        if len(text) > LONGEST:
            return NOT_SEARCHED
        found = self._redactor.find(text)
        with self._lock:
            self._expire()
            return self._redactor.leave_with(text, found, self._given)

    def restore(self, text: str) -> Restored:
        """An answer with what its placeholders stand for.

        As a model may write them: between ⟦⟧ 〚〛 【】 〖〗 ﹝﹞ 「」 『』 〔〕 ⟪⟫ ［］ [[ ]] or [ ], or the first
        of one and the last of another; in small letters or full-width ones, with full-width digits or zeros before
        them; with blanks, dashes, backslashes, stars or characters of no width for underscores or beside them, or
        nothing before the number. Without brackets, or with another name or number, they are not understood.
        """
        parts: list[str] = []
        unknown: list[str] = []
        at = restored = 0
        with self._lock:
            self._expire()
            for written in look_alikes(text, self._redactor.names):
                before, value = text[at : written.start()], written[0]
                unknown += self._given.without_brackets(before)
                try:
                    known = self._given.value(read(value))
                except KeyError:
                    unknown.append(value)
                else:
                    if known is not None:
                        value, restored = known, restored + 1
                parts += (before, value)
                at = written.end()
            unknown += self._given.without_brackets(text[at:])
        return Restored("".join((*parts, text[at:])), restored, tuple(unknown))

    def forget(self) -> None:
        """Drop what was kept, as at the end of its time."""
        with self._lock:
            self._until = self._clock()
            self._expire()

    def kept(self) -> tuple[float, float, dict[str, int], list[Row]]:
        """For `save` alone: seconds left, `ttl_s`, the last number of each name, and what placeholders stand for."""
        with self._lock:
            self._expire()
            return self._until - self._clock(), self._ttl_s, dict(self._given.last), self._given.rows

    def _expire(self) -> None:
        if self._clock() >= self._until:
            self._given.forget()
            self._until = self._clock() + self._ttl_s
