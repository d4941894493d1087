"""A conversation's values: restored in its time, gone afterwards, printed nowhere; in a file only encrypted."""

import copy
import gc
import os
import pickle
from pathlib import Path

import pytest

from tianti.errors import MissingExtraError, PrivacyError
from tianti.privacy import LONGEST, UNCHECKED, Conversation, Redactor, new_key, open_kept, save
from tianti.privacy.placeholders import ROOM
from tianti.spec.privacy import PrivacyPolicy

PHONE, KEY = "13800138000", "sk-abcdefghijklmnopqrstuvwxyz012345"
REDACTOR = Redactor(PrivacyPolicy(rules=1, default="redact", types={}, regions=("CN",)))


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_placeholders_go_on_from_text_to_text() -> None:
    conversation = REDACTOR.begin()
    said = [conversation.leaving(text).text for text in (PHONE, f"13912345678 {PHONE}")]
    assert said == ["⟦PHONE_1⟧", "⟦PHONE_2⟧ ⟦PHONE_1⟧"]
    assert conversation.restore("⟦PHONE_2⟧!").text == "13912345678!"


def test_a_value_that_holds_a_placeholder_is_restored_once() -> None:
    conversation = REDACTOR.begin()
    conversation.leaving(f"[phone 1] {PHONE}")
    assert conversation.restore("⟦TEXT_1⟧ ⟦PHONE_1⟧").text == f"[phone 1] {PHONE}"


def test_a_secret_is_never_restored_and_not_unknown() -> None:
    conversation = REDACTOR.begin()
    assert conversation.leaving(f"{KEY} {KEY}").text == "⟦API_KEY_1⟧ ⟦API_KEY_1⟧"
    assert conversation.restore("⟦API_KEY_1⟧ ⟦API_KEY_2⟧") == ("⟦API_KEY_1⟧ ⟦API_KEY_2⟧", 0, ("⟦API_KEY_2⟧",))


def test_after_its_time_nothing_is_known_and_numbers_go_on() -> None:
    clock = Clock()
    conversation = Conversation(REDACTOR, ttl_s=60, clock=clock)
    conversation.leaving(f"{PHONE} {KEY}")
    clock.now_s += 59
    assert conversation.restore("⟦PHONE_1⟧").text == PHONE
    clock.now_s += 1
    assert conversation.restore("⟦PHONE_1⟧ ⟦API_KEY_1⟧") == ("⟦PHONE_1⟧ ⟦API_KEY_1⟧", 0, ("⟦PHONE_1⟧", "⟦API_KEY_1⟧"))
    assert PHONE not in everything_below(conversation)
    assert conversation.leaving("13912345678").text == "⟦PHONE_2⟧"
    assert conversation.restore("⟦PHONE_1⟧ ⟦PHONE_2⟧").text == "⟦PHONE_1⟧ 13912345678"


def test_after_its_time_a_value_is_a_new_one() -> None:
    clock = Clock()
    conversation = Conversation(REDACTOR, ttl_s=60, clock=clock)
    conversation.leaving(PHONE)
    clock.now_s += 60
    assert conversation.leaving(PHONE).text == "⟦PHONE_2⟧"


def test_forgetting_does_not_wait() -> None:
    conversation = REDACTOR.begin()
    conversation.leaving(PHONE)
    conversation.forget()
    assert conversation.restore("⟦PHONE_1⟧").unknown == ("⟦PHONE_1⟧",)


def test_nothing_prints_copies_or_pickles_values() -> None:
    conversation = REDACTOR.begin()
    conversation.leaving(PHONE)
    assert repr(conversation) == f"{conversation}" == "<Conversation: <1 placeholders> for 3600 s>"
    assert not hasattr(conversation, "__dict__")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            attempt(conversation)


def test_no_repr_has_a_text_or_a_value() -> None:
    conversation = REDACTOR.begin()
    leaving = conversation.leaving(f"Wang: {PHONE}")
    restored = conversation.restore(f"{leaving.text} ⟦Wang_2⟧")
    assert repr(leaving) == f"{leaving}" == "<Leaving: 15 characters, found {'phone': 1}, held by ()>"
    assert repr(restored) == f"{restored}" == "<Restored: 1 placeholders, 1 unknown>"


def test_a_text_that_is_too_long_to_be_searched_is_held() -> None:
    conversation = REDACTOR.begin()
    assert conversation.leaving(PHONE.ljust(LONGEST)).held == ()
    assert conversation.leaving(PHONE.ljust(LONGEST + 1)) == ("", {}, 0, (UNCHECKED,))


def test_a_secret_is_not_even_in_memory() -> None:
    conversation = REDACTOR.begin()
    conversation.leaving(f"{PHONE} {KEY}")
    kept = everything_below(conversation)
    assert PHONE in kept  # the control: this finds what is kept
    assert KEY not in kept


def test_a_kept_conversation_goes_on(tmp_path: Path) -> None:
    key, path = new_key(), tmp_path / "kept"
    conversation = REDACTOR.begin(ttl_s=600)
    conversation.leaving(f"{PHONE} {KEY} [phone 1]\ud800[phone_2]")
    save(conversation, path, key)
    opened = open_kept(path, key, REDACTOR)
    assert opened.restore("⟦PHONE_1⟧ ⟦API_KEY_1⟧ ⟦TEXT_1⟧") == (f"{PHONE} ⟦API_KEY_1⟧ [phone 1]", 2, ())
    assert opened.leaving(f"13912345678 {PHONE}").text == "⟦PHONE_2⟧ ⟦PHONE_1⟧"
    assert repr(opened).endswith("for 600 s>")


def test_a_kept_file_is_its_owners_and_says_nothing(tmp_path: Path) -> None:
    key, path = new_key(), tmp_path / "kept"
    conversation = REDACTOR.begin()
    conversation.leaving(PHONE)
    save(conversation, path, key)
    written = path.read_bytes()
    assert PHONE.encode() not in written and b"phone" not in written.lower()
    if os.name != "nt":
        assert path.stat().st_mode & 0o777 == 0o600
    save(conversation, path, key)
    assert path.read_bytes()[-20:] != written[-20:]  # a nonce is used once


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    key, path = new_key(), tmp_path / "kept"
    conversation = REDACTOR.begin()
    conversation.leaving(PHONE)
    save(conversation, path, key)
    written = path.read_bytes()
    for at in range(len(written)):
        path.write_bytes(written[:at] + bytes([written[at] ^ 1]) + written[at + 1 :])
        with pytest.raises(PrivacyError, match="another key or another file"):
            open_kept(path, key, REDACTOR)
    for size in (0, 5, written.index(b"\n") + 1, written.index(b"\n") + 9, len(written) - 1):
        path.write_bytes(written[:size])
        with pytest.raises(PrivacyError, match="another key or another file"):
            open_kept(path, key, REDACTOR)
    path.write_bytes(written)
    assert open_kept(path, key, REDACTOR).restore("⟦PHONE_1⟧").text == PHONE


def test_another_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    save(REDACTOR.begin(), path, new_key())
    with pytest.raises(PrivacyError, match="another key"):
        open_kept(path, new_key(), REDACTOR)
    with pytest.raises(PrivacyError, match="expected a key of 32 bytes, got 5"):
        open_kept(path, b"short", REDACTOR)
    with pytest.raises(PrivacyError, match="No such file"):
        open_kept(tmp_path / "none", new_key(), REDACTOR)


def test_time_goes_on_in_a_file(tmp_path: Path) -> None:
    key, path, wall = new_key(), tmp_path / "kept", Clock()
    conversation = REDACTOR.begin(ttl_s=60)
    conversation.leaving(PHONE)
    save(conversation, path, key, wall)
    wall.now_s += 40
    assert repr(open_kept(path, key, REDACTOR, wall)).endswith("for 20 s>")
    wall.now_s -= 1000  # a clock that is set back
    assert repr(open_kept(path, key, REDACTOR, wall)).endswith("for 60 s>")
    wall.now_s += 1020
    with pytest.raises(PrivacyError, match="is over, the file is removed"):
        open_kept(path, key, REDACTOR, wall)
    assert not path.exists()


def test_without_cryptography_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(MissingExtraError, match=r"tianti\[update\]"):
        save(REDACTOR.begin(), tmp_path / "kept", new_key())


def everything_below(conversation: Conversation) -> str:
    """All texts and bytes that a conversation holds, but for its redactor's."""
    seen: dict[int, object] = {}
    left: list[object] = [conversation]
    while left:
        one = left.pop()
        if id(one) not in seen and not isinstance(one, (Redactor, type)) and not callable(one):
            seen[id(one)] = one
            left += gc.get_referents(one)
    assert len(seen) < ROOM
    return " ".join(str(one) for one in seen.values() if isinstance(one, (str, bytes)))
