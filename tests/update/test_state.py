"""The two copies: the newest whole one counts, a damaged one is not used, a full disk changes nothing."""

import errno
from pathlib import Path

import msgspec
import pytest

from tianti.errors import StoreError
from tianti.update.disk import Disk
from tianti.update.state import StateFile, Trial, UpdateState

STATE = UpdateState(
    active="b" * 64,
    last_good="a" * 64,
    trial=Trial("b" * 64, tries=2),
    bad=("c" * 64,),
    floors={"timestamp": 9, "rollout": 4},
    counter=3,
    time_floor_s=1_800_000_000,
    etag='"x"',
    failures=1,
)


def test_a_state_comes_back(tmp_path: Path) -> None:
    assert StateFile(tmp_path).load() == UpdateState()
    saved = StateFile(tmp_path).save(STATE)
    assert saved == msgspec.structs.replace(STATE, seq=1)
    assert StateFile(tmp_path).load() == saved


def test_copies_are_written_in_turn_and_a_damaged_one_gives_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = StateFile(tmp_path)
    first = store.save(STATE)
    second = store.save(msgspec.structs.replace(first, counter=4))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.0.json", "state.1.json"]
    newest = tmp_path / "state.0.json"
    whole = newest.read_bytes()
    for damaged in (b"", b"null", whole[:-1], whole.replace(b'"counter":4', b'"counter":5'), b"\xff", b"[" * 9999):
        newest.write_bytes(damaged)
        assert store.load() == first
        assert "damaged" in caplog.text
    newest.write_bytes(whole)
    assert store.load() == second


def test_a_flipped_bit_in_any_byte_of_a_copy_is_seen(tmp_path: Path) -> None:
    store = StateFile(tmp_path)
    store.save(STATE)
    path = tmp_path / "state.1.json"
    whole = path.read_bytes()
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1 << index % 8]) + whole[index + 1 :])
        with pytest.raises(StoreError, match="no copy"):
            store.load()


def test_a_state_is_not_forgotten_because_nothing_of_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "state.0.json").write_bytes(b"")
    with pytest.raises(StoreError, match="no copy of the state"):
        StateFile(tmp_path).load()
    (tmp_path / "state.0.json").unlink()
    (tmp_path / "state.0.json").mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        StateFile(tmp_path).load()


def test_a_state_that_another_overtook_is_refused(tmp_path: Path) -> None:
    store = StateFile(tmp_path)
    first = store.save(STATE)
    store.save(first)
    with pytest.raises(StoreError, match="expected a state that follows save 2, got one of save 1"):
        store.save(first)


class Full(Disk):
    """Fails at the operation of this number, as a full disk does."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, path: Path, content: bytes) -> None:
        if self.left == 0:
            super().write(path, content[:10])
        self._step()
        super().write(path, content)

    def fsync(self, path: Path) -> None:
        self._step()
        super().fsync(path)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def fsync_dir(self, folder: Path) -> None:
        self._step()
        super().fsync_dir(folder)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_disk_that_fails_leaves_a_state_and_the_next_save_works(tmp_path: Path, at: int) -> None:
    before = StateFile(tmp_path).save(STATE)
    with pytest.raises(StoreError, match="free space"):
        StateFile(tmp_path, Full(at)).save(msgspec.structs.replace(before, counter=9))
    found = StateFile(tmp_path).load()
    assert found == (msgspec.structs.replace(before, counter=9, seq=2) if at == 3 else before)
    saved = StateFile(tmp_path).save(msgspec.structs.replace(found, counter=10))
    assert StateFile(tmp_path).load() == saved
    StateFile(tmp_path, Full(4)).save(saved)  # the control: there is no fifth operation
