"""From ladder.yaml to a release: choose the stages, run them, keep the release, the record and the report.

Not here: the stages' work (`stages/`). Invariants: a release whose gates failed is not kept; the report and the log
are, so that one can see why.
"""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import msgspec

from tianti.data import describe, read_report
from tianti.errors import GateError
from tianti.package import read_release
from tianti.pipeline.contract import StageDone
from tianti.pipeline.evaluation import Evaluation
from tianti.pipeline.gates import failures
from tianti.pipeline.profiling import read_profile
from tianti.pipeline.run import run_stages
from tianti.pipeline.search import SearchRecord, search
from tianti.pipeline.stages import ladder_stages
from tianti.pipeline.stages.ask import LABEL
from tianti.pipeline.stages.evaluate import read_evaluation
from tianti.pipeline.stages.prepare import PREPARE
from tianti.pipeline.workspace import RunRecord, Workspace
from tianti.spec import Certificate
from tianti.spec.ladder import LadderSpec
from tianti.spec.parse import load_spec
from tianti.store import canonical_json


class Console(Protocol):
    """Shows people what a run does."""

    def started(self, stage: str) -> None:
        """A stage begins."""
        ...

    def progressed(self, stage: str, done: int, total: int, note: str) -> None:
        """A stage has done `done` of `total`."""
        ...

    def finished(self, done: StageDone) -> None:
        """A stage is done, or was found in the store."""
        ...

    def said(self, line: str) -> None:
        """A line for people."""
        ...


class _Log:
    """The run's listener: passes events on, and writes each as one JSON line."""

    def __init__(self, path: Path, console: Console, described: str) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._console = console
        self._described = described  # the stage after which the rows are as they stay
        self._said_findings = False

    def __enter__(self) -> "_Log":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.write("ended", error=None if error is None else f"{type(error).__name__}: {error}")
        self._file.close()

    def write(self, event: str, **fields: Any) -> None:  # noqa: ANN401  (JSON values)
        line = {"event": event, "time": round(time.time(), 3), **fields}
        self._file.write(canonical_json(line).decode() + "\n")

    def started(self, stage: str) -> None:
        self.write("started", stage=stage)
        self._console.started(stage)

    def progressed(self, stage: str, done: int, total: int, note: str) -> None:
        self._console.progressed(stage, done, total, note)

    def finished(self, done: StageDone, folder: Path) -> None:
        self.write("finished", stage=done.name, key=done.key, seconds=done.seconds, cached=done.cached)
        self._console.finished(done)
        # said at once: who sees a mistake in the data need not wait for the models
        if done.name == self._described and not self._said_findings:
            self._said_findings = True
            for line in describe(read_report(folder)):
                self._console.said(line)


def build_ladder(path: Path, console: Console) -> RunRecord:
    """Build what a ladder.yaml describes; stages that did not change are not done again.

    Raises:
        TiantiError: the spec, the data or a stage is not as it must be; GateError names the gates that failed.
    """
    begun, started = time.perf_counter(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    spec = load_spec(path)
    stages = ladder_stages(spec, path.parent)  # a wrong name of a user's stage is found before any work
    workspace = Workspace(path.parent)
    for student in spec.students.values():
        if student.profile is not None:  # so is a profile that cannot be used
            read_profile(path.parent / student.profile, workspace.releases)
    with workspace.new_run() as folder, _open_log(workspace, folder, spec, console) as log:
        searched: list[StageDone] = []
        found: SearchRecord | None = None
        if spec.search is not None:
            spec, found, searched = search(spec, path.parent, workspace.store, log, console.said)
            stages = ladder_stages(spec, path.parent)
        folders, timeline = run_stages(stages, spec, path.parent, workspace.store, log)
        timeline = searched + timeline
        evaluation = read_evaluation(folders["evaluate"])
        release = read_release(folders["release"])
        record = RunRecord(
            run=folder.name,
            name=spec.name,
            started=started,
            seconds=round(time.perf_counter() - begun, 2),
            cached=[done.name for done in timeline if done.cached],
            release=release.id,
            tiers={tier: _tier_line(evaluation, tier) for tier in evaluation.tiers},
            certificate=_certificate_line(release.record.certificate, evaluation),
            served=evaluation.served,
            prices=release.record.prices,
            timeline=timeline,
            search=None if found is None else msgspec.to_builtins(found),
        )
        _write_report(workspace, folders["report"], record, found)
        missed = [found.missed] if found is not None and found.missed is not None else []
        if failed := missed + failures(spec, evaluation):
            report = workspace.report_path(folder.name)
            # what was measured, and what holds it: the machine may have been busy
            measured = ("measure-", "evaluate-", "report-", "release-")
            workspace.forget(folder.name, {done.key for done in timeline if done.key.startswith(measured)})
            raise GateError("nothing is released: " + "; ".join(failed) + f"; see {report}")
        workspace.keep_release(folders["release"])
        workspace.keep_run(folder, record)
    return record


def _open_log(workspace: Workspace, folder: Path, spec: LadderSpec, console: Console) -> _Log:
    return _Log(workspace.log_path(folder.name), console, (PREPARE if spec.cloud.endpoint is None else LABEL).name)


def _tier_line(evaluation: Evaluation, tier: Any) -> dict[str, Any]:  # noqa: ANN401
    figures = evaluation.tiers[tier]
    names = (
        "package",
        "accuracy",
        "accuracy_in_scope",
        "macro_f1",
        "size_bytes",
        "download_bytes",
        "memory_bytes",
        "latency_ms",
        "machine",
        "truncated",
        "parity",
        "rejected_at_5",
    )
    return {name: getattr(figures, name) for name in names}


def _certificate_line(certificate: Certificate, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "risk": certificate.risk,
        "confidence": certificate.confidence,
        "n": certificate.n,
        "void": evaluation.void,
        "levels": [msgspec.to_builtins(level) for level in evaluation.levels],
    }


def _write_report(workspace: Workspace, folder: Path, record: RunRecord, found: SearchRecord | None) -> None:
    from tianti.pipeline.report import write_report

    body = (folder / "body.html").read_text(encoding="utf-8")
    write_report(workspace.report_path(record.run), body, record, found)
