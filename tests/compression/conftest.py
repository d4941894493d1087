"""Sessions and ids that the tests of this room share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from tests.compression.stand_ins import BASE_VOCABULARY

Run = Callable[[Path, torch.Tensor], NDArray[np.float32]]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def example_ids() -> torch.Tensor:
    return torch.randint(1, BASE_VOCABULARY, (3, 12))


@pytest.fixture
def run() -> Run:
    """Run a file on ids, one text a call."""

    def run_file(path: Path, ids: torch.Tensor) -> NDArray[np.float32]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, {"input_ids": row[None].numpy()})[0] for row in ids])

    return run_file
