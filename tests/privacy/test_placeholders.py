"""Round trips of hostile texts, and the forms in which an answer may give a placeholder back."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tianti.errors import PrivacyError
from tianti.privacy import Found, Redactor, placeholders
from tianti.spec.privacy import SECRETS, PrivacyPolicy

PHONE = "13800138000"
POLICY = PrivacyPolicy(rules=1, default="redact", types={}, regions=("CN",))
KINDS = ("phone", "id_card", "a", "a_1", "a__1", "api_key")
FRAGMENTS = (
    *("⟦", "⟧", "⟦PHONE_1⟧", "⟦phone 1⟧", "⟦TEXT_1⟧", "⟦A_1_1⟧", "⟦电话_1⟧", "⟦⟧", "⟦ \n⟧", "⟦" + "a" * 61 + "⟧"),
    *("[", "]", "[[", "]]", "【", "】", "〖", "﹝", "﹞", "「", "」", "［", "］", "〚", "〛"),
    *(
        "『",
        "』",
        "〔",
        "〕",
        "⟪",
        "⟫",
        "\\",
        "\\[",
        "\\]",
        "*",
        "\u2013",
        "\u2011",
        "\u200e",
        "[phone1]",
        "⟦PHONE_1】",
    ),
    *(
        "PHONE",
        "phone",
        "ＰＨＯＮＥ",
        "ID_CARD",
        "id card",
        "TEXT",
        "A_1",
        "_",
        "＿",
        "-",
        " ",
        "\u200b",
        "\u3000",
        "\n",
    ),
    *("1", "１", "2", "0001", "9" * 13, PHONE, "[phone_1]", "[[Phone 1]]", "【id_card_1】", "[figure 1]", "ﷺ", "ß"),
)
PERSONAL = (
    *("13800138000", "１３９-１２３４-５６７８", "+86\u200b 138\u200b0013\u200b8000", "wang@example.com", "10.1.2.3"),
    *("11010519491231002X", "京A12345", "６２２２0212 3456 7890 128", "，", "\n", " ", "a", "0", "@", "."),
)
TEXTS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=3)), max_size=25).map("".join)


class Chosen(Redactor):
    """Finds what a test says."""

    def __init__(self, policy: PrivacyPolicy = POLICY, kinds: tuple[str, ...] = KINDS) -> None:
        super().__init__(policy, [(lambda text: (), frozenset(kinds))])
        self.found: list[Found] = []

    def find(self, text: str) -> list[Found]:
        return self.found


@st.composite
def marked(draw: st.DrawFn, kinds: tuple[str, ...]) -> tuple[str, list[Found]]:
    """A text and places in it that are apart, adjacent ones too."""
    text = draw(TEXTS)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    of_each = draw(st.lists(st.sampled_from((*kinds, None)), min_size=len(cuts), max_size=len(cuts)))
    return text, [Found(a, b, kind) for a, b, kind in zip(cuts, cuts[1:], of_each, strict=False) if kind is not None]


def assert_only_bare_names(unknown: tuple[str, ...], text: str) -> None:
    """What is told of a text of one's own stood in it without brackets."""
    assert all(re.fullmatch(r"[A-Z][\w\\]*_[0-9]+", one) and one in text for one in unknown)


@settings(max_examples=150, deadline=None)
@given(st.lists(marked(KINDS[:-1]), min_size=1, max_size=3))
def test_every_text_of_a_conversation_comes_back_byte_for_byte(turns: list[tuple[str, list[Found]]]) -> None:
    redactor = Chosen()
    conversation = redactor.begin()
    sent = []
    for text, redactor.found in turns:
        leaving = conversation.leaving(text)
        assert leaving.replaced == len(redactor.found) == sum(leaving.found.values())
        sent.append(leaving.text)
    for (text, _), left in zip(turns, sent, strict=True):
        back = conversation.restore(left)
        assert back.text.encode() == text.encode()
        assert_only_bare_names(back.unknown, text)


@settings(max_examples=75, deadline=None)
@given(marked(KINDS))
def test_all_but_secrets_comes_back(turn: tuple[str, list[Found]]) -> None:
    redactor = Chosen()
    conversation = redactor.begin()
    text, redactor.found = turn
    pieces, at, secrets = [], 0, {}
    for start, end, kind, _ in redactor.found:
        if kind == "api_key":
            number = secrets.setdefault(text[start:end], len(secrets) + 1)
            pieces += text[at:start], f"⟦API_KEY_{number}⟧"
            at = end
    back = conversation.restore(conversation.leaving(text).text)
    assert back.text == "".join((*pieces, text[at:]))
    assert_only_bare_names(back.unknown, text)


@settings(max_examples=75, deadline=None)
@given(marked(KINDS))
def test_nothing_but_placeholders_of_ours_looks_like_one(turn: tuple[str, list[Found]]) -> None:
    redactor = Chosen()
    text, redactor.found = turn
    leaving = redactor.leaving(text)
    seen = [written[0] for written in placeholders.look_alikes(leaving.text, redactor.names)]
    assert all(re.fullmatch(r"⟦(PHONE|ID_CARD|A|A_1|A__1|API_KEY|TEXT)_[0-9]+⟧", one) for one in seen)
    replaced = [one for one in seen if not one.startswith("⟦TEXT")]
    assert len(replaced) == leaving.replaced


@settings(max_examples=75, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PERSONAL), st.sampled_from(FRAGMENTS), st.text(max_size=3)), max_size=15))
def test_what_is_really_found_comes_back_too(fragments: list[str]) -> None:
    text = "".join(fragments)
    redactor = Redactor(POLICY)
    conversation = redactor.begin()
    leaving = conversation.leaving(text)
    assume(not SECRETS & leaving.found.keys())
    assert conversation.restore(leaving.text).text.encode() == text.encode()


def test_without_escaping_a_text_would_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"「phone 1」 is {PHONE}"
    redactor = Redactor(POLICY)
    conversation = redactor.begin()
    assert conversation.restore(conversation.leaving(text).text).text == text
    monkeypatch.setattr(placeholders, "_escaped", lambda text, start, end, *_: [text[start:end]])
    careless = redactor.begin()
    assert careless.restore(careless.leaving(text).text).text == f"{PHONE} is {PHONE}"


FORMS = (
    *("⟦PHONE_1⟧", "⟦phone_1⟧", "⟦Phone 1⟧", "⟦ PHONE _ 1 ⟧", "⟦PHONE-1⟧", "⟦PHONE_01⟧", "⟦PHONE\u200b_\u20601⟧"),
    *("⟦ＰＨＯＮＥ＿１⟧", "⟦PHONE_１⟧", "【PHONE_1】", "〖PHONE_1〗", "[[PHONE_1]]", "[PHONE_1]", "﹝PHONE_1﹞"),
    *("「PHONE_1」", "［PHONE_1］", "〚PHONE_1〛", "【\u3000phone　１ 】", "[[ Phone 1 ]]"),
    *(f"⟦PHONE{dash}1⟧" for dash in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"),
    *("⟦PHONE1⟧", "[phone1]", "⟦**PHONE_1**⟧", "⟦*PHONE*_1⟧", "⟦PHONE\\_1⟧", "\\[PHONE\\_1\\]", "\\[PHONE_1]"),
    *("⟦\u200ePHONE_1⟧", "⟦PHONE_1\u202c⟧", "⟦PHONE_1】", "【PHONE_1⟧", "⟦PHONE_1]", "[PHONE_1】"),
    *("〔PHONE_1〕", "『PHONE_1』", "⟪PHONE_1⟫"),
)


@pytest.mark.parametrize("form", FORMS)
def test_small_changes_are_understood(form: str) -> None:
    conversation = Redactor(POLICY).begin()
    conversation.leaving(PHONE)
    assert conversation.restore(f"回拨{form}。") == (f"回拨{PHONE}。", 1, ())


@pytest.mark.parametrize("form", FORMS)
def test_what_a_text_of_ones_own_held_is_never_taken_for_a_placeholder(form: str) -> None:
    conversation = Redactor(POLICY).begin()
    text = f"{form}{PHONE}{form}\\{PHONE}*{PHONE}]{form}"
    left = conversation.leaving(text).text
    assert form == "⟦PHONE_1⟧" or form not in left
    assert conversation.restore(left).text == text


@pytest.mark.parametrize(
    "form", ["(phone_1)", "[phone]", "[figure 1]", "PHONE_2", "MY_PHONE_1", "PHONE_1A", "[1]", "[]"]
)
def test_other_text_is_left_alone(form: str) -> None:
    conversation = Redactor(POLICY).begin()
    conversation.leaving(PHONE)
    assert conversation.restore(form) == (form, 0, ())
    assert conversation.leaving(form).text == form


@pytest.mark.parametrize(
    "form", ["PHONE_1", "PHONE\\_1", "(PHONE_1)", "电话PHONE_1。", "**PHONE_1**", "PHONE_1⟧", "⟦PHONE_1"]
)
def test_without_brackets_it_stays_and_is_told(form: str) -> None:
    conversation = Redactor(POLICY).begin()
    conversation.leaving(f"{PHONE} sk-abcdefghijklmnopqrstuvwxyz012345")
    bare = "PHONE\\_1" if "\\" in form else "PHONE_1"
    assert conversation.restore(f"⟦PHONE_1⟧{form}⟦API_KEY_1⟧API_KEY_1") == (
        f"{PHONE}{form}⟦API_KEY_1⟧API_KEY_1",
        1,
        (bare,),
    )
    assert conversation.leaving(form).text == form


@pytest.mark.parametrize("form", ["⟦PHONE_2⟧", "[email 1]", "⟦电话_1⟧", "⟦PHONE⟧"])
def test_unknown_ones_stay_and_are_told(form: str) -> None:
    conversation = Redactor(POLICY).begin()
    conversation.leaving(PHONE)
    assert conversation.restore(f"{form}, ⟦PHONE_1⟧") == (f"{form}, {PHONE}", 1, (form,))


def test_types_that_read_alike_share_their_numbers() -> None:
    given = placeholders.Placeholders()
    assert [given.give(kind, "x") for kind in ("a_1", "a__1", "a_1_")] == ["⟦A_1_1⟧", "⟦A__1_2⟧", "⟦A_1__3⟧"]
    assert [placeholders.read(one) for one in ("⟦A_1_1⟧", "[a  1 2]", "⟦A_1__3⟧")] == [("A_1", n) for n in (1, 2, 3)]


def test_the_same_value_of_another_type_is_another_one() -> None:
    given = placeholders.Placeholders()
    assert [given.give(*one) for one in (("phone", "1"), ("ip", "1"), ("phone", "1"), ("phone", "１"))] == [
        *("⟦PHONE_1⟧", "⟦IP_1⟧", "⟦PHONE_1⟧", "⟦PHONE_2⟧")
    ]


def test_room_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placeholders, "ROOM", 350)
    conversation = Redactor(POLICY).begin()
    conversation.leaving("13800138000 13800138001 13800138000 13800138002")
    with pytest.raises(PrivacyError, match="more than 350 characters; begin another conversation") as caught:
        conversation.leaving("13800138003")
    assert "138" not in str(caught.value)
    conversation.forget()
    assert conversation.leaving("13800138003").replaced == 1


def test_hostile_brackets_take_no_long_time() -> None:
    redactor = Redactor(POLICY)
    for text in (
        "[" * 50_000,
        "⟦" * 50_000,
        "[a" + " _" * 29 + "x]",
        "[ﷺ" + " ﷺ" * 28 + "]",
        "[[phone 1]" * 5_000,
        "PHONE_1_" * 9_000,
    ):
        leaving = redactor.leaving(text)
        assert leaving.replaced == 0
