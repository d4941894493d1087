"""Who goes to which release: the decision's rules, who is in a ring, and statements that are not understood."""

import hashlib
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tianti.errors import PackageError, TiantiError, UsageError
from tianti.package import (
    Choice,
    Facts,
    Installed,
    Match,
    Ring,
    Rollout,
    bucket,
    decide,
    decode_rollout,
)
from tianti.store import canonical_json

OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64
NOW = 1_000
EVERYBODY = (Ring(ppm=1_000_000),)
ROLLOUT = Rollout(product="demo", channel="stable", release=NEW, counter=2, salt="s", rings=EVERYBODY, previous=OLD)
DEVICE = Facts(device_id="device-1", runtime="0.6.1", abi="linux-arm64", tags=frozenset({"till", "beta"}), region="eu")
RUNS_OLD = Installed(OLD, 1)
ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ppms = st.integers(0, 1_000_000)
releases = st.sampled_from([OLD, NEW, OTHER])


def having(**changes: object) -> Rollout:
    return msgspec.structs.replace(ROLLOUT, **changes)


def selected(device_id: str, ppm: int, salt: str = "s") -> bool:
    facts = Facts(device_id=device_id, runtime="1", abi="any")
    return decide(having(rings=(Ring(ppm=ppm),), salt=salt), facts, RUNS_OLD, NOW).release == NEW


rollouts = st.builds(
    Rollout,
    product=st.just("demo"),
    channel=st.just("stable"),
    release=releases,
    counter=st.integers(0, 5),
    salt=st.sampled_from(["s", "t"]),
    rings=st.lists(st.builds(Ring, ppm=ppms), max_size=2).map(tuple),
    previous=st.none() | releases,
    previous_counter=st.integers(0, 5),
    floor=st.integers(0, 5),
    revoked=st.lists(releases, max_size=2).map(tuple),
    not_before_s=st.sampled_from([0, NOW + 1]),
    activate_by_s=st.sampled_from([None, NOW - 1, NOW]),
    halt=st.booleans(),
    force=st.booleans(),
)


@given(rollouts, ids, st.none() | st.builds(Installed, releases, st.integers(0, 5)))
def test_what_is_chosen_is_always_allowed(rollout: Rollout, device_id: str, installed: Installed | None) -> None:
    facts = msgspec.structs.replace(DEVICE, device_id=device_id)
    chosen = decide(rollout, facts, installed, NOW).release
    if chosen is None:
        return
    stays = installed is not None and installed.release not in rollout.revoked
    counters = {rollout.counter} if chosen == rollout.release else set()
    counters |= {rollout.previous_counter} if chosen == rollout.previous and not stays else set()
    assert chosen not in rollout.revoked
    assert max(counters) >= rollout.floor
    if stays:
        assert chosen != installed.release
        assert not rollout.halt
        assert rollout.force or rollout.counter >= installed.counter


@given(rollouts)
def test_a_statement_is_what_its_bytes_say(rollout: Rollout) -> None:
    assert decode_rollout(canonical_json(rollout)) == rollout


@given(ids, ppms, ppms)
def test_who_is_in_a_small_ring_is_in_a_larger_one(device_id: str, one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert selected(device_id, small) <= selected(device_id, large)


@given(ids)
def test_nobody_is_in_a_ring_of_none_and_everybody_in_one_of_all(device_id: str) -> None:
    assert not selected(device_id, 0)
    assert selected(device_id, 1_000_000)


def test_another_salt_makes_other_devices_the_first() -> None:
    first = {device for device in map(str, range(20_000)) if selected(device, 50_000)}
    second = {device for device in map(str, range(20_000)) if selected(device, 50_000, salt="t")}
    assert len(first & second) < 0.1 * len(first)
    assert first == {device for device in map(str, range(20_000)) if selected(device, 50_000)}


def chi_square(where: Callable[[str], int]) -> float:
    """How far 200,000 devices are from even over 100 classes, as the share of chance that lies below."""
    classes = np.fromiter((where(f"device-{index}") * 100 >> 64 for index in range(200_000)), int, 200_000)
    counts = np.bincount(classes, minlength=100)
    return float(stats.chi2.cdf(((counts - 2_000) ** 2 / 2_000).sum(), 99))


def test_devices_are_spread_evenly_over_the_buckets() -> None:
    assert chi_square(lambda device: bucket("s", device)) < 0.999


def test_a_bucket_by_remainder_would_not_be_even() -> None:
    """The control: two bytes modulo 1,000 prefer the first 536 of 1,000 remainders."""

    def biased(device: str) -> int:
        return (int.from_bytes(hashlib.sha256(device.encode()).digest()[:2], "big") % 1_000 << 64) // 1_000

    assert chi_square(biased) > 0.999


@pytest.mark.parametrize(
    ("changes", "installed", "expected"),
    [
        ({}, RUNS_OLD, Choice(NEW, "selected")),
        ({}, None, Choice(NEW, "selected")),
        ({}, Installed(NEW, 2), Choice(None, "runs it")),
        ({}, Installed(OTHER, 3), Choice(None, "older than the installed")),
        ({"force": True}, Installed(OTHER, 3), Choice(NEW, "selected")),
        ({"force": True, "floor": 3}, Installed(OTHER, 3), Choice(None, "below the floor")),
        ({"halt": True}, RUNS_OLD, Choice(None, "halted")),
        ({"not_before_s": NOW}, RUNS_OLD, Choice(NEW, "selected")),
        ({"not_before_s": NOW + 1}, RUNS_OLD, Choice(None, "too early")),
        ({"activate_by_s": NOW}, RUNS_OLD, Choice(NEW, "selected")),
        ({"activate_by_s": NOW - 1}, RUNS_OLD, Choice(None, "too late")),
        ({"rings": ()}, RUNS_OLD, Choice(None, "no ring fits")),
        ({"rings": (Ring(ppm=0),)}, RUNS_OLD, Choice(None, "not in the ring")),
        ({"revoked": (NEW,)}, RUNS_OLD, Choice(None, "revoked")),
        ({"revoked": (NEW,)}, Installed(NEW, 2), Choice(OLD, "previous")),
        ({"revoked": (NEW,), "halt": True, "activate_by_s": 0}, Installed(NEW, 2), Choice(OLD, "previous")),
        ({"revoked": (NEW, OLD)}, Installed(NEW, 2), Choice(None, "none is allowed")),
        ({"revoked": (NEW,), "previous": None}, Installed(NEW, 2), Choice(None, "none is allowed")),
        ({"revoked": (NEW,), "floor": 1}, Installed(NEW, 2), Choice(None, "none is allowed")),
        ({"revoked": (NEW,), "floor": 1, "previous_counter": 1}, Installed(NEW, 2), Choice(OLD, "previous")),
        ({"revoked": (OTHER,)}, Installed(OTHER, 2), Choice(NEW, "selected")),
        ({"rings": ()}, None, Choice(OLD, "previous")),
        ({"halt": True, "previous": None}, None, Choice(None, "halted")),
        ({"not_before_s": NOW + 1, "revoked": (OLD,)}, None, Choice(None, "too early")),
    ],
)
def test_rules(changes: dict[str, object], installed: Installed | None, expected: Choice) -> None:
    assert decide(having(**changes), DEVICE, installed, NOW) == expected


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (Match(), True),
        (Match(tags=("till", "beta")), True),
        (Match(tags=("till", "canary")), False),
        (Match(regions=("us", "eu")), True),
        (Match(regions=("us",)), False),
        (Match(abis=("linux-arm64",)), True),
        (Match(abis=("wasm",)), False),
        (Match(runtime_min="0.6.1"), True),
        (Match(runtime_min="0.6"), True),
        (Match(runtime_min="0.10"), False),
        (Match(runtime_min="0.6.1.1"), False),
    ],
)
def test_the_first_ring_that_fits_decides(match: Match, fits: bool) -> None:
    rings = (Ring(ppm=0, match=match), *EVERYBODY)
    expected = "not in the ring" if fits else "selected"
    assert decide(having(rings=rings), DEVICE, RUNS_OLD, NOW).reason == expected


@pytest.mark.parametrize(
    ("runtime", "fits"), [("0.6.0rc1", True), ("0.6", True), ("0.5.9+local", False), ("", False), ("main", False)]
)
def test_a_runtime_is_its_leading_numbers(runtime: str, fits: bool) -> None:
    rings = (Ring(ppm=1_000_000, match=Match(runtime_min="0.6.0")),)
    facts = msgspec.structs.replace(DEVICE, runtime=runtime)
    assert (decide(having(rings=rings), facts, RUNS_OLD, NOW).release == NEW) == fits


PLAIN = msgspec.json.decode(canonical_json(ROLLOUT))


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "tianti.rollout/2"},
        {"schema": None},
        {"wave": 3},
        {"rings": [{"ppm": 1, "match": {}, "cohort": "x"}]},
        {"rings": [{"ppm": 1, "match": {"owner": "x"}}]},
        {"rings": [{"ppm": -1}]},
        {"rings": [{"ppm": 1_000_001}]},
        {"rings": [{"ppm": 0.5}]},
        {"rings": [{"ppm": "5"}]},
        {"rings": [{"ppm": 5, "match": {"runtime_min": "1.x"}}]},
        {"counter": -1},
        {"counter": 2**53},
        {"salt": ""},
        {"salt": "a\0b"},
        {"salt": "盐"},
        {"release": "../../etc"},
        {"revoked": ["latest"]},
        {"channel": "a/b"},
        {"poll_s": 1},
        {"halt": 1},
    ],
)
def test_what_is_not_understood_is_refused(changes: dict[str, object]) -> None:
    assert decode_rollout(msgspec.json.encode(PLAIN)) == ROLLOUT
    with pytest.raises(UsageError, match=r"expected .* got.*update tianti"):
        decode_rollout(msgspec.json.encode(PLAIN | changes))


def test_a_statement_must_name_its_schema() -> None:
    with pytest.raises(UsageError, match="schema"):
        decode_rollout(msgspec.json.encode({key: value for key, value in PLAIN.items() if key != "schema"}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"schema":"\xff"}',
        b"[" * 100_000,
        b'{"schema":"tianti.rollout/1","salt":' + b"[" * 100_000,
        b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(TiantiError) as told:
        decode_rollout(content)
    assert isinstance(told.value, UsageError | PackageError)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_statement_or_refused(content: bytes) -> None:
    with pytest.raises((UsageError, PackageError)):
        decode_rollout(content)


def test_a_device_id_that_is_not_unicode_is_told() -> None:
    with pytest.raises(UsageError, match="another id"):
        bucket("s", "\ud800")
