"""One private thread with an event loop, for what a synchronous caller must not do itself.

Not here: what runs on it. Invariant: there is no thread before the first `submit`, and none after `close`.
"""

import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

T = TypeVar("T")


class Background:
    """Runs coroutines for other threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Start a coroutine; its future may be waited for and cancelled from any thread."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(work, self._running())

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Run `last`, drop what else is under way, end the thread. Without a thread, nothing happens."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            last.close()
            return
        import asyncio

        asyncio.run_coroutine_threadsafe(last, loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def _running(self) -> "asyncio.AbstractEventLoop":
        with self._lock:
            if self._loop is None:
                import asyncio

                self._loop = asyncio.new_event_loop()
                # a daemon, so that a program which forgets to close its ladder still ends
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="tianti-upstream", daemon=True)
                self._thread.start()
            return self._loop


def _run(loop: "asyncio.AbstractEventLoop") -> None:
    import asyncio

    with asyncio.Runner(loop_factory=lambda: loop) as runner:  # cancels what is left when it closes
        runner.get_loop().run_forever()
