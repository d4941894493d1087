"""A package's self-tests find another label, another logit, and what is not a number, wherever it stands."""

from pathlib import Path

import numpy as np
import pytest

from tests.tiny_release import make_release
from tianti.errors import IntegrityError
from tianti.package import ModelPackage
from tianti.runtimes import open_package
from tianti.runtimes.goldens import check_goldens, run_goldens
from tianti.spec import Tier


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    return make_release(tmp_path).package(Tier.DEVICE)


def test_the_real_engine_passes(package: ModelPackage) -> None:
    run_goldens(package)


@pytest.mark.parametrize("added", [[1, 0, 0], [0, 9, 0], [0, np.nan, 0], [np.nan, 0, 0], [0, 0, np.inf]])
def test_other_logits_fail(package: ModelPackage, added: list[float]) -> None:
    runtime = open_package(package)
    shift = np.array(added, dtype=np.float32)
    with pytest.raises(IntegrityError, match="golden 1"):
        check_goldens(package, lambda text: runtime.run(text).logits + shift, "a test")
    check_goldens(package, lambda text: runtime.run(text).logits, "a test")  # the control
