"""Every state that a power cut can leave of a sequence of file operations.

`Recorder` does what it is told and writes it down; `crash_states` cuts the record after each operation and takes all
that may be on the disk then. Bytes written and not fsynced: the old ones, none, half, half over the old ones, zeros, or
all; of what was appended, a part. Names made, moved or removed in a folder that was not fsynced, folders among them:
each change done or not, in any combination, and a moved file under both names; what is below a lost folder is lost.
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
    """The real disk, without its wait for the bytes to last, and what was done to it."""

    done: list[Operation] = field(default_factory=list)

    def step(self, operation: Operation) -> None:
        """Called before each operation."""

    def write(self, path: Path, content: bytes) -> None:
        self._do(Operation("write", path, content=content), lambda: Disk.write(self, path, content))

    def append(self, path: Path, content: bytes) -> None:
        self._do(Operation("append", path, content=content), lambda: Disk.append(self, path, content))

    def fsync(self, path: Path) -> None:
        self._do(Operation("fsync", path), lambda: None)

    def rename(self, source: Path, target: Path) -> None:
        self._do(Operation("rename", source, target), lambda: Disk.rename(self, source, target))

    def unlink(self, path: Path) -> None:
        self._do(Operation("unlink", path), lambda: Disk.unlink(self, path))

    def mkdir(self, path: Path) -> None:
        self._do(Operation("mkdir", path), lambda: Disk.mkdir(self, path))

    def rmdir(self, path: Path) -> None:
        self._do(Operation("rmdir", path), lambda: Disk.rmdir(self, path))

    def fsync_dir(self, folder: Path) -> None:
        self._do(Operation("fsync_dir", folder), lambda: None)

    def _do(self, operation: Operation, act: Callable[[], None]) -> None:
        self.step(operation)
        act()
        self.done.append(operation)


class Killed(BaseException):
    """A process ends: nothing handles it."""


class Interrupted(Recorder):
    """Does not get beyond so many operations: the next write is half done, and `error` is raised."""

    def __init__(self, count: int, error: Callable[[], BaseException] = Killed) -> None:
        super().__init__()
        self.count, self.error, self.seen = count, error, 0

    def step(self, operation: Operation) -> None:
        self.seen += 1
        if self.seen != self.count + 1:
            return
        if operation.kind in ("write", "append"):
            half = operation.content[: len(operation.content) // 2]
            getattr(Disk, operation.kind)(self, operation.path, half)
            self.done.append(Operation(operation.kind, operation.path, content=half))
        raise self.error()


FOLDER = -1


@dataclass(frozen=True)
class Files:
    """Names, and the bytes that they stand for; two names may stand for the same. A folder's number is FOLDER."""

    names: dict[Path, int]
    contents: dict[int, bytes]

    @classmethod
    def below(cls, root: Path) -> "Files":
        names = {path: FOLDER if path.is_dir() else path.stat().st_ino for path in root.rglob("*")}
        return cls(names, {number: path.read_bytes() for path, number in names.items() if number != FOLDER})

    def lay_out(self, root: Path) -> None:
        for path in sorted(root.rglob("*"), key=str, reverse=True):
            if not path.is_dir():
                path.unlink()
            elif path not in self.names:
                path.rmdir()
        for path in sorted((path for path, number in self.names.items() if number == FOLDER), key=str):
            path.mkdir(exist_ok=True)
        first: dict[int, Path] = {}
        for path, number in self.names.items():
            if number in first:
                path.hardlink_to(first[number])
            elif number != FOLDER:
                path.write_bytes(self.contents[number])
                first[number] = path


class _Model:
    """What is on the disk for sure, and what may be."""

    def __init__(self, files: Files) -> None:
        self.seen, self.lasting = dict(files.names), dict(files.names)
        self.newest = dict(files.contents)
        self.possible = {number: {content} for number, content in files.contents.items()}
        self.pending: dict[Path, list[list[Change]]] = {}
        self.folders = {path for path, number in files.names.items() if number == FOLDER}

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

    def _append(self, operation: Operation) -> None:
        number, new = self.seen[operation.path], operation.content
        before = self.newest[number]
        tails = (b"", new[: len(new) // 2], bytes(len(new)), new)
        # a file grows in order: what was appended before is there, or zeros in its place
        grown = {old + tail for old in self.possible[number] if len(old) == len(before) for tail in tails}
        self.possible[number] |= grown
        self.newest[number] = before + new

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

    def _mkdir(self, operation: Operation) -> None:
        self.seen[operation.path] = FOLDER
        self.folders.add(operation.path)
        self._may(operation.path.parent, {operation.path: FOLDER})

    def _rmdir(self, operation: Operation) -> None:
        del self.seen[operation.path]
        self._may(operation.path.parent, {operation.path: None})

    def _fsync_dir(self, operation: Operation) -> None:
        folder = operation.path
        for gone in (path for path in self.folders if path.parent == folder and path not in self.seen):
            self.lasting = {path: number for path, number in self.lasting.items() if gone not in path.parents}
            self.pending = {at: changes for at, changes in self.pending.items() if gone not in (at, *at.parents)}
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
            lost = {path for path in self.folders if after.get(path) is None}
            names = {
                path: number
                for path, number in after.items()
                if number is not None and lost.isdisjoint(path.parents)  # a folder takes with it what is below
            }
            numbers = sorted(set(names.values()) - {FOLDER})
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
            key = (finished, frozenset(files.names.items()), frozenset(files.contents.items()))
            if key not in told:
                told.add(key)
                yield finished, files


def last_states(before: Files, operations: list[Operation]) -> Iterator[Files]:
    """Those that can be found after all operations."""
    model = _Model(before)
    for operation in operations:
        model.apply(operation)
    return model.outcomes()


def problems(root: Path, before: Files, operations: list[Operation], judge: Callable[[bool], str | None]) -> list[str]:
    """What `judge(finished)` has to say against the states, each laid out below `root` for it."""
    found = []
    for finished, files in crash_states(before, operations):
        files.lay_out(root)
        if (problem := judge(finished)) is not None:
            found.append(problem)
    return found
