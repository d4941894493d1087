"""Logs as JSON, one line a record, on standard error.

    {"time": "...", "level": "warning", "logger": "tianti", "message": "...", "request_id": "...", "release": "..."}

Not here: who logs what. A line is for what an operator has to know, not for each request: those are counted.
Invariants: no text of a request. Exceptions are told by their type and where they were, since a message may quote
what it met; of a message only the first line, since libraries put the `repr` of whatever they hold into the others.
"""

import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from tianti.errors import TiantiError
from tianti.telemetry.context import REQUEST_ID

FIELDS = ("model", "release", "tier", "dialect", "status", "worker")
"""What `extra=` may add to a line; what else is in it is left out."""
_log = logging.getLogger("tianti")


class JsonLines(logging.Formatter):
    """Makes a record a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().partition("\n")[0],
        }
        if (request_id := REQUEST_ID.get()) is not None:
            line["request_id"] = request_id
        line |= {name: str(record.__dict__[name]) for name in FIELDS if name in record.__dict__}
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])
            line["error"] = record.exc_info[0].__name__
            line["stack"] = [f"{'/'.join(Path(each.filename).parts[-2:])}:{each.lineno} {each.name}" for each in frames]
        return msgspec.json.encode(line).decode()


def log_bug(what: str, error: BaseException) -> None:
    """Say that this failed by a bug, and where; what the error itself says is left out, whatever formats the record."""
    hidden = TiantiError("what it said is left out, since it may quote a text")
    name = type(error).__name__
    _log.error("%s failed by %s, a bug", what, name, exc_info=(type(error), hidden, error.__traceback__))


def log_as_json() -> None:
    """From now on, everything that this process logs is such a line, also what threads and warnings would print."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    _log.setLevel(logging.INFO)
    logging.raiseExceptions = False  # or a record that cannot be formatted is printed with its arguments
    logging.captureWarnings(True)
    threading.excepthook = _tell_of_thread
    sys.unraisablehook = _tell_of_unraisable


def _tell_of_thread(what: threading.ExceptHookArgs) -> None:
    name = "a thread" if what.thread is None else f"thread {what.thread.name}"
    _log.error(
        "%s ended by an error", name, exc_info=(what.exc_type, what.exc_value or what.exc_type(), what.exc_traceback)
    )


def _tell_of_unraisable(what: "sys.UnraisableHookArgs") -> None:
    _log.error(
        "an error that nobody could catch",
        exc_info=(what.exc_type, what.exc_value or what.exc_type(), what.exc_traceback),
    )
