"""Whether a release runs on this machine, found out in a process of its own: a model that takes all memory, hangs or
crashes the engine takes nothing with it.

Not here: what follows (`machine`). Invariant: it returns only if every file has its hash, the certificate is for these
models, and the real engine gives what the package's self-tests say.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tianti.errors import IntegrityError, PackageError, RunError, TiantiError, UpdateError
from tianti.package import Release, check_binding, read_release, verify_package
from tianti.runtimes.goldens import run_goldens
from tianti.spec import Tier

_INTEGRITY, _PACKAGE = 3, 4
_KINDS: dict[int, type[TiantiError]] = {_INTEGRITY: IntegrityError, _PACKAGE: PackageError}
_MEMORY_BYTES, _TIMES_SIZE = 1 << 30, 8
_TOLD_CHARACTERS = 500


def self_test(release: Path, tier: Tier, *, timeout_s: float = 60.0, memory_bytes: int | None = None) -> None:
    """Run the self-tests of a tier's package.

    Args:
        release: the release's folder.
        tier: whose package.
        timeout_s: how long it may take.
        memory_bytes: how much it may take, on systems that can tell; None: 1 GiB, and 8 times the package.

    Raises:
        IntegrityError: a file, the binding or an output is not what it must be.
        PackageError: there is no package of this tier, or it is malformed.
        RunError: it cannot be run here now, or not within the time and the memory.
        UpdateError: no process can be started, which says nothing of the release.
    """
    if getattr(sys, "frozen", False) or not sys.executable:  # it would start the whole program again
        raise UpdateError("expected a Python that can be started for the self-test, got none; set sys.executable")
    command = [sys.executable, "-P", "-m", "tianti.update.selftest", str(release), tier, str(memory_bytes or 0)]
    paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"self-test of {release}: expected an end within {timeout_s:g} s, got none") from None
    except OSError as error:
        raise UpdateError(f"self-test of {release} cannot be started: {error}; check {sys.executable}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-_TOLD_CHARACTERS:]
        kind = _KINDS.get(done.returncode, RunError)
        raise kind(f"self-test of {release} failed ({done.returncode}): {said or 'it said nothing'}")


def main(arguments: Sequence[str]) -> int:
    """The process of its own; returns its exit code."""
    folder, tier, memory_bytes = Path(arguments[0]), Tier(arguments[1]), int(arguments[2])
    try:
        release = read_release(folder)
        _limit(memory_bytes or _MEMORY_BYTES + _TIMES_SIZE * _size_bytes(release, tier))
        check(release, tier)
    except PackageError as error:
        sys.stderr.write(f"{error}\n")
        return _INTEGRITY if isinstance(error, IntegrityError) else _PACKAGE
    except (TiantiError, MemoryError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def check(release: Release, tier: Tier) -> None:
    """The self-tests of a tier's package, in this process; a package that only names a server has none.

    Raises:
        IntegrityError: a file, the binding or an output is not what it must be.
        PackageError: the release has no package of this tier, or it cannot be loaded.
        RunError: it cannot be run.
    """
    check_binding(release.record)
    if tier not in release.record.packages:
        raise PackageError(f"{release.folder}: expected a package of {tier}, got none; publish one")
    package = release.package(tier)
    verify_package(package)
    if package.endpoint() is None:
        run_goldens(package)


def _size_bytes(release: Release, tier: Tier) -> int:
    return release.package(tier).manifest.size_bytes if tier in release.record.packages else 0


def _limit(memory_bytes: int) -> None:
    """Cap this process's memory, and let its owner's work go first."""
    if sys.platform == "win32":
        return
    import resource

    os.nice(10)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # what is written to, unlike RLIMIT_AS, which counts the addresses that engines set aside and never touch
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
