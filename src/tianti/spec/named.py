"""Find what a spec names as `module:function`: a user's own stage, student or detector.

Not here: what it must do (`pipeline.contract`, `training.contract`, `privacy.contract`).
Invariant: modules beside ladder.yaml are found first.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tianti.errors import SpecError


def find_function(name: str, base: Path) -> Callable[..., Any]:
    """The function that `module:function` names.

    Raises:
        SpecError: the module cannot be imported, or has no such function.
    """
    module_name, _, function_name = name.partition(":")
    sys.path.insert(0, str(base.resolve()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        cure = f"put {module_name}.py beside ladder.yaml"
        raise SpecError(f"{name!r}: cannot import {module_name!r} ({error}); {cure}") from error
    except Exception as error:  # whatever a user's module does when it is read
        raise SpecError(f"{name!r}: {module_name!r} fails when imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise SpecError(f"{name!r}: {module.__file__} has no function {function_name!r}")
    return function
