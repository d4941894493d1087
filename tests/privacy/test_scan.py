"""What a scan counts is what becomes of each text, and a Scan holds no value."""

from pathlib import Path

import msgspec
import pytest

from tianti.privacy import Found, Redactor, bind_policy, open_redactor
from tianti.privacy.risks import risks
from tianti.privacy.scan import Example, Fates, Scan, TypeSeen, scan, total
from tianti.spec.privacy import SECRETS, TYPES, PrivacyPolicy, PrivacySpec

PHONE, EMAIL, ID_CARD, URL = (
    "13812345678",
    "wang@example.com",
    "110101199003071233",
    "http://admin:hunter22@example.com/",
)
TEXTS = [
    "turn off the kitchen light",
    f"我的手机号是{PHONE}，帮我查一下快递",
    f"{PHONE}或者{EMAIL}，还是{PHONE}",
    f"身份证{ID_CARD}，电话{PHONE}",
    "",
    f"write to {EMAIL}",
]


def policy(**said: object) -> PrivacyPolicy:
    return bind_policy(PrivacySpec(**said), Path())  # type: ignore[arg-type]


def scanned(texts: list[str], of: PrivacyPolicy, **said: object) -> Scan:
    return scan(texts, open_redactor(of), of, **said)  # type: ignore[arg-type]


def of_type(found: Scan, name: str) -> TypeSeen:
    return next(kind for kind in found.types if kind.type == name)


MIXED = policy(types={"email": "allow", "id_card": "local_only"})


def test_each_text_has_one_fate_and_each_place_one_end() -> None:
    found = scanned(TEXTS, MIXED)
    assert found.fates == Fates(nothing=2, readable=1, replaced=2, held=1)
    assert (found.rows, found.empty, found.characters) == (6, 1, sum(map(len, TEXTS)))
    phone = of_type(found, "phone")
    assert (phone.rows, phone.places, phone.replaced, phone.held) == (3, 4, 3, 1)
    assert (of_type(found, "email").readable, of_type(found, "id_card").held) == (2, 1)
    assert all(kind.readable + kind.replaced + kind.held == kind.places for kind in found.types)
    assert phone.first_rows == [2, 3, 4]


@pytest.mark.parametrize("of", [policy(), MIXED, policy(default="allow"), policy(default="local_only")])
def test_a_text_leaves_as_its_scan_says(of: PrivacyPolicy) -> None:
    redactor = open_redactor(of)
    for text in [*TEXTS, f"see {URL}"]:
        leaving, fates = redactor.leaving(text), scanned([text], of).fates
        assert fates.held == bool(leaving.held)
        assert bool(fates.nothing or fates.readable) == (leaving.text == text and not leaving.held)
        assert total(fates) == 1


def test_what_may_leave_readable_stands_first_and_what_was_looked_for_is_named() -> None:
    found = scanned(TEXTS, MIXED)
    assert [kind.type for kind in found.types] == ["email", "phone", "id_card"]
    assert set(found.absent) == TYPES - {"email", "phone", "id_card"}


def test_without_a_policy_all_is_readable_even_what_a_policy_could_never_allow() -> None:
    redactor = open_redactor(policy())
    found = scan([f"see {URL}"], redactor, None)
    assert found.fates == Fates(readable=1) and of_type(found, "url_credentials").readable == 1
    assert "has no privacy policy" in risks(found)[0]
    assert scanned([f"see {URL}"], policy(default="allow")).fates == Fates(replaced=1)


def test_what_climbs_is_counted_apart() -> None:
    found = scanned(TEXTS, MIXED, climbs=lambda text: PHONE in text)
    assert found.climbing == Fates(replaced=2, held=1)
    assert [kind.climbing for kind in found.types] == [1, 3, 1]
    assert "would pass on 3 of the 6 texts" in " ".join(risks(found))


def test_no_value_is_kept_but_two_characters_where_examples_are_asked_for() -> None:
    values = (PHONE, EMAIL, ID_CARD)
    told = msgspec.json.encode(scanned(TEXTS, MIXED)).decode()
    assert not any(value[:3] in told for value in values)
    found = scanned(TEXTS, MIXED, examples=2)
    assert of_type(found, "phone").examples == [Example(2, "13*"), Example(3, "13*")]
    assert not any(value[:3] in msgspec.json.encode(found).decode() for value in values)


def test_a_short_value_is_not_shown_whole() -> None:
    redactor = Redactor(policy(), [(lambda text: [Found(0, 2, "person")], frozenset({"person"}))])
    assert of_type(scan(["王伟到了"], redactor, policy(), examples=1), "person").examples == [Example(1, "*")]


def test_what_a_detector_fails_on_would_stay_and_is_said() -> None:
    def fails(text: str) -> list[Found]:
        return [Found(0, 10_000, "person")] if "lamp" in text else [][text.count("lantern")]

    redactor = Redactor(policy(), [(fails, frozenset({"person"}))])
    found = scan(["lamp", "lantern", PHONE], redactor, policy())
    assert (found.failed, found.failed_rows, found.fates.held) == (3, [1, 2, 3], 3)
    assert risks(found)[0].startswith("3 texts could not be searched, the first in row 1")


def test_what_is_too_long_to_be_searched_would_stay() -> None:
    found = scan([f"{PHONE} " + "a" * 100_000], Redactor(policy()), policy())
    assert (found.failed, found.fates.held, found.types) == (1, 1, [])


def test_the_sentences_say_what_is_grave_first_and_always_what_cannot_be_seen() -> None:
    said = risks(scanned([*TEXTS, f"see {URL}"], MIXED))
    assert said[0] == (
        "2 places would leave readable, because the policy allows it: email. `redact` puts placeholders there."
    )
    assert "url_credentials in row 7" in said[1]
    assert said[2].startswith("1 text (14.3%) would not leave, because of id_card (`local_only`)")
    assert "names, postal addresses" in said[-2] and "anonymous" in said[-1]
    clean = risks(scanned(["turn off the light"], policy()))
    assert len(clean) == 2 and "names, postal addresses" in clean[0]


def test_other_rules_than_the_certificates_are_said() -> None:
    older = msgspec.structs.replace(policy(), rules=0)
    assert any("not `certified`" in line for line in risks(scan(TEXTS, open_redactor(older), older)))
    assert not any("not `certified`" in line for line in risks(scanned(TEXTS, policy())))


def test_secrets_are_marked() -> None:
    found = scanned([f"see {URL}", PHONE], policy())
    assert {kind.type for kind in found.types if kind.secret} == {"url_credentials"} <= SECRETS
