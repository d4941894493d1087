"""What was counted is what Prometheus reads, and nothing of a text is in it."""

import asyncio
import sys
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics

from tests.telemetry.numbers import RELEASE, parse, prediction, read
from tianti.errors import DeadlineError, OverloadError, QuotaError, UnknownModelError
from tianti.spec import Priority, Reason, Tier
from tianti.telemetry.families import COUNTERS, GAUGES, HISTOGRAMS
from tianti.telemetry.metrics import Metrics
from tianti.telemetry.tally import outcome_of


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(Tier.EDGE)


def test_an_answered_request_is_counted_by_what_became_of_it(metrics: Metrics) -> None:
    tally = metrics.of("tiny", RELEASE)
    tally.answered("oip", 0.003, [prediction(), prediction(Tier.CLOUD, Reason.TOP)])
    tally.answered("tfs", 0.003, [prediction(reason=Reason.BUSY, certified=False)])
    found = read(metrics)
    assert found["tianti_requests_total", "oip", "ok"] == 1
    assert found["tianti_requests_total", "tfs", "ok"] == 1
    assert found["tianti_texts_total",] == 3
    assert found["tianti_escalations_total", "cloud"] == 1
    assert found["tianti_degraded_total", "busy"] == 1
    assert found["tianti_uncertified_total",] == 1
    assert found["tianti_request_seconds_count",] == 2
    assert found["tianti_request_seconds_sum",] == pytest.approx(0.006)
    assert ("tianti_escalations_total", "edge") not in found


def test_what_may_not_leave_and_what_was_replaced_are_counted_by_type(metrics: Metrics) -> None:
    tally = metrics.of("tiny", RELEASE)
    tally.answered("oip", 0.003, [prediction(reason=Reason.PRIVATE, certified=False), prediction()])
    tally.held(["id_card", "bank_card"])
    tally.redacted({"phone": 2, "email": 1})
    tally.redacted({"phone": 1})
    found = read(metrics)
    assert (found["tianti_private_total",], found["tianti_uncertified_total",]) == (1, 1)
    assert ("tianti_degraded_total", "private") not in found
    assert (found["tianti_held_total", "id_card"], found["tianti_held_total", "bank_card"]) == (1, 1)
    assert (found["tianti_redacted_total", "phone"], found["tianti_redacted_total", "email"]) == (3, 1)


def test_buckets_are_cumulative_and_their_bounds_inclusive(metrics: Metrics) -> None:
    tally = metrics.of("tiny", RELEASE)
    tally.ran(4, 40, 31, [0.001, 0.0011, 9.0, 0.0], 0.02)
    tally.ran(1, 8, 8, [0.0], 0.01)
    found = read(metrics)
    waits = [found["tianti_queue_wait_seconds_bucket", bound] for bound in ("0.0005", "0.001", "0.0025", "2.5", "+Inf")]
    assert waits == [2, 3, 4, 4, 5]
    assert found["tianti_batch_size_bucket", "1.0"] == 1 and found["tianti_batch_size_bucket", "4.0"] == 2
    assert found["tianti_engine_tokens_total",] == 39 and found["tianti_engine_padded_tokens_total",] == 48
    assert found["tianti_engine_seconds_sum",] == pytest.approx(0.03)


def test_what_was_not_answered_says_why(metrics: Metrics) -> None:
    tally = metrics.of("tiny", RELEASE)
    tally.shed(Priority.BATCH, "backlog")
    tally.failed("oip", "shed")
    tally.abandoned()
    tally.cached("hit")
    metrics.unknown.failed("tfs", "error")
    found = read(metrics)
    assert found["tianti_shed_total", "batch", "backlog"] == 1
    assert found["tianti_requests_total", "oip", "shed"] == 1
    assert found["tianti_requests_total", "tfs", "error"] == 1
    assert found["tianti_abandoned_total",] == 1
    assert found["tianti_cache_total", "hit"] == 1
    assert found["tianti_request_seconds_count",] == 0  # a refusal that took no time would flatter the latency


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (QuotaError("", 1.0), "quota"),
        (OverloadError("", 1.0), "shed"),
        (DeadlineError(), "deadline"),
        (asyncio.CancelledError(), "abandoned"),
        (UnknownModelError(), "error"),
        (ValueError(), "error"),
    ],
)
def test_errors_are_outcomes(error: BaseException, outcome: str) -> None:
    assert outcome_of(error) == outcome


def test_gauges_are_asked_when_somebody_reads(metrics: Metrics) -> None:
    under_way = 3
    metrics.watch(lambda: under_way, lambda: 250.0, lambda: [("tiny", RELEASE, 7)])
    assert read(metrics)["tianti_in_flight",] == 3
    under_way = 4
    found = read(metrics)
    assert found["tianti_in_flight",] == 4
    assert found["tianti_backlog_seconds",] == 0.25
    assert found["tianti_release_loaded", "7"] == 1
    assert found["tianti_workers",] == 1
    assert f'version="{RELEASE[:12]}"' in metrics.render()[0].decode()
    assert RELEASE not in metrics.render()[0].decode()


def test_a_release_that_comes_again_goes_on_counting_and_past_ones_make_room(metrics: Metrics) -> None:
    kept = metrics.of("tiny", RELEASE)
    kept.abandoned()
    metrics.watch(lambda: 0, lambda: 0.0, lambda: [("tiny", RELEASE, 1)])
    assert metrics.of("tiny", RELEASE) is kept
    for number in range(200):
        metrics.of("tiny", f"{number:064d}"[::-1]).abandoned()
    body = metrics.render()[0].decode()
    assert body.count("tianti_abandoned_total{") == 64
    assert f'version="{RELEASE[:12]}"' in body  # the oldest, but loaded


def test_prometheus_and_openmetrics_say_the_same(metrics: Metrics) -> None:
    metrics.of("tiny", RELEASE).answered("oip", 0.003, [prediction()])
    plain, plain_type = metrics.render(b"text/plain;version=0.0.4")
    opened, opened_type = metrics.render(b"application/openmetrics-text; version=1.0.0")
    assert plain_type.startswith(b"text/plain") and opened_type.startswith(b"application/openmetrics-text")
    names = {sample.name for family in read_openmetrics(opened.decode()) for sample in family.samples}
    assert names == {key[0] for key in parse(plain.decode())}


@pytest.mark.skipif(sys.platform != "linux", reason="the library reads /proc")
def test_the_process_tells_of_itself(metrics: Metrics) -> None:
    found = read(metrics)
    assert found["process_cpu_seconds_total",] > 0 and found["process_resident_memory_bytes",] > 1e6


def test_every_family_is_shown_before_anything_is_counted(metrics: Metrics) -> None:
    body = metrics.render()[0].decode()
    for family in (*COUNTERS, *GAUGES, *HISTOGRAMS):
        assert f"# TYPE {family.name}" in body


def test_reading_while_others_count_never_fails_and_loses_nothing(metrics: Metrics) -> None:
    tally, ending = metrics.of("tiny", RELEASE), threading.Event()

    def keep_reading() -> None:
        while not ending.is_set():
            metrics.render()

    reader = threading.Thread(target=keep_reading)
    reader.start()
    for number in range(20_000):  # new keys too: a dict that grows while it is read
        tally.failed(f"dialect{number % 500}", "error")
    ending.set()
    reader.join()
    assert sum(value for key, value in read(metrics).items() if key[0] == "tianti_requests_total") == 20_000
