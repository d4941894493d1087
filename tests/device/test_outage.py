"""A real cloud process is killed while requests flow, and comes back."""

import statistics
import time

from tests.node_process import NodeProcess
from tianti.device import Ladder, load
from tianti.package import Release
from tianti.serving.local import local_node
from tianti.spec import Prediction, Reason, Tier

DEADLINE_MS = 500.0


def flow(ladder: Ladder, *, until: str, at_most_s: float) -> list[tuple[float, Prediction]]:
    """(milliseconds, answer) of one request after another, until one is answered by `until`'s tier or reason."""
    got: list[tuple[float, Prediction]] = []
    end_s = time.perf_counter() + at_most_s
    while time.perf_counter() < end_s:
        start_s = time.perf_counter()
        answer = ladder.predict("luminaire")
        got.append(((time.perf_counter() - start_s) * 1e3, answer))
        if until in (answer.tier, answer.decision.reason):
            return got
        time.sleep(0.005)
    raise AssertionError(f"no answer of {until} within {at_most_s} s; last: {got[-1]}")


def test_a_killed_cloud_costs_three_tries_and_is_found_again(release: Release, free_port: int) -> None:
    with load(release.folder, upstream=f"http://127.0.0.1:{free_port}") as ladder:
        with NodeProcess(Tier.CLOUD, release.folder, free_port) as cloud:
            before = [ladder.predict("luminaire") for _ in range(20)]
            cloud.kill()
            outage = flow(ladder, until=Reason.BREAKER_OPEN, at_most_s=10.0)
            after = [ladder.predict("luminaire") for _ in range(200)]
        with NodeProcess(Tier.CLOUD, release.folder, free_port):
            back_s = time.perf_counter()
            flow(ladder, until=Tier.CLOUD, at_most_s=5.0)
            assert time.perf_counter() - back_s < 5.0
            assert not ladder.predict("luminaire").decision.degraded

    assert all(answer.tier is Tier.CLOUD for answer in before)
    tried = [answer for _, answer in outage if answer.decision.reason is not Reason.BREAKER_OPEN]
    assert len(tried) <= 3
    for answer in [answer for _, answer in outage] + after:
        assert (answer.tier, answer.label) == (Tier.DEVICE, "other")
        assert (answer.decision.degraded, answer.decision.certified) == (True, False)
        assert answer.decision.ms <= DEADLINE_MS
    assert max(ms for ms, _ in outage) <= DEADLINE_MS
    # once it is known to be out, an answer costs what a local one costs: far from any network's milliseconds
    with load(release.folder) as alone:
        local = [alone.predict("luminaire").decision.ms for _ in range(200)]
    assert statistics.median(answer.decision.ms for answer in after) < 3 * statistics.median(local)


def test_a_cloud_that_stops_answering_in_mid_request_loses_nothing(release: Release) -> None:
    """Killed between a request's arrival and its answer, again and again: eight in flight at any time."""
    with NodeProcess(Tier.CLOUD, release.folder) as cloud, load(release.folder, upstream=cloud.url) as ladder:
        ladder.predict("luminaire")
        texts = ["luminaire"] * 400

        def feed():  # noqa: ANN202
            for index, text in enumerate(texts):
                if index == 100:
                    cloud.kill()
                yield text

        answers = ladder.predict_many(feed())
    assert len(answers) == len(texts)
    assert sum(answer.tier is Tier.CLOUD for answer in answers) >= 90
    assert all(answer.decision.degraded for answer in answers[-200:])
    assert max(answer.decision.ms for answer in answers) <= DEADLINE_MS


def test_an_edge_whose_cloud_is_killed_answers_degraded(release: Release) -> None:
    with (
        NodeProcess(Tier.CLOUD, release.folder) as cloud,
        local_node(Tier.EDGE, release.folder, [cloud.url]) as edge,
        load(release.folder, upstream=[edge, cloud.url]) as ladder,
    ):
        assert ladder.predict("luminaire").decision.tiers_tried == ("device", "edge", "cloud")
        cloud.kill()
        got = ladder.predict("luminaire")
        assert (got.tier, got.decision.degraded, got.decision.certified) == (Tier.EDGE, True, False)
        sure = ladder.predict("lantern")
        assert (sure.tier, sure.decision.degraded, sure.decision.certified) == (Tier.EDGE, False, True)
