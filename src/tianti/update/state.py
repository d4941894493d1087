"""What a device remembers of its updates, and the one point where an update becomes so.

    state.0.json  state.1.json      written in turn; the newest whole one counts

Not here: what follows from it (`machine`). Invariants: whatever instant the power goes, `load` gives the state before
or after the `save` that was under way, and after it once `save` has returned. Who saves holds the device's lock.
"""

import logging
from pathlib import Path

import msgspec

from tianti.errors import StoreError
from tianti.store import canonical_json, sha256_bytes
from tianti.update.disk import Disk, put

_log = logging.getLogger("tianti")


class Trial(msgspec.Struct, frozen=True):
    """A release that serves and has not proved itself: its id, and how often it was started."""

    release: str
    tries: int = 0


class UpdateState(msgspec.Struct, frozen=True, kw_only=True):
    """All that must outlast a power cut.

    `seq` counts the saves. `active` serves; `last_good` is what to go back to; `bad` is never tried again. `attempts`
    counts by release how often it was tested, or run beside, and came to no end. `floors` are
    the least versions of signed metadata by role, `counter` the least of releases, `time_floor_s` the least time that
    it can be: what is lower is refused, while `online_keys` are those that signed it. `etag` is of the timestamp last
    seen; `refreshed_s` is when metadata were last verified; `failures` counts the checks that failed in a row.
    `followed` is the version of the newest rollout statements about which nothing is left to do, `poll_s` the seconds
    between checks that they ask for.
    """

    seq: int = 0
    active: str | None = None
    last_good: str | None = None
    trial: Trial | None = None
    bad: tuple[str, ...] = ()
    attempts: dict[str, int] = {}
    floors: dict[str, int] = {}
    counter: int = 0
    time_floor_s: int = 0
    online_keys: tuple[str, ...] = ()
    refreshed_s: int = 0
    etag: str | None = None
    failures: int = 0
    followed: int = 0
    poll_s: int = 900  # until a rollout says


class _Copy(msgspec.Struct, frozen=True):
    sha256: str
    state: msgspec.Raw


class StateFile:
    """The two copies of a device's state, in a folder that exists."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self._folder, self._disk = folder, disk or Disk()

    def load(self) -> UpdateState:
        """The newest whole copy; an empty state where nothing was ever saved.

        Raises:
            StoreError: there are copies and none is whole, or they cannot be read.
        """
        found = [content for slot in (0, 1) if (content := self._read(slot)) is not None]
        whole = [state for content in found if (state := _decode(content)) is not None]
        if len(whole) < len(found):
            _log.error("a copy of the state in %s is damaged; the other one is used", self._folder)
        if found and not whole:  # an empty state would forget the floors, and let old releases in
            raise StoreError(
                f"no copy of the state in {self._folder} is whole; install the device's first release anew"
            )
        return max(whole, key=lambda state: state.seq, default=UpdateState())

    def save(self, state: UpdateState) -> UpdateState:
        """Make this the state. It must follow the one loaded or saved last, and comes back with the next `seq`.

        Raises:
            StoreError: another state was saved meanwhile, or the disk cannot be written. Either state may be the one
                that counts then: load again.
        """
        if (newest := self.load().seq) != state.seq:
            raise StoreError(f"expected a state that follows save {newest}, got one of save {state.seq}; load it again")
        following = msgspec.structs.replace(state, seq=state.seq + 1)
        try:
            put(self._disk, self._path(following.seq % 2), _encode(following))
        except OSError as error:
            raise StoreError(
                f"cannot write the state in {self._folder}: {error}; free space, then load again"
            ) from error
        return following

    def _path(self, slot: int) -> Path:
        return self._folder / f"state.{slot}.json"

    def _read(self, slot: int) -> bytes | None:
        try:
            return self._path(slot).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self._path(slot)} cannot be read: {error}; check the disk") from error


def _encode(state: UpdateState) -> bytes:
    content = canonical_json(state)
    return msgspec.json.encode(_Copy(sha256_bytes(content), msgspec.Raw(content)))


def _decode(content: bytes) -> UpdateState | None:
    """The state of one copy; None if not whole."""
    try:
        copy = msgspec.json.decode(content, type=_Copy)
        if sha256_bytes(bytes(copy.state)) != copy.sha256:
            return None
        return msgspec.json.decode(copy.state, type=UpdateState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
