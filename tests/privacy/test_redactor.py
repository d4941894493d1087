"""What a policy makes of a text: what leaves, what is held, what is counted."""

import re

import pytest

from tests.privacy.test_placeholders import Chosen
from tianti.privacy import Found, Leaving, Redactor
from tianti.spec.privacy import SECRETS, TYPES, Handling, PrivacyPolicy

PHONE, OTHER, EMAIL, KEY = "13800138000", "13912345678", "wang@example.com", "sk-abcdefghijklmnopqrstuvwxyz012345"
TEXT = f"打{PHONE}或{OTHER}，再打{PHONE}"


def policy(default: Handling = "redact", **types: Handling) -> PrivacyPolicy:
    return PrivacyPolicy(rules=1, default=default, types=types, regions=("CN",))


def test_each_value_has_a_placeholder_of_its_own() -> None:
    leaving = Redactor(policy()).leaving(TEXT)
    assert leaving == Leaving("打⟦PHONE_1⟧或⟦PHONE_2⟧，再打⟦PHONE_1⟧", {"phone": 3}, 3)


def test_every_request_is_numbered_anew() -> None:
    redactor = Redactor(policy())
    assert redactor.leaving(OTHER).text == redactor.leaving(PHONE).text == "⟦PHONE_1⟧"


def test_what_is_allowed_leaves_and_is_counted() -> None:
    assert Redactor(policy(phone="allow")).leaving(TEXT) == Leaving(TEXT, {"phone": 3}, 0)


def test_what_is_local_only_holds_the_text_and_has_a_placeholder_too() -> None:
    leaving = Redactor(policy(phone="local_only", email="allow")).leaving(f"{PHONE} {EMAIL}")
    assert leaving == Leaving(f"⟦PHONE_1⟧ {EMAIL}", {"phone": 1, "email": 1}, 1, ("phone",))


def test_a_secret_never_leaves_whatever_the_policy_says() -> None:
    leaving = Redactor(policy("allow")).leaving(f"{PHONE} {KEY}")
    assert leaving == Leaving(f"{PHONE} ⟦API_KEY_1⟧", {"phone": 1, "api_key": 1}, 1)


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_no_policy_allows_a_secret(kind: str) -> None:
    assert PrivacyPolicy(rules=1, default="allow", types={kind: "allow"}, regions=()).handling(kind) == "redact"


def test_what_is_allowed_hides_nothing_that_is_not() -> None:
    """A wider type that may leave is found around what may not."""

    def links(text: str) -> list[Found]:
        return [Found(*match.span(), "link", proven=True) for match in re.finditer("<.*?>", text)]

    own = [(links, frozenset({"link"}))]
    redactor = Redactor(policy(link="allow"), own)
    assert redactor.leaving(f"<see {PHONE}>{OTHER}<b>{KEY}") == Leaving(
        "<see ⟦PHONE_1⟧>⟦PHONE_2⟧<b>⟦API_KEY_1⟧", {"phone": 2, "link": 1, "api_key": 1}, 3
    )
    assert Redactor(policy(), own).leaving(f"<see {PHONE}>").text == "⟦LINK_1⟧"


def test_what_only_looks_like_a_placeholder_is_replaced_and_not_counted() -> None:
    leaving = Redactor(policy()).leaving(f"⟦PHONE_1⟧ [email 3] {PHONE}")
    assert leaving == Leaving("⟦TEXT_1⟧ ⟦TEXT_2⟧ ⟦PHONE_1⟧", {"phone": 1}, 1)


def test_types_come_in_the_order_of_the_text() -> None:
    redactor = Chosen()
    redactor.found = [Found(0, 1, "a"), Found(1, 2, "phone"), Found(2, 3, "a")]
    assert redactor.leaving("xyz").text == "⟦A_1⟧⟦PHONE_1⟧⟦A_2⟧"


def test_a_text_without_any_leaves_as_it_is() -> None:
    assert Redactor(policy()).leaving("今天天气如何 [1] (2) 【通知】") == Leaving(
        "今天天气如何 [1] (2) 【通知】", {}, 0
    )


def test_other_rules_than_the_certificates_are_told() -> None:
    assert Redactor(policy()).rules_match
    assert not Redactor(PrivacyPolicy(rules=0, default="redact", types={}, regions=())).rules_match


def test_nothing_of_a_text_is_in_a_redactor() -> None:
    redactor = Redactor(policy())
    redactor.leaving(TEXT)
    assert PHONE not in repr(redactor) + repr(vars(redactor))


def test_every_type_can_be_read_back() -> None:
    redactor = Chosen(kinds=tuple(TYPES))
    for kind in TYPES - SECRETS:
        redactor.found = [Found(0, 1, kind)]
        conversation = redactor.begin()
        assert conversation.restore(conversation.leaving("x").text) == ("x", 1, ())
