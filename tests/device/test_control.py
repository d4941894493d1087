"""What an entry node decides over all requests, on real models and real nodes: audits, alarms, money."""

import time
from collections.abc import Callable

import pytest

from tests.tiny_release import ALPHA, make_release
from tianti.device import load
from tianti.errors import UsageError
from tianti.package import Release
from tianti.serving.local import local_node
from tianti.spec import Reason, Tier


def wait_for(what: Callable[[], bool], patience_s: float = 10.0) -> None:
    until_s = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < until_s, "did not come to pass"
        time.sleep(0.01)


def test_audits_go_to_the_cloud_unseen_and_agree(release: Release) -> None:
    with (
        local_node(Tier.CLOUD, release.folder) as cloud,
        local_node(Tier.EDGE, release.folder, [cloud]) as edge,
        load(release.folder, upstream=edge, audits=1.0) as ladder,
    ):
        answers = []
        for text in ("lamp", "lantern", "luminaire", "rain"):  # device, edge, cloud, device
            answers.append(ladder.predict(text))
            wait_for(lambda: ladder.status().audited == len(answers))
        status = ladder.status()
    assert [answer.tier for answer in answers] == [Tier.DEVICE, Tier.EDGE, Tier.CLOUD, Tier.DEVICE]
    assert all(answer.decision.certified for answer in answers)
    assert (status.differed, status.alarms, status.point) == (0, [], ALPHA)
    assert status.answered == {Tier.DEVICE: 2, Tier.EDGE: 1, Tier.CLOUD: 1}


def test_no_audits_and_nothing_leaves_the_device(release: Release, nowhere: str) -> None:
    with load(release.folder, upstream=nowhere, audits=0.0) as ladder:
        for _ in range(50):
            ladder.predict("lamp")
        assert ladder.status().audited == 0
        assert ladder._background._thread is None


def test_a_cloud_that_became_another_is_found_and_said(
    release: Release, tmp_path: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its lamp is music: what the device answers is no longer what the cloud would."""
    words = {"lights": ("song", "tune", "sonata"), "music": ("lamp", "lantern", "luminaire")}
    words["weather"] = ("rain", "drizzle", "precipitation")
    other = make_release(tmp_path_factory.mktemp("other"), words=words)
    with (
        local_node(Tier.CLOUD, other.folder) as cloud,
        load(release.folder, upstream=cloud, audits=1.0) as ladder,
    ):
        assert ladder.predict("lamp").decision.certified

        def alarmed() -> bool:
            ladder.predict("lamp")
            return bool(ladder.status().alarms)

        wait_for(alarmed)
        answer, status = ladder.predict("lamp"), ladder.status()
    assert status.alarms == [ALPHA]
    assert status.differed > 0
    assert (answer.tier, answer.decision.certified) == (Tier.DEVICE, False)  # it was the strictest point


def test_audits_that_cannot_be_made_say_nothing(release: Release, nowhere: str) -> None:
    with load(release.folder, upstream=nowhere, audits=1.0) as ladder:
        answers = [ladder.predict("lamp") for _ in range(20)]
        assert all(answer.decision.certified for answer in answers)
        assert ladder.status().audited == 0


def test_when_the_days_money_is_spent_answers_stay_and_say_so(release: Release) -> None:
    with (
        local_node(Tier.CLOUD, release.folder) as cloud,
        load(release.folder, upstream=cloud, per_day=24 * 0.22 * 3 / 1e3, audits=0.0) as ladder,  # three now
    ):
        answers = ladder.predict_many(["luminaire"] * 6)
    assert [answer.tier for answer in answers] == [Tier.CLOUD] * 3 + [Tier.DEVICE] * 3
    assert [answer.decision.reason for answer in answers[3:]] == [Reason.BUDGET] * 3
    assert all(answer.decision.degraded and not answer.decision.certified for answer in answers[3:])


def test_a_try_that_failed_may_have_cost_its_price(release: Release, nowhere: str) -> None:
    with load(release.folder, upstream=nowhere, per_day=24 * 0.22 * 2.5 / 1e3, audits=0.0) as ladder:  # two now
        before = ladder.predict("luminaire").decision.reason
        again = ladder.predict("luminaire").decision.reason  # the breaker is open: nobody was asked
        assert (before, again) == (Reason.UPSTREAM_DOWN, Reason.BREAKER_OPEN)
        time.sleep(0.2)
        ladder.predict("lamp")
        assert ladder.status().pressure["budget"] == pytest.approx(1 / 2.5, abs=0.05)  # of one, not of three


def test_a_point_or_share_that_cannot_be_is_refused(release: Release) -> None:
    for wrong in ({"laxest": 0.5}, {"audits": 1.5}, {"per_day": -1.0}, {"point": 0.3}):
        with pytest.raises(UsageError):
            load(release.folder, **wrong)  # type: ignore[arg-type]
