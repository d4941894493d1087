"""A real cloud process is killed while requests flow, and comes back."""

import statistics
import time

import httpx2

from tests.node_process import NodeProcess
from tianti.device import Ladder, load
from tianti.package import Release
from tianti.router import Policy
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


def test_an_edge_that_relays_for_many_works_on_and_keeps_nothing_of_it(release: Release, free_port: int) -> None:
    """Killed while one request's 32 different texts, and as many that are equal, are on their way."""
    texts = [f"luminaire n{number}" for number in range(32)] + ["luminaire"] * 32

    def ask(client: httpx2.Client) -> list[tuple[str, bool, float]]:
        answer = client.post("/v1/predict", json={"texts": texts, "deadline_ms": DEADLINE_MS}).json()
        rows = [(each["tier"], each["decision"]) for each in answer["predictions"]]
        return [(tier, decision.get("degraded", False), decision.get("ms", 0.0)) for tier, decision in rows]

    with NodeProcess(Tier.CLOUD, release.folder, free_port) as cloud:
        settings = {"cache": 1000, "policy": Policy(audits=0.0)}
        with (
            local_node(Tier.EDGE, release.folder, [cloud.url], **settings) as edge,
            httpx2.Client(base_url=edge, trust_env=False) as client,
        ):
            cloud.kill()
            for _ in range(3):
                answers = ask(client)
                assert len(answers) == len(texts)
                assert {(tier, degraded) for tier, degraded, _ in answers} == {("edge", True)}
                assert max(ms for *_, ms in answers) <= DEADLINE_MS
            with NodeProcess(Tier.CLOUD, release.folder, free_port):
                until_s = time.perf_counter() + 5.0
                while ("edge", True) in {(tier, degraded) for tier, degraded, _ in ask(client)}:
                    assert time.perf_counter() < until_s
                    time.sleep(0.05)
                assert {tier for tier, *_ in ask(client)} == {"cloud"}


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
