"""A package's self-tests: what it must give of the texts that it carries.

Not here: making them (`pipeline`), doing it apart from this process (`update.selftest`). Invariant: an output that is
not a number passes no test.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tianti.errors import IntegrityError
from tianti.package import Golden, ModelPackage
from tianti.runtimes import open_package

_ANY_TEXT = "any text"


def run_goldens(package: ModelPackage) -> None:
    """Run a package's self-tests in this process; of one that has none, any text must give numbers.

    Raises:
        IntegrityError: one gives something else.
        PackageError: it cannot be loaded.
        RunError: it cannot be run.
    """
    runtime = open_package(package)
    check_goldens(package, lambda text: runtime.run(text).logits, "this engine")
    if not package.goldens() and not np.isfinite(runtime.run(_ANY_TEXT).logits).all():
        raise IntegrityError(f"{package.folder}: expected numbers, got none of {_ANY_TEXT!r}; publish another model")


def check_goldens(package: ModelPackage, run: Callable[[str], NDArray[np.float32]], engine: str) -> None:
    """Run a package's self-tests.

    Args:
        package: the tests are its own.
        run: the logits of a text, in the order of the package's labels.
        engine: what runs it, for the error.

    Raises:
        IntegrityError: one gives something else.
    """
    for number, golden in enumerate(package.goldens(), 1):
        logits = dict(zip(package.manifest.labels, run(golden.text).tolist(), strict=True))
        off = _off(golden, logits)
        if max(logits, key=logits.__getitem__) != golden.label or not off <= golden.tolerance:
            told = f"golden {number} of {package.folder}: expected {golden.label!r} within {golden.tolerance}"
            raise IntegrityError(f"{told}, got logits {off:.3f} away; {engine} does not run the model as it must")


def _off(golden: Golden, logits: dict[str, float]) -> float:
    """How far the logits are from those expected; endless where one is not a number, which `max` would overlook."""
    if not all(map(math.isfinite, logits.values())):
        return math.inf
    return max((abs(logits.get(label, math.inf) - logit) for label, logit in golden.top.items()), default=0.0)
