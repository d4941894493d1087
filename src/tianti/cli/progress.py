"""Show a run's progress on a terminal: one line a stage, with a bar and the time left.

Not here: what the stages do. Invariant: all of it goes to stderr, so that stdout stays for results.
"""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tianti.pipeline import StageDone


class ProgressBars:
    """A pipeline listener that draws; a context manager, since the terminal has to be put back in order."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<16}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=self.console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "ProgressBars":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def started(self, stage: str) -> None:
        """A stage begins."""
        self._tasks[stage] = self._bars.add_task(stage, total=None, note="")

    def progressed(self, stage: str, done: int, total: int, note: str) -> None:
        """A stage has done `done` of `total`."""
        self._bars.update(self._tasks[stage], completed=done, total=total, note=note)

    def finished(self, done: StageDone) -> None:
        """A stage is done."""
        self._bars.remove_task(self._tasks.pop(done.name))
        how = "kept" if done.cached else f"{done.seconds:6.1f} s"
        self.console.print(f"[green]✓[/] {done.name:<16} [dim]{how:>8}[/]", highlight=False)

    def said(self, line: str) -> None:
        """A line for people, such as what cleaning found."""
        self.console.print(f"  {line}", style="dim", markup=False, highlight=False)


class Quiet:
    """A pipeline listener that shows nothing, for machines."""

    def started(self, stage: str) -> None:
        """A stage begins."""

    def progressed(self, stage: str, done: int, total: int, note: str) -> None:
        """A stage has done `done` of `total`."""

    def finished(self, done: StageDone) -> None:
        """A stage is done."""

    def said(self, line: str) -> None:
        """A line for people."""
