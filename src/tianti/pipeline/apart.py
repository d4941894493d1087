"""Run a stage in a process of its own, so that two of them use two cores and neither disturbs the other's random state.

Not here: which stages run together (`run`). Invariants: the process ends when its stage does, and when this program
does, kill -9 included; what the stage raises is raised here.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from dataclasses import replace
from multiprocessing.connection import Connection

from tianti.errors import StageError, TiantiError
from tianti.pipeline.contract import StageContext, StageFunction

_POLL_S = 0.2

Message = tuple[int, int, str] | TiantiError | str | None
"""Progress, an error of ours, a trace of another, or None: done."""


def run_apart(run: StageFunction, context: StageContext, stop: threading.Event) -> None:
    """Run a stage with one thread in a new process and pass on its progress; `stop` ends it early.

    Raises:
        TiantiError: what the stage raised; StageError for anything else, and if its process was killed or stopped.
    """
    spawn = multiprocessing.get_context("spawn")
    receive, send = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_child, args=(run, replace(context, progress=_ignore), send), daemon=True)
    process.start()
    send.close()
    try:
        while (message := _next(receive, stop)) is not None:
            if isinstance(message, TiantiError):
                raise message
            if isinstance(message, str):
                raise StageError(f"the stage failed:\n{message}")
            context.progress(*message)
    finally:
        process.kill()
        process.join()


def _next(receive: Connection, stop: threading.Event) -> Message:
    try:
        while not stop.is_set():
            if receive.poll(_POLL_S):
                message: Message = receive.recv()
                return message
    except EOFError:
        return StageError("the stage's process was killed (out of memory?); run again, it goes on from here")
    return StageError("stopped")


def _child(run: StageFunction, context: StageContext, send: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent tells the user; a second trace would only confuse
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is loaded, which is in the stage,
    if torch := sys.modules.get("torch"):  # unless the user's own script, which a new process loads first, has it
        torch.set_num_threads(1)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        run(replace(context, progress=lambda done, total, note: send.send((done, total, note))))
        send.send(None)
    except TiantiError as error:
        send.send(error)
    except Exception:  # whatever it is, the parent has to hear of it
        send.send(traceback.format_exc())


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ignore(done: int, total: int, note: str) -> None:
    """Progress cannot be sent before the process is there."""
