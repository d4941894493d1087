"""A student of your own: one function. Name it in ladder.yaml and put this file beside it:

    device: {student: "own_student:build", width: 64}

The function gets the number of kept tokens, the number of labels and the width; the module maps token ids
int64 [batch, tokens] (0 is padding) to logits float32 [batch, labels]. Its table must be called `embedding`, so that
it can be filled from the teacher and quantised.
"""

import torch
from torch import nn


class Convolution(nn.Module):
    """Two windows over the embedded tokens, the strongest match of each filter, one linear layer."""

    def __init__(self, vocab: int, labels: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, width, padding_idx=0)
        self.windows = nn.ModuleList(nn.Conv1d(width, width, size, padding=size // 2) for size in (1, 3))
        self.head = nn.Linear(2 * width, labels)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        kept = (ids != 0).unsqueeze(1)
        embedded = self.embedding(ids).transpose(1, 2) * kept
        found = [window(embedded).masked_fill(~kept, -1e4).amax(dim=2) for window in self.windows]
        return self.head(torch.relu(torch.cat(found, dim=1)))


def build(vocab: int, labels: int, width: int) -> nn.Module:
    """What ladder.yaml names."""
    return Convolution(vocab, labels, width)
