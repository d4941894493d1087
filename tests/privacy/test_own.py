"""A user's own detectors: bound where a release is built, checked where it is used."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tianti.errors import PrivacyError, SpecError
from tianti.privacy import RULES, bind_policy, open_redactor
from tianti.spec.privacy import DetectorSpec, PrivacyPolicy, PrivacySpec

MODULE = """
import re
from tianti.privacy import Found

def orders(text):
    return [Found(*match.span(), "order") for match in re.finditer("AB[0-9]{4}", text)]

class Model:
    digest = "weights 1"
    def __call__(self, text):
        return []

model = Model()
"""


HELPED = """
from my_helper import PATTERN, VERSION

def orders(text):
    return []

orders.digest = VERSION
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_orders.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "my_orders", raising=False)
    return tmp_path


def spec(use: str = "my_orders:orders", **fields: Any) -> PrivacySpec:
    return PrivacySpec(own=(DetectorSpec(use=use, types=("order",)),), **fields)


def test_a_policy_is_what_the_spec_says_and_what_finds_it(base: Path) -> None:
    policy = bind_policy(spec(types={"order": "local_only"}, regions=("DE",), default="allow"), base)
    assert (policy.rules, policy.default, policy.types) == (RULES, "allow", {"order": "local_only"})
    assert (policy.regions, policy.own[0].use, policy.own[0].types) == (("DE",), "my_orders:orders", ("order",))
    assert msgspec.json.decode(msgspec.json.encode(policy), type=PrivacyPolicy) == policy


def test_its_redactor_finds_with_it(base: Path) -> None:
    redactor = open_redactor(bind_policy(spec(), base), base)
    assert redactor.rules_match
    assert redactor.leaving("单号AB1234，电话13800138000").text == "单号⟦ORDER_1⟧，电话⟦PHONE_1⟧"


def test_a_policy_without_own_ones_needs_no_folder() -> None:
    assert open_redactor(bind_policy(PrivacySpec(), Path())).leaving("13800138000").text == "⟦PHONE_1⟧"


def test_another_file_is_another_policy_and_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = bind_policy(spec(), base)
    with (base / "my_orders.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert bind_policy(spec(), base) == policy  # what was loaded is what runs
    monkeypatch.delitem(sys.modules, "my_orders")
    assert bind_policy(spec(), base) != policy
    with pytest.raises(PrivacyError, match=r"my_orders:orders' is another one .*: expected \w{12}, got \w{12}; inst"):
        open_redactor(policy, base)


def test_what_a_detector_says_it_consists_of_is_bound_too(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = bind_policy(spec("my_orders:model"), base)
    open_redactor(policy, base)
    monkeypatch.setattr(sys.modules["my_orders"].Model, "digest", "weights 2")
    with pytest.raises(PrivacyError, match="is another one"):
        open_redactor(policy, base)


def test_a_module_beside_a_detector_is_bound_by_its_digest(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bound(helper: str) -> PrivacyPolicy:
        (base / "my_helper.py").write_text(helper, encoding="utf-8")
        for name in ("my_helper", "my_orders"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        return bind_policy(spec(), base)

    (base / "my_orders.py").write_text(HELPED, encoding="utf-8")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    first = bound("PATTERN, VERSION = 'AB', '1'")
    assert bound("PATTERN, VERSION = 'ABC', '1'") == first, "what it does not name is not seen"
    assert bound("PATTERN, VERSION = 'ABC', '2'") != first


def test_an_absent_one_is_refused_with_the_cure(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = bind_policy(spec(), base)
    monkeypatch.delitem(sys.modules, "my_orders")
    with pytest.raises(PrivacyError, match=r"own detector is not here: .*my_orders.*; install here what the release"):
        open_redactor(policy, base / "elsewhere")


def test_a_spec_that_names_what_is_not_there_is_wrong(base: Path) -> None:
    with pytest.raises(SpecError, match="has no function 'absent'"):
        bind_policy(spec("my_orders:absent"), base)
    with pytest.raises(SpecError, match="its module has no file to hash"):
        bind_policy(spec("sys:intern"), base)


def test_the_type_of_look_alikes_is_taken(base: Path) -> None:
    with pytest.raises(SpecError, match="'text' is the type of what looks like a placeholder; name yours otherwise"):
        bind_policy(PrivacySpec(own=(DetectorSpec(use="my_orders:orders", types=("text",)),)), base)
