"""Find personal data and secrets in a text, replace them by placeholders, restore them in an answer.

What searches is imported when it is first named: a program whose texts stay where they are never pays for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tianti.privacy.contract import LONGEST, NOT_SEARCHED, RULES, UNCHECKED, Detector, Found, Leaving

if TYPE_CHECKING:
    from tianti.privacy.conversation import Conversation, Restored
    from tianti.privacy.finder import Finder
    from tianti.privacy.kept import new_key, open_kept, save
    from tianti.privacy.own import bind_policy, open_redactor
    from tianti.privacy.redactor import Redactor

__all__ = [
    "LONGEST",
    "NOT_SEARCHED",
    "RULES",
    "UNCHECKED",
    "Conversation",
    "Detector",
    "Finder",
    "Found",
    "Leaving",
    "Redactor",
    "Restored",
    "bind_policy",
    "new_key",
    "open_kept",
    "open_redactor",
    "save",
]

_LATER = {
    "Conversation": "conversation",
    "Restored": "conversation",
    "Finder": "finder",
    "new_key": "kept",
    "open_kept": "kept",
    "save": "kept",
    "bind_policy": "own",
    "open_redactor": "own",
    "Redactor": "redactor",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
