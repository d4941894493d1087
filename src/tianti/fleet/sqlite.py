"""The ledger in one SQLite file.

Not here: what is kept (`ledger`). Invariants: what a method has returned from outlasts a power cut (WAL, synchronous
FULL); of each device the report with the greatest number counts, and
nothing of those before it; a fate's time is that of its last change.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tianti.errors import StoreError, UsageError
from tianti.fleet.counts import group_of
from tianti.fleet.devices import Device, Invitation, admit, device_id
from tianti.fleet.ledger import Fleet, Judged, Line, Met, Told
from tianti.package import Beside, Enrolment, Fate
from tianti.spec import Tier
from tianti.store import sha256_bytes

_VERSION = 1
_BUSY_S = 10.0
_CACHE_KIB = 65_536
_SCHEMA = """
CREATE TABLE invitations (sha256 TEXT PRIMARY KEY, used INTEGER NOT NULL, record BLOB NOT NULL);
CREATE TABLE devices (
    id TEXT PRIMARY KEY, product TEXT NOT NULL, channel TEXT NOT NULL, tier TEXT NOT NULL, revoked INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX lines ON devices (product, channel, tier, revoked);
CREATE TABLE reports (
    device TEXT PRIMARY KEY, product TEXT NOT NULL, channel TEXT NOT NULL, tier TEXT NOT NULL, number INTEGER NOT NULL,
    received_s INTEGER NOT NULL, runs TEXT, record BLOB NOT NULL
);
CREATE INDEX reporting ON reports (product, channel, tier, received_s);
CREATE INDEX running ON reports (product, channel, runs, tier);
CREATE TABLE fates (
    device TEXT, release TEXT, product TEXT NOT NULL, channel TEXT NOT NULL, tier TEXT NOT NULL, fate TEXT NOT NULL,
    source TEXT NOT NULL, part TEXT NOT NULL, since_s INTEGER NOT NULL, PRIMARY KEY (device, release)
) WITHOUT ROWID;
CREATE INDEX fresh ON fates (product, channel, release, tier, since_s, source, part, fate);
CREATE INDEX met ON fates (tier, product, channel, release, fate);
CREATE TABLE beside (
    device TEXT, release TEXT, product TEXT NOT NULL, channel TEXT NOT NULL, source TEXT NOT NULL, texts INTEGER,
    kept INTEGER, agreeing INTEGER, audited INTEGER, differing INTEGER, PRIMARY KEY (device, release)
) WITHOUT ROWID;
CREATE TABLE judged (
    product TEXT, channel TEXT, release TEXT, record BLOB NOT NULL, PRIMARY KEY (product, channel, release)
);
"""
_ABOVE = (Tier.EDGE, Tier.CLOUD)


class SqliteLedger:
    """A `Ledger`. Several processes may open the file at once, on one machine.

    Raises:
        StoreError: it cannot be opened, or is of another version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        except sqlite3.Error as error:
            raise self._failed(error) from error
        with self._changing():
            (version,) = self._rows("PRAGMA user_version")[0]
            if not version:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={_VERSION}")
            elif version != _VERSION:
                raise StoreError(f"{path}: expected a ledger of version {_VERSION}, got {version}; update tianti")

    def add_invitation(self, invitation: Invitation) -> None:
        """Keep an invitation."""
        with self._changing():
            row = (invitation.sha256, msgspec.json.encode(invitation))
            self._db.execute("INSERT INTO invitations VALUES (?, 0, ?)", row)

    def enroll(self, asked: Enrolment, now_s: int) -> Device:
        """`devices.admit`, and what comes of it, as one step."""
        digest = sha256_bytes(asked.token.encode())
        with self._changing():
            found = self._rows("SELECT record, used FROM invitations WHERE sha256 = ?", digest)
            known = self._rows("SELECT record FROM devices WHERE id = ?", device_id(asked.public_key))
            device, new = admit(
                msgspec.json.decode(found[0][0], type=Invitation) if found else None,
                found[0][1] if found else 0,
                _device(known[0][0]) if known else None,
                asked,
                now_s,
            )
            if new:
                self._db.execute("UPDATE invitations SET used = used + 1 WHERE sha256 = ?", (digest,))
                row = (device.id, *device.line, device.tier, msgspec.json.encode(device))
                self._db.execute("INSERT INTO devices VALUES (?, ?, ?, ?, 0, ?)", row)
        return device

    def devices(self, ids: Collection[str]) -> dict[str, Device]:
        """Those of them that are known."""
        asked = msgspec.json.encode(list(ids)).decode()
        with self._reading():
            rows = self._rows("SELECT record FROM devices WHERE id IN (SELECT value FROM json_each(?))", asked)
        return {device.id: device for (record,) in rows for device in (_device(record),)}

    def everybody(self) -> Iterator[tuple[Device, Told | None]]:
        """All devices in the order of their enrolment, with their last report."""
        query = (
            "SELECT d.rowid, d.record, r.record FROM devices d LEFT JOIN reports r ON r.device = d.id"
            " WHERE d.rowid > ? ORDER BY d.rowid LIMIT 1000"
        )
        last = 0
        while True:
            with self._reading():
                rows = self._rows(query, last)
            for last, device, told in rows:  # noqa: B007
                yield _device(device), None if told is None else msgspec.json.decode(told, type=Told)
            if not rows:
                return

    def revoke(self, device: str, now_s: int) -> Device:
        """Believe a device no more, nor what it has said so far."""
        with self._changing():
            found = self._rows("SELECT record FROM devices WHERE id = ?", device)
            if not found:
                raise UsageError(f"expected the id of a device, got {device!r}; see: tianti fleet devices")
            known = _device(found[0][0])
            if known.revoked_s is None:
                known = msgspec.structs.replace(known, revoked_s=now_s)
                row = (msgspec.json.encode(known), device)
                self._db.execute("UPDATE devices SET revoked = 1, record = ? WHERE id = ?", row)
            for table in ("reports", "fates", "beside"):
                self._db.execute(f"DELETE FROM {table} WHERE device = ?", (device,))  # noqa: S608
        return known

    def record(self, told: Iterable[Told]) -> None:
        """Keep reports, where they are newer than what is there."""
        with self._changing():
            for each in told:
                self._record(each)

    def _record(self, told: Told) -> None:
        said = told.report
        line, part = (said.product, said.channel), group_of(said.device)
        replaced = self._db.execute(
            "INSERT INTO reports SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE EXISTS"
            " (SELECT 1 FROM devices WHERE id = ? AND revoked = 0)"
            " ON CONFLICT (device) DO UPDATE SET number = excluded.number, received_s = excluded.received_s,"
            " runs = excluded.runs, record = excluded.record WHERE excluded.number > reports.number",
            (
                *(said.device, *line, said.tier, said.number, told.received_s, said.release),
                *(msgspec.json.encode(told), said.device),
            ),
        )
        if not replaced.rowcount:
            return
        for table, named in (("fates", said.fates), ("beside", said.beside)):  # or a device could fill the disk
            kept = msgspec.json.encode(list(named)).decode()
            gone = f"DELETE FROM {table} WHERE device = ? AND release NOT IN (SELECT value FROM json_each(?))"  # noqa: S608
            self._db.execute(gone, (said.device, kept))
        self._db.executemany(
            "INSERT INTO fates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device, release) DO UPDATE SET"
            " since_s = CASE WHEN fate = excluded.fate THEN since_s ELSE excluded.since_s END,"
            " fate = excluded.fate, source = excluded.source",
            [
                (said.device, release, *line, said.tier, fate, told.source, part, told.received_s)
                for release, fate in said.fates.items()
            ],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO beside VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (said.device, release, *line, told.source, *msgspec.structs.astuple(found))
                for release, found in said.beside.items()
            ],
        )

    def count(self, line: Line) -> int:
        """How many devices of the lowest tier are enrolled for it and not revoked."""
        query = "SELECT COUNT(*) FROM devices WHERE product = ? AND channel = ? AND tier = ? AND revoked = 0"
        with self._reading():
            return int(self._rows(query, *line, Tier.DEVICE)[0][0])

    def nodes(self, line: Line) -> list[Told]:
        """The last reports of its edge and cloud nodes that are not revoked."""
        query = "SELECT record FROM reports WHERE product = ? AND channel = ? AND tier IN (?, ?)"
        with self._reading():
            return [msgspec.json.decode(record, type=Told) for (record,) in self._rows(query, *line, *_ABOVE)]

    def fates(self, line: Line, release: str, since_s: int) -> list[Met]:
        """What the lowest tier's devices met at `since_s` or later."""
        query = (
            "SELECT source, part, fate, COUNT(*) FROM fates WHERE product = ? AND channel = ? AND release = ?"
            " AND tier = ? AND since_s >= ? GROUP BY source, part, fate"
        )
        with self._reading():
            return [Met(*row) for row in self._rows(query, *line, release, Tier.DEVICE, since_s)]

    def beside(self, line: Line, release: str) -> Mapping[str, Beside]:
        """By source, what a release in a shadow ring has scored."""
        query = (
            "SELECT source, SUM(texts), SUM(kept), SUM(agreeing), SUM(audited), SUM(differing) FROM beside"
            " WHERE product = ? AND channel = ? AND release = ? GROUP BY source"
        )
        with self._reading():
            rows = self._rows(query, *line, release)
        return {source: _beside(found) for source, *found in rows}

    def keep_judged(self, judged: Iterable[Judged]) -> None:
        """How all rollouts stand now."""
        rows = [(each.product, each.channel, each.release, msgspec.json.encode(each)) for each in judged]
        with self._changing():
            self._db.execute("DELETE FROM judged")
            self._db.executemany("INSERT INTO judged VALUES (?, ?, ?, ?)", rows)

    def judged(self) -> tuple[Judged, ...]:
        """How they stood when the guard last looked."""
        with self._reading():
            rows = self._rows("SELECT record FROM judged ORDER BY product, channel")
        return tuple(msgspec.json.decode(record, type=Judged) for (record,) in rows)

    def fleet(self, since_s: int) -> Fleet:
        """The fleet in numbers; `since_s`: devices heard of since then."""
        with self._reading():
            enrolled = self._rows("SELECT product, channel, tier, COUNT(*), SUM(revoked) FROM devices GROUP BY 1, 2, 3")
            heard = self._counted("product, channel, tier", "reports", "received_s >= ?", since_s)
            runs = self._counted("product, channel, runs, tier", "reports", "runs IS NOT NULL")
            met = self._counted("product, channel, release, fate", "fates", "tier = ?", Tier.DEVICE)
        releases: dict[str, dict[Tier, int]] = {}
        for (*key, tier), count in runs.items():
            releases.setdefault("/".join(key), {})[Tier(tier)] = count
        fates: dict[str, dict[Fate, int]] = {}
        for (*key, fate), count in met.items():
            fates.setdefault("/".join(key), {})[fate] = count  # type: ignore[index]
        return Fleet(
            devices={
                "/".join(key): {"enrolled": count - gone, "revoked": gone, "heard": heard.get(tuple(key), 0)}
                for *key, count, gone in enrolled
            },
            releases=releases,
            fates=fates,
            rollouts=self.judged(),
        )

    def _counted(self, columns: str, table: str, which: str, *values: object) -> dict[tuple[str, ...], int]:
        """Rows by columns, all of which an index holds."""
        rows = self._rows(f"SELECT {columns}, COUNT(*) FROM {table} WHERE {which} GROUP BY {columns}", *values)  # noqa: S608
        return {tuple(key): count for *key, count in rows}

    def close(self) -> None:
        """Use it no more."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction, all or nothing."""
        with self._reading():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self._db.execute(query, values).fetchall()

    def _failed(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"the ledger {self._path} cannot be used: {error}; check the disk, or restore a copy")


def _device(record: bytes) -> Device:
    return msgspec.json.decode(record, type=Device)


def _beside(sums: list[int]) -> Beside:
    texts, kept, agreeing, audited, differing = sums
    return Beside(texts=texts, kept=kept, agreeing=agreeing, audited=audited, differing=differing)
