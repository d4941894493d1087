"""Fixtures that several rooms share."""

import os
from pathlib import Path

import pytest

from tests.tiny_release import make_release


@pytest.fixture
def tiny_release(tmp_path: Path) -> Path:
    """The folder of a tiny but real release."""
    folder = tmp_path / "release"
    folder.mkdir()
    return make_release(folder).folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data sets; tests that need them are skipped where they are not."""
    root = Path(os.environ.get("TIANTI_SHARED", Path(__file__).parents[2] / "shared"))
    if not (root / "data" / "clinc150_en").is_dir():
        pytest.skip(f"no real data sets below {root}; TIANTI_SHARED names their folder")
    return root / "data"
