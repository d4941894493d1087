"""Updates that are killed, each after so many operations: `python -m tests.update.killed FOLDER COUNT`.

Each has a folder of its own below FOLDER, and a process of its own; what became of it is printed.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from tests.update.crashes import Interrupted, Killed
from tests.update.small import begin, update


def _kill() -> BaseException:
    os.kill(os.getpid(), signal.SIGKILL)
    return Killed()


def main(root: Path, count: int) -> None:
    (root / "begun").mkdir()
    begin(root / "begun")
    for at in range(count):
        folder = shutil.copytree(root / "begun", root / str(at))
        child = os.fork()
        if child == 0:
            update(folder, Interrupted(at, _kill))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
