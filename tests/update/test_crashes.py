"""Whatever instant the power goes: the state before or the state after, floors kept, what is active whole."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.update.crashes import Files, Operation, Recorder, crash_states, problems
from tianti.errors import StoreError
from tianti.store import canonical_json
from tianti.update.disk import Disk, put
from tianti.update.state import StateFile, UpdateState

replace = msgspec.structs.replace


class Forgets(Recorder):
    """Leaves an operation out."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        setattr(self, kind, lambda path: None)


class OneCopy:
    """The control: one file, by `put` or in place."""

    def __init__(self, folder: Path, disk: Disk, in_place: bool) -> None:
        self._path, self._disk, self._in_place = folder / "state.json", disk, in_place

    def load(self) -> UpdateState:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=UpdateState)
        except FileNotFoundError:
            return UpdateState()
        except msgspec.DecodeError as error:
            raise StoreError(str(error)) from error

    def save(self, state: UpdateState) -> UpdateState:
        following = replace(state, seq=state.seq + 1)
        if self._in_place:
            self._disk.write(self._path, canonical_json(following))
            self._disk.fsync(self._path)
        else:
            put(self._disk, self._path, canonical_json(following))
        return following


class Forgiving(OneCopy):
    """Begins anew where nothing can be read, as a cache may."""

    def load(self) -> UpdateState:
        try:
            return super().load()
        except StoreError:
            return UpdateState()


Store = StateFile | OneCopy
Make = Callable[[Path, Disk], Store]


def _one_in_place(folder: Path, disk: Disk) -> Store:
    return OneCopy(folder, disk, in_place=True)


def _forgiving(folder: Path, disk: Disk) -> Store:
    return Forgiving(folder, disk, in_place=True)


def _raised(state: UpdateState) -> UpdateState:
    floors = {"timestamp": state.seq + 7, "rollout": state.seq + 2}
    return replace(state, active=f"r{state.seq}", floors=floors, counter=state.seq, time_floor_s=state.seq * 60)


def _judge(load: Callable[[], UpdateState], before: UpdateState, after: UpdateState) -> Callable[[bool], str | None]:
    def judge(finished: bool) -> str | None:
        try:
            found = load()
        except StoreError as error:
            return f"unreadable: {error}"
        if any(found.floors.get(role, 0) < floor for role, floor in before.floors.items()):
            return f"floors lowered to {found.floors}"
        if found != after and (finished or found != before):
            return f"save {found.seq} is there, of {before.seq} and {after.seq}"
        return None

    return judge


def _saves(folder: Path, make: Make, disk: Callable[[], Recorder], earlier: int) -> list[str]:
    """What is wrong with the states that one save can leave, after some that were done in peace."""
    store = make(folder, Disk())
    before = store.load()
    for _ in range(earlier):
        before = store.save(_raised(before))
    files, recorder = Files.below(folder), disk()
    after = make(folder, recorder).save(_raised(before))
    return problems(folder, files, recorder.done, _judge(make(folder, Disk()).load, before, after))


@pytest.mark.parametrize("earlier", [0, 1, 2, 3])
def test_a_save_is_done_or_not(tmp_path: Path, earlier: int) -> None:
    assert _saves(tmp_path, StateFile, Recorder, earlier) == []


@pytest.mark.parametrize("earlier", [0, 1, 2])
@pytest.mark.parametrize(
    ("make", "disk", "problem"),
    [
        (StateFile, lambda: Forgets("fsync"), "save"),
        (StateFile, lambda: Forgets("fsync_dir"), "save"),
        (_one_in_place, Recorder, "unreadable"),
        (_one_in_place, lambda: Forgets("fsync"), "unreadable"),
        (_forgiving, Recorder, "floors lowered"),
    ],
)
def test_control_a_store_that_leaves_something_out_is_found(
    tmp_path: Path, make: Make, disk: Callable[[], Recorder], problem: str, earlier: int
) -> None:
    found = _saves(tmp_path, make, disk, earlier)
    assert found
    if earlier:
        assert any(said.startswith(problem) for said in found)


def test_a_save_after_a_power_cut_during_a_save_is_done_or_not(tmp_path: Path) -> None:
    store, recorder = StateFile(tmp_path), Recorder()
    before = store.save(_raised(store.save(_raised(UpdateState()))))
    files = Files.below(tmp_path)
    StateFile(tmp_path, recorder).save(_raised(before))
    rounds = list(crash_states(files, recorder.done))
    assert len(rounds) >= 8
    for _, left in rounds:
        left.lay_out(tmp_path)
        found, again = store.load(), Recorder()
        after = StateFile(tmp_path, again).save(_raised(found))
        assert problems(tmp_path, left, again.done, _judge(store.load, found, after)) == []


CONTENTS = {"release.json": b'{"name":"new"}', "model.onnx": b"weights of the new one", "tokenizer.json": b"{}"}


def _install(folder: Path, disk: Disk, state: UpdateState, state_first: bool = False) -> UpdateState:
    store = StateFile(folder, disk)
    named = replace(state, active="new", last_good=state.active)
    saved = store.save(named) if state_first else None
    for name, content in CONTENTS.items():
        put(disk, folder / "blobs" / name, content)
    return saved or store.save(named)


def _installs(folder: Path, disk: Recorder, state_first: bool = False) -> list[str]:
    (folder / "blobs").mkdir()
    (folder / "blobs" / "old").write_bytes(b"the old one")
    before = StateFile(folder).save(replace(_raised(UpdateState()), active="old"))
    files = Files.below(folder)
    after = _install(folder, disk, before, state_first)
    state_holds = _judge(StateFile(folder).load, before, after)

    def judge(finished: bool) -> str | None:
        if (problem := state_holds(finished)) is not None:
            return problem
        needed = CONTENTS if StateFile(folder).load().active == "new" else {"old": b"the old one"}
        paths = {folder / "blobs" / name: content for name, content in needed.items()}
        broken = [path.name for path, content in paths.items() if not path.is_file() or path.read_bytes() != content]
        return f"not servable: {broken}" if broken else None

    return problems(folder, files, disk.done, judge)


def test_an_install_leaves_a_release_that_can_be_served(tmp_path: Path) -> None:
    assert _installs(tmp_path, Recorder()) == []


@pytest.mark.parametrize(
    ("disk", "state_first"), [(Forgets("fsync"), False), (Forgets("fsync_dir"), False), (Recorder(), True)]
)
def test_control_an_install_in_another_order_or_without_fsync_is_found(
    tmp_path: Path, disk: Recorder, state_first: bool
) -> None:
    assert any(problem.startswith("not servable") for problem in _installs(tmp_path, disk, state_first))


def test_the_enumerator_knows_what_may_be_lost(tmp_path: Path) -> None:
    new, other = tmp_path / "new", tmp_path / "other"
    write = Operation("write", new, content=b"abcd")

    def left(*operations: Operation) -> list[dict[str, bytes]]:
        states = [files for finished, files in crash_states(Files({}, {}), [*operations]) if finished]
        return [{path.name: files.contents[number] for path, number in files.names.items()} for files in states]

    assert {} in left(write) and {"new": b""} in left(write) and {"new": b"ab"} in left(write)
    lasting = [write, Operation("fsync", new), Operation("fsync_dir", tmp_path)]
    assert left(*lasting) == [{"new": b"abcd"}]
    moved = left(*lasting, Operation("rename", new, other))
    assert len(moved) == 3 and {"new": b"abcd"} in moved and {"other": b"abcd"} in moved
    assert left(*lasting, Operation("rename", new, other), lasting[-1]) == [{"other": b"abcd"}]
    assert left(*lasting, Operation("unlink", new), lasting[-1]) == [{}]
    over = left(*lasting, Operation("write", new, content=b"ABCD"))
    assert {"new": b"abcd"} in over and {"new": b"ABcd"} in over
