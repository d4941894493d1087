"""A model that was imported as a teacher: its package behind the face of a torch module.

Not here: importing it (`pipeline.bring`). Invariant: each text is run alone and without padding, as in service.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tianti.errors import needs_extra
from tianti.package import read_package
from tianti.runtimes import open_package

with needs_extra("train"):
    import torch
    from torch import Tensor, nn


class PackageModule(nn.Module):
    """input_ids int64 [batch, tokens] -> logits float32 [batch, labels], without gradients.

    `vectors` float32 [vocabulary, width] are its table of words, centred; zeros where it has none that can be read.
    """

    def __init__(self, folder: Path, vectors: NDArray[np.float32], pad_id: int) -> None:
        super().__init__()
        self.vectors = vectors
        self.runtime = open_package(read_package(folder))
        self.pad_id = pad_id

    def forward(self, input_ids: Tensor) -> Tensor:
        """Classify a batch."""
        rows = (row[row != self.pad_id].cpu().numpy() for row in input_ids)
        return torch.from_numpy(np.stack([self.runtime.run_ids(row) for row in rows]))

    def __deepcopy__(self, memo: dict[int, Any]) -> "PackageModule":
        return self  # nothing of it ever changes, and an engine's session cannot be copied
