"""The names of all metrics, what each counts, its labels and buckets.

Not here: counting (`tally`), the text that Prometheus reads (`metrics`).
Invariant: no label can take more values than the code, the loaded releases or a release's own tiers and types have.
"""

from typing import Literal, NamedTuple

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
VERSION_CHARS = 12
"""Of a release's id: its label `version`."""
STARTED = "process_start_time_seconds"

Outcome = Literal["ok", "error", "shed", "quota", "deadline", "abandoned"]
Cached = Literal["hit", "miss", "coalesced"]


class Family(NamedTuple):
    """All series of one name; a counter's name lacks the `_total` that Prometheus sees."""

    name: str
    says: str
    labels: tuple[str, ...] = ()


_RELEASE = ("model", "version", "tier")
COUNTERS = (
    Family("tianti_requests", "Requests, by what became of them.", (*_RELEASE, "dialect", "outcome")),
    Family("tianti_texts", "Texts that were answered.", _RELEASE),
    Family("tianti_escalations", "Texts that a higher tier answered.", (*_RELEASE, "to")),
    Family("tianti_degraded", "Answers given because a higher tier was out of reach.", (*_RELEASE, "reason")),
    Family("tianti_uncertified", "Answers that no certificate covers.", _RELEASE),
    Family("tianti_private", "Answers given here because the text may not leave.", _RELEASE),
    Family("tianti_held", "Texts that may not leave, by each type of what keeps them.", (*_RELEASE, "type")),
    Family("tianti_redacted", "Places that were replaced in texts before they left, by type.", (*_RELEASE, "type")),
    Family("tianti_shed", "Requests refused for want of time or share.", (*_RELEASE, "priority", "reason")),
    Family("tianti_abandoned", "Texts that were not run, since nobody waits any more.", _RELEASE),
    Family("tianti_cache", "Texts by what the cache did for them.", (*_RELEASE, "result")),
    Family("tianti_engine_tokens", "Tokens of the texts that the engine ran.", _RELEASE),
    Family("tianti_engine_padded_tokens", "Tokens that the engine computed, padding included.", _RELEASE),
    Family("process_cpu_seconds", "Processor time of all processes of the node."),
)
HISTOGRAMS: dict[Family, tuple[float, ...]] = {
    Family("tianti_request_seconds", "From a request's arrival to its answer.", _RELEASE): SECONDS,
    Family("tianti_queue_wait_seconds", "How long texts waited for the engine.", _RELEASE): SECONDS,
    Family("tianti_engine_seconds", "How long one run of the engine took.", _RELEASE): SECONDS,
    Family("tianti_batch_size", "Texts in one run of the engine.", _RELEASE): BATCHES,
}
GAUGES = (
    Family("tianti_in_flight", "Requests under way."),
    Family("tianti_backlog_seconds", "Work that waits for the engine, as estimated."),
    Family("tianti_release_loaded", "In how many processes a release is loaded.", (*_RELEASE, "number")),
    Family("tianti_workers", "Processes that answer."),
    Family("tianti_build_info", "Always 1.", ("version", "python")),
    Family("process_resident_memory_bytes", "Resident memory of all processes, shared pages counted in each."),
    Family("process_virtual_memory_bytes", "Virtual memory of all processes."),
    Family("process_open_fds", "Open file descriptors of all processes."),
    Family("process_max_fds", "Most file descriptors that all processes may open."),
    Family(STARTED, "When the oldest process was started, since the epoch."),
)
