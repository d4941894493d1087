"""A rollout's steps, and what the devices that read them do; what would mislead them is not signed."""

from typing import Any

import msgspec
import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.release.publisher import CHANNEL, NOW_S, PRODUCT, make_shipment, make_signers
from tianti.errors import UsageError
from tianti.package import Choice, Facts, Installed, Match, Ring, decide
from tianti.package.rollout import MILLION
from tianti.release import (
    Repository,
    Standing,
    add_shipment,
    create,
    find_offer,
    floor_of,
    halt,
    lint_repository,
    lint_rollout,
    offers,
    promote,
    read_rollout,
    read_rollouts,
    refresh,
    revoke,
    revoked,
    rollback,
    seal,
    set_rollout,
    start_rollout,
)
from tianti.release.repository import LIFE_S, PROFILES

SIGNERS = make_signers()
FIRST, SECOND, THIRD = (make_shipment(counter)[0].release for counter in (1, 2, 3))
PLAN = {
    "steps": [{"ppm": 50_000, "shadow": False}, {"ppm": MILLION, "shadow": False}],
    "at": -1,
    "terms": {"p0": 0.005},
}


def offered(count: int = 3) -> Repository:
    repository = create(SIGNERS, NOW_S)
    for counter in range(1, count + 1):
        repository = add_shipment(repository, make_shipment(counter)[0], SIGNERS, NOW_S)
    return repository


def started(repository: Repository, release: str, **options: Any) -> Repository:
    return start_rollout(repository, PRODUCT, release, SIGNERS, NOW_S, channel=CHANNEL, **options)


def stepped(repository: Repository, ppm: int, at: int, shadow: bool = False) -> Repository:
    plan = {**PLAN, "at": at}
    return promote(repository, PRODUCT, CHANNEL, SIGNERS, NOW_S, ppm=ppm, shadow=shadow, plan=plan)


def standing(repository: Repository) -> Standing:
    found = read_rollout(repository, PRODUCT, CHANNEL)
    assert found is not None
    return found


def choices(repository: Repository, installed: Installed | None, count: int = 400, **facts: Any) -> set[Choice]:
    rollout = standing(repository).rollout
    devices = (Facts(device_id=f"d{n}", runtime="0.5", abi="linux", **facts) for n in range(count))
    return {decide(rollout, device, installed, NOW_S) for device in devices}


def test_a_rollout_from_its_start_to_all_devices_and_back() -> None:
    repository = started(offered(), FIRST, ppm=MILLION)
    assert choices(repository, None) == {Choice(FIRST, "selected")}
    had = Installed(FIRST, 1)
    repository = started(repository, SECOND, plan=PLAN)
    assert standing(repository).plan == PLAN  # with its fractions
    assert choices(repository, had) == {Choice(None, "not in the ring")}
    assert choices(repository, None) == {Choice(FIRST, "previous")}
    repository = stepped(repository, 50_000, 0)
    assert choices(repository, had) == {Choice(SECOND, "selected"), Choice(None, "not in the ring")}
    halted = halt(repository, PRODUCT, CHANNEL, SIGNERS, NOW_S)
    assert choices(halted, had) == {Choice(None, "halted")}
    assert choices(halted, Installed(SECOND, 2)) == {Choice(None, "runs it")}
    repository = stepped(repository, MILLION, 1)
    assert choices(repository, had) == {Choice(SECOND, "selected")}
    back = rollback(repository, PRODUCT, CHANNEL, SIGNERS, NOW_S)
    assert choices(back, Installed(SECOND, 2)) == choices(back, None) == {Choice(FIRST, "selected")}
    assert choices(back, had) == {Choice(None, "runs it")}
    with pytest.raises(UsageError, match="a release to go back to, got none"):
        rollback(back, PRODUCT, CHANNEL, SIGNERS, NOW_S)


def test_a_second_try_meets_the_devices_of_the_first_and_another_release_others() -> None:
    repository = stepped(started(started(offered(), FIRST, ppm=MILLION), SECOND, plan=PLAN), 50_000, 0)
    first = standing(repository).rollout
    halted = halt(repository, PRODUCT, CHANNEL, SIGNERS, NOW_S)
    with pytest.raises(UsageError, match="got a halted one; start it again"):
        stepped(halted, MILLION, 1)
    again = standing(started(halted, SECOND, plan=PLAN)).rollout
    assert (again.salt, again.previous, again.halt) == (first.salt, FIRST, False)
    other = standing(started(halted, THIRD, plan=PLAN)).rollout
    assert other.salt != first.salt
    assert other.previous == FIRST  # what was halted is nothing to go back to


def test_an_unfinished_rollout_is_nothing_to_go_back_to_and_a_finished_one_is() -> None:
    under_way = stepped(started(started(offered(), FIRST, ppm=MILLION), SECOND, plan=PLAN), 50_000, 0)
    assert standing(started(under_way, THIRD)).rollout.previous == FIRST
    finished = stepped(under_way, MILLION, 1)
    assert standing(started(finished, THIRD)).rollout.previous == SECOND


def test_what_no_device_would_follow_is_refused() -> None:
    repository = started(offered(), SECOND, ppm=MILLION)
    with pytest.raises(UsageError, match="devices go back by a rollback only"):
        started(repository, FIRST)
    with pytest.raises(UsageError, match="1000000 ppm or more, got 50000"):
        stepped(repository, 50_000, 0)
    with pytest.raises(UsageError, match="nobody could activate"):
        started(repository, THIRD, activate_by_s=NOW_S - 1)
    with pytest.raises(UsageError, match="Expected `int` <= 86400"):
        started(repository, THIRD, poll_s=100_000)
    with pytest.raises(UsageError, match="expected one release that is offered, got 'ffffff'"):
        started(repository, "ffffff")
    with pytest.raises(UsageError, match="products here: demo"):
        start_rollout(repository, "nothing", FIRST, SIGNERS, NOW_S)
    with pytest.raises(UsageError, match="known: demo stable"):
        halt(repository, PRODUCT, "beta", SIGNERS, NOW_S)


def test_a_shadow_ring_gives_way_to_a_smaller_one_that_answers() -> None:
    repository = stepped(started(offered(), FIRST, plan=PLAN), 500_000, 0, shadow=True)
    assert standing(repository).rollout.shadow
    after = standing(stepped(repository, 10_000, 1)).rollout
    assert (after.shadow, after.rings[0].ppm) == (False, 10_000)


def test_whom_it_is_for_goes_with_it_through_every_step() -> None:
    match = Match(tags=("beta",), regions=("eu",))
    repository = started(started(offered(), FIRST, ppm=MILLION), SECOND, match=match, plan=PLAN)
    back = rollback(stepped(repository, MILLION, 1), PRODUCT, CHANNEL, SIGNERS, NOW_S)
    for each in (repository, back):
        found = standing(each).rollout.rings[0].match
        assert (found.tags, found.regions, found.runtime_min) == (("beta",), ("eu",), "0.1.0")  # the shipment's
    assert choices(back, Installed(SECOND, 2)) == {Choice(None, "no ring fits")}
    meant = {"tags": frozenset({"beta", "x"}), "region": "eu"}
    assert choices(back, Installed(SECOND, 2), **meant) == {Choice(FIRST, "selected")}
    assert choices(back, None) == {Choice(FIRST, "previous")}  # a new device that it is not for is not left without


def test_a_halt_is_never_refused() -> None:
    repository = started(offered(), SECOND, ppm=MILLION, activate_by_s=NOW_S + 60)
    later = halt(repository, PRODUCT, CHANNEL, SIGNERS, NOW_S + 120)
    assert standing(later).rollout.halt
    with pytest.raises(UsageError, match="nobody could activate"):
        promote(repository, PRODUCT, CHANNEL, SIGNERS, NOW_S + 120, ppm=MILLION, shadow=False, plan=None)


def test_a_revoked_release_is_left_everywhere() -> None:
    repository = stepped(started(started(offered(), FIRST, ppm=MILLION), SECOND, plan=PLAN), MILLION, 1)
    after = revoke(repository, PRODUCT, SECOND[:8], SIGNERS, NOW_S)
    assert revoked(after) == {SECOND}
    assert choices(after, Installed(SECOND, 2)) == {Choice(FIRST, "selected")}
    assert lint_repository(seal(after, SIGNERS, NOW_S), NOW_S) == []
    with pytest.raises(UsageError, match="in force"):
        started(after, SECOND)
    offline = {**SIGNERS, "rollout": []}
    alone = revoke(repository, PRODUCT, SECOND, offline, NOW_S)
    assert standing(alone).rollout == standing(repository).rollout
    assert "which was revoked" in " ".join(lint_repository(alone, NOW_S))


def test_a_revoked_fallback_does_not_keep_a_rollout_from_going_on() -> None:
    finished = stepped(started(started(offered(), FIRST, ppm=MILLION), SECOND, plan=PLAN), MILLION, 1)
    repository = started(finished, THIRD, plan=PLAN)
    alone = revoke(repository, PRODUCT, SECOND, {**SIGNERS, "rollout": []}, NOW_S)
    assert standing(alone).rollout.previous == SECOND
    assert standing(stepped(alone, 50_000, 0)).rollout.previous == FIRST
    assert standing(revoke(repository, PRODUCT, SECOND, SIGNERS, NOW_S)).rollout.previous == FIRST


def test_a_floor_takes_all_older_ones_and_never_falls() -> None:
    repository = revoke(started(offered(), THIRD, ppm=MILLION), PRODUCT, SECOND, SIGNERS, NOW_S, and_older=True)
    assert floor_of(repository, PRODUCT) == 3
    assert floor_of(revoke(repository, PRODUCT, FIRST, SIGNERS, NOW_S, and_older=True), PRODUCT) == 3
    with pytest.raises(UsageError, match="from the floor 3 up, got 1"):
        rollback(repository, PRODUCT, CHANNEL, SIGNERS, NOW_S, release=FIRST)


def test_a_statement_is_read_for_what_would_mislead() -> None:
    repository = started(offered(), FIRST, ppm=MILLION)
    rollout = standing(repository).rollout

    def said(**changes: Any) -> str:
        return " ".join(lint_rollout(repository, msgspec.structs.replace(rollout, **changes), NOW_S))

    assert said() == ""
    wide, narrow = (
        Ring(ppm=1, match=Match(regions=("eu", "us"))),
        Ring(ppm=2, match=Match(regions=("eu",), tags=("a",))),
    )
    assert said(rings=(narrow, wide)) == ""
    assert "ring 2 is never reached" in said(rings=(wide, narrow))
    assert "no device is meant" in said(rings=())
    assert "expected its counter 1, got 2" in said(counter=2)
    assert "expected one that is offered" in said(previous="f" * 64)
    assert "it is the same ring" in said(channel="beta", release=SECOND, counter=2)
    assert "floor 2 up" in said(floor=2)


def test_what_is_offered_is_found_by_its_first_digits() -> None:
    repository = offered()
    assert [offer.counter for offer in offers(repository)] == [3, 2, 1]
    assert find_offer(repository, PRODUCT, "latest").release == THIRD
    assert find_offer(repository, PRODUCT, FIRST[:6]).counter == 1
    with pytest.raises(UsageError, match="expected one release that is offered"):
        find_offer(repository, PRODUCT, FIRST[:5])
    assert read_rollouts(repository) == []
    forced = add_shipment(repository, make_shipment(4)[0], SIGNERS, NOW_S, forced="known to be slower")
    assert offers(forced)[0].forced == "known to be slower"


def test_a_rollout_from_the_future_is_not_half_understood() -> None:
    repository = started(offered(), FIRST)
    statement = {**repository.rollout.signed.targets[f"rollout/{PRODUCT}/{CHANNEL}"].custom, "moon": 1}
    with pytest.raises(UsageError, match="update tianti"):
        read_rollout(set_rollout(repository, statement, SIGNERS, NOW_S), PRODUCT, CHANNEL)


def versions(repository: Repository) -> dict[str, int]:
    return {role: getattr(repository, role).signed.version for role in LIFE_S}


def test_a_refresh_signs_what_has_lived_half_its_time() -> None:
    repository = seal(offered(), SIGNERS, NOW_S)
    hour = refresh(repository, {"timestamp": SIGNERS["timestamp"]}, NOW_S + 3_600)
    assert versions(hour) == {**versions(repository), "timestamp": versions(repository)["timestamp"] + 1}
    later = NOW_S + LIFE_S["snapshot"] // 2 + 1
    online = {role: SIGNERS[role] for role in ("rollout", "snapshot", "timestamp")}
    days = refresh(hour, online, later)
    assert {role for role in LIFE_S if versions(days)[role] > versions(hour)[role]} == set(online)
    assert lint_repository(days, later) == []
    year = NOW_S + LIFE_S["root"] * 3 // 4
    assert {line.split()[0] for line in lint_repository(days, year)} == set(LIFE_S) - {"root"}
    fresh = refresh(days, SIGNERS, year)
    assert lint_repository(fresh, year, within_s=3_600) == []
    assert fresh.root.signed.version == 2


def test_a_profile_stays_with_its_repository() -> None:
    isolated = create(SIGNERS, NOW_S, "isolated")
    assert isolated.timestamp.signed.expires.timestamp() == NOW_S + PROFILES["isolated"]["timestamp"]
    later = NOW_S + 80 * 86_400
    assert lint_repository(isolated, later) == []
    assert lint_repository(create(SIGNERS, NOW_S), later) != []
    again = refresh(isolated, SIGNERS, later)
    assert again.timestamp.signed.expires.timestamp() == later + PROFILES["isolated"]["timestamp"]
    with pytest.raises(UsageError, match="online, isolated, got 'cold'"):
        create(SIGNERS, NOW_S, "cold")
