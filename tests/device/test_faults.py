"""Real faults on loopback: every request is answered in its deadline, and says rightly what its answer is."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from tests.fault_server import (
    FAULTS,
    HEALTHY,
    JUNK_BEHIND,
    LABEL,
    Asked,
    answer_of,
    drip,
    fault_server,
    nobody,
    response,
    right,
    says,
)
from tianti.device import Ladder, load
from tianti.package import Release
from tianti.protocols.infer import MAX_BODY_BYTES
from tianti.runtimes.remote import RemoteRung
from tianti.serving.local import local_node
from tianti.spec import Prediction, Reason, Tier

DEADLINE_MS = 400.0
SLACK = 1.25  # of a machine that others use too
NAMES = ["refused", *FAULTS]


def server_with(fault: str) -> AbstractContextManager[str]:
    return nobody() if fault == "refused" else fault_server(FAULTS[fault])


def ask(ladder: Ladder) -> Iterator[tuple[float, Prediction]]:
    """(milliseconds, answer) of texts that only the cloud knows: one after another, then several at a time."""
    for _ in range(6):
        start_s = time.perf_counter()
        answer = ladder.predict("luminaire")
        yield (time.perf_counter() - start_s) * 1e3, answer
    for answer in asyncio.run(ladder.apredict_many(["luminaire"] * 6)):
        yield answer.decision.ms, answer


def check_stays_here(answers: list[tuple[float, Prediction]], local: Prediction) -> None:
    assert len(answers) == 12
    for ms, answer in answers:
        assert ms <= SLACK * DEADLINE_MS
        assert (answer.label, answer.scores, answer.tier) == (local.label, local.scores, Tier.DEVICE)
        assert (answer.decision.degraded, answer.decision.certified) == (True, False)


@pytest.mark.parametrize("fault", NAMES)
def test_an_upstream_that_fails_is_degraded_and_never_certified(release: Release, fault: str) -> None:
    with server_with(fault) as url, load(release.folder, upstream=url, deadline_ms=DEADLINE_MS, audits=0.0) as ladder:
        sure = ladder.predict("lamp")
        answers = list(ask(ladder))
        also_sure = ladder.predict("lamp")
    with load(release.folder) as alone:
        check_stays_here(answers, alone.predict("luminaire"))
    reasons = {answer.decision.reason for _, answer in answers}
    assert reasons <= {Reason.UPSTREAM_DOWN, Reason.DEADLINE, Reason.BREAKER_OPEN}
    for answer in (sure, also_sure):  # what the device knows is as good as ever
        assert (answer.label, answer.decision.certified, answer.decision.degraded) == (LABEL, True, False)


def test_control_an_answer_from_above_is_not_taken_for_one_from_here(release: Release) -> None:
    with fault_server(HEALTHY) as url, load(release.folder, upstream=url, audits=0.0, deadline_ms=10_000) as ladder:
        answers = list(ask(ladder))
    assert all((answer.label, answer.tier) == (LABEL, Tier.CLOUD) for _, answer in answers)
    assert all(answer.decision.certified and not answer.decision.degraded for _, answer in answers)
    with load(release.folder) as alone, pytest.raises(AssertionError):
        check_stays_here(answers, alone.predict("luminaire"))


def test_an_answer_of_another_release_is_not_certified_whatever_it_says(release: Release) -> None:
    another = says(lambda _asked: response(answer_of("0" * 64)))
    with fault_server(another) as url, load(release.folder, upstream=url, audits=0.0) as ladder:
        given = ladder.predict("luminaire")
    assert (given.tier, given.decision.certified) == (Tier.CLOUD, False)


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
@pytest.mark.parametrize(("header", "out"), [("\r\nRetry-After: 1", False), ("", True)])
def test_a_server_that_says_when_to_come_again_is_busy_and_not_out(
    release: Release, status: str, header: str, out: bool
) -> None:
    """The second case is the control: who does not say when is a failure, which opens the breaker."""
    shed = []

    async def six_times(writer: asyncio.StreamWriter, asked: Asked) -> None:
        shed.append(asked)
        writer.write(response(b'{"error": "busy"}', status + header) if len(shed) <= 6 else response(right(asked)))

    with fault_server(six_times) as url, load(release.folder, upstream=url, audits=0.0) as ladder:
        answers = [ladder.predict("luminaire") for _ in range(6)]
        after = ladder.predict("luminaire")
    reasons = {answer.decision.reason for answer in answers}
    assert reasons == ({Reason.UPSTREAM_DOWN, Reason.BREAKER_OPEN} if out else {Reason.BUSY})
    assert all(answer.tier is Tier.DEVICE and answer.decision.degraded for answer in answers)
    if not out:
        assert (after.tier, len(shed)) == (Tier.CLOUD, 7)


@pytest.mark.parametrize("body", [b"x" * (MAX_BODY_BYTES + 1), answer_of("", 1.5), answer_of("", -0.1)])
def test_a_body_without_end_and_scores_out_of_range_are_failures(release: Release, body: bytes) -> None:
    server = fault_server(says(lambda _asked: response(body)))
    with server as url, load(release.folder, upstream=url, audits=0.0, deadline_ms=5000) as ladder:
        given = ladder.predict("luminaire")
    assert (given.tier, given.decision.reason) == (Tier.DEVICE, Reason.UPSTREAM_DOWN)


def test_junk_behind_a_whole_answer_does_that_one_no_harm(release: Release) -> None:
    with fault_server(JUNK_BEHIND) as url, load(release.folder, upstream=url, audits=0.0) as ladder:
        answers = [answer for _, answer in ask(ladder)]
    assert (answers[0].label, answers[0].tier, answers[0].decision.certified) == (LABEL, Tier.CLOUD, True)
    for answer in answers:  # the next ones may find a connection that is no use any more
        above = answer.tier is Tier.CLOUD
        assert (answer.label, answer.decision.certified) == ((LABEL, True) if above else ("other", False))
        assert answer.decision.degraded is not above


def test_control_one_that_waits_for_a_slow_answer_is_found(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = RemoteRung.ask
    monkeypatch.setattr(RemoteRung, "ask", lambda self, request, _remaining_s: patient(self, request, 60.0))
    monkeypatch.setattr(Ladder, "_patience_s", lambda self, step: 1.0)
    with fault_server(drip) as url, load(release.folder, upstream=url, deadline_ms=DEADLINE_MS) as ladder:
        start_s = time.perf_counter()
        answer = ladder.predict("luminaire")
        waited = [((time.perf_counter() - start_s) * 1e3, answer)] * 12
    with load(release.folder) as alone, pytest.raises(AssertionError):
        check_stays_here(waited, alone.predict("luminaire"))


@pytest.mark.parametrize("fault", NAMES)
def test_a_healthy_upstream_behind_it_answers_certified(release: Release, fault: str) -> None:
    with (
        server_with(fault) as faulty,
        local_node(Tier.CLOUD, release.folder) as healthy,
        load(release.folder, upstream=[faulty, healthy], deadline_ms=900.0, audits=0.0) as ladder,
    ):
        answers = [ladder.predict("luminaire") for _ in range(6)]
    for answer in answers:
        assert (answer.label, answer.tier) == (LABEL, Tier.CLOUD)
        assert (answer.decision.certified, answer.decision.degraded) == (True, False)
        assert answer.decision.ms <= SLACK * 900.0
