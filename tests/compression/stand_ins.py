"""Small modules that keep the torch twin's contract: forward(input_ids [b, t]) -> logits [b, labels], padding is 0."""

from pathlib import Path

import torch
from torch import Tensor, nn

PAD = 0
LABELS = 6
BASE_VOCABULARY = 500


def alias_map(rows: int) -> Tensor:
    """Every base id to a kept row; padding keeps its own."""
    return torch.arange(BASE_VOCABULARY) % rows


def masked_mean(states: Tensor, kept: Tensor) -> Tensor:
    return (kept[:, None, :] @ states)[:, 0] / kept.sum(1, keepdim=True)


class Bag(nn.Module):
    def __init__(self, rows: int = 200, width: int = 32) -> None:
        super().__init__()
        self.register_buffer("alias", alias_map(rows))
        self.words = nn.Embedding(rows, width)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(width, LABELS)

    def forward(self, ids: Tensor) -> Tensor:
        kept = (ids != PAD).float()
        return self.head(self.dropout(masked_mean(self.words(self.alias[ids]), kept)))


class Transformer(nn.Module):
    """One pre-LN layer; positions are looked up, so that two tables are fed by Gather."""

    def __init__(self, rows: int = 200, width: int = 32, heads: int = 4, positions: int = 64) -> None:
        super().__init__()
        self.heads, self.head_width, self.width = heads, width // heads, width
        self.register_buffer("alias", alias_map(rows))
        self.words = nn.Embedding(rows, width)
        self.positions = nn.Embedding(positions, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, LABELS)

    def forward(self, ids: Tensor) -> Tensor:
        kept = (ids != PAD).float()
        hidden = self.words(self.alias[ids]) + self.positions(torch.arange(ids.shape[1]))
        mixed = self.mix(self.norms[0](hidden))
        mixed = mixed.view(mixed.shape[0], mixed.shape[1], 3 * self.heads, self.head_width).transpose(1, 2)
        query, key, value = mixed.split(self.heads, dim=1)
        weights = query @ key.transpose(2, 3) * self.head_width**-0.5 + (kept[:, None, None, :] - 1) * 1e4
        seen = (weights.softmax(-1) @ value).transpose(1, 2)
        hidden = hidden + self.out(seen.reshape(seen.shape[0], seen.shape[1], self.width))
        hidden = hidden + self.narrow(nn.functional.gelu(self.wide(self.norms[1](hidden))))
        return self.head(masked_mean(self.norms[2](hidden), kept))


class Lstm(nn.Module):
    """Embedding -> LSTM -> Dense; the state after the last token that is not padding is read."""

    def __init__(self, rows: int = BASE_VOCABULARY, width: int = 32, forgets_padding: bool = False) -> None:
        super().__init__()
        self.forgets_padding = forgets_padding
        self.words = nn.Embedding(rows, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, LABELS)

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.lstm(self.words(ids))
        if self.forgets_padding:
            return self.head(states[:, -1])
        last = (ids != PAD).long().sum(1) - 1
        return self.head(states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))[:, 0])


class Encoder(nn.Module):
    """A Hugging Face encoder with a masked mean and L2 norm: [b, t] -> embedding [b, width]."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoModel

        self.encoder = AutoModel.from_pretrained(folder, attn_implementation="eager", local_files_only=True)

    def forward(self, ids: Tensor) -> Tensor:
        kept = (ids != PAD).float()
        mask = (kept[:, None, None, :] - 1) * 1e4
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return nn.functional.normalize(masked_mean(states, kept), dim=1)
