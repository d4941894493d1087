"""A small fleet of real processes: a release spreads while parts are killed; a bad one is refused and taken back.

With 2 edges and 20 devices: `python -m benchmarks.fleet_rollout`.
"""

import pytest

from tests.e2e.fleet_story import Told, tell


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return tell(tmp_path_factory.mktemp("fleet"), edges=1, devices=3, ring="50%", bad_ring="100%")


def test_no_request_is_lost_or_answered_outside_the_certificate(told: Told) -> None:
    for answers in (told.before, told.after):
        assert len(answers.lines) > 100
        assert (answers.lost, answers.wrong, answers.uncertified) == ([], [], [])


def test_the_cloud_has_no_more_to_do_than_before(told: Told) -> None:
    assert max(told.shares) <= 1.2 * told.before.cloud_share


def test_parts_were_killed_and_without_kills_nothing_is_degraded(told: Told) -> None:
    assert sum(told.kills.values()) > 2
    assert not told.before.degraded


def test_every_device_ends_on_the_promised_release(told: Told) -> None:
    assert told.ended == {told.good: 3}
    assert told.exposed == told.ring == 3
