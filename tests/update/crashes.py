"""Every state that a power cut can leave of a sequence of file operations.

`Recorder` does what it is told and writes it down; `crash_states` cuts the record after each operation and takes all
that may be on the disk then. Bytes written and not fsynced: the old ones, none, half, half over the old ones, zeros, or
all. Names made, moved or removed in a folder that was not fsynced: each change done or not, in any combination, and a
moved file under both names.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from tianti.update.disk import Disk

Change = dict[Path, int | None]


@dataclass(frozen=True)
class Operation:
    kind: str
    path: Path
    target: Path | None = None
    content: bytes = b""


@dataclass
class Recorder(Disk):
    """The real disk, and what was done to it."""

    done: list[Operation] = field(default_factory=list)

    def write(self, path: Path, content: bytes) -> None:
        super().write(path, content)
        self.done.append(Operation("write", path, content=content))

    def fsync(self, path: Path) -> None:
        super().fsync(path)
        self.done.append(Operation("fsync", path))

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.done.append(Operation("rename", source, target))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.done.append(Operation("unlink", path))

    def fsync_dir(self, folder: Path) -> None:
        super().fsync_dir(folder)
        self.done.append(Operation("fsync_dir", folder))


@dataclass(frozen=True)
class Files:
    """Names, and the bytes that they stand for; two names may stand for the same."""

    names: dict[Path, int]
    contents: dict[int, bytes]

    @classmethod
    def below(cls, root: Path) -> "Files":
        paths = [path for path in root.rglob("*") if path.is_file()]
        names = {path: path.stat().st_ino for path in paths}
        return cls(names, {names[path]: path.read_bytes() for path in paths})

    def lay_out(self, root: Path) -> None:
        for path in root.rglob("*"):
            if path.is_file():
                path.unlink()
        first: dict[int, Path] = {}
        for path, number in self.names.items():
            if number in first:
                path.hardlink_to(first[number])
            else:
                path.write_bytes(self.contents[number])
                first[number] = path


class _Model:
    """What is on the disk for sure, and what may be."""

    def __init__(self, files: Files) -> None:
        self.seen, self.lasting = dict(files.names), dict(files.names)
        self.newest = dict(files.contents)
        self.possible = {number: {content} for number, content in files.contents.items()}
        self.pending: dict[Path, list[list[Change]]] = {}

    def apply(self, operation: Operation) -> None:
        getattr(self, f"_{operation.kind}")(operation)

    def _write(self, operation: Operation) -> None:
        path, new = operation.path, operation.content
        if path not in self.seen:
            self.seen[path] = max(self.newest, default=0) + 1
            self._may(path.parent, {path: self.seen[path]})
        number, half = self.seen[path], new[: len(new) // 2]
        before = self.possible.get(number, {b""})
        mixed = {half + old[len(half) :] for old in before}
        self.possible[number] = before | mixed | {b"", half, bytes(len(new)), new}
        self.newest[number] = new

    def _fsync(self, operation: Operation) -> None:
        number = self.seen[operation.path]
        self.possible[number] = {self.newest[number]}

    def _rename(self, operation: Operation) -> None:
        source, target = operation.path, operation.target
        assert target is not None
        number = self.seen[target] = self.seen.pop(source)
        if source.parent == target.parent:
            self._may(target.parent, {target: number, source: None}, {target: number})
        else:
            self._may(target.parent, {target: number})
            self._may(source.parent, {source: None})

    def _unlink(self, operation: Operation) -> None:
        del self.seen[operation.path]
        self._may(operation.path.parent, {operation.path: None})

    def _fsync_dir(self, operation: Operation) -> None:
        folder = operation.path
        elsewhere = {path: number for path, number in self.lasting.items() if path.parent != folder}
        self.lasting = elsewhere | {path: number for path, number in self.seen.items() if path.parent == folder}
        self.pending.pop(folder, None)

    def _may(self, folder: Path, *changes: Change) -> None:
        self.pending.setdefault(folder, []).append([{}, *changes])

    def outcomes(self) -> Iterator[Files]:
        for chosen in product(*(options for changes in self.pending.values() for options in changes)):
            after: Change = dict(self.lasting)
            for change in chosen:
                after |= change
            names = {path: number for path, number in after.items() if number is not None}
            numbers = sorted(set(names.values()))
            for contents in product(*(sorted(self.possible[number]) for number in numbers)):
                yield Files(names, dict(zip(numbers, contents, strict=True)))


def crash_states(before: Files, operations: list[Operation]) -> Iterator[tuple[bool, Files]]:
    """Each state that can be found after a power cut, once, and whether all operations had returned."""
    model, told = _Model(before), set()
    for count in range(len(operations) + 1):
        if count:
            model.apply(operations[count - 1])
        finished = count == len(operations)
        for files in model.outcomes():
            key = (finished, tuple(sorted(files.names.items())), tuple(sorted(files.contents.items())))
            if key not in told:
                told.add(key)
                yield finished, files


def problems(root: Path, before: Files, operations: list[Operation], judge: Callable[[bool], str | None]) -> list[str]:
    """What `judge(finished)` has to say against the states, each laid out below `root` for it."""
    found = []
    for finished, files in crash_states(before, operations):
        files.lay_out(root)
        if (problem := judge(finished)) is not None:
            found.append(problem)
    return found
