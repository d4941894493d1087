"""The built-in students: transformer, embedding bag, LSTM.

Not here: training them (`distill`), the cut-down encoder (`cut_encoder`). Invariant: each keeps `StudentFunction`'s
contract: kept rows in (0 = padding), logits out, and padding on the right never changes a logit.
"""

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own name for it)
from torch import Tensor, nn

_HEADS = 4


class Transformer(nn.Module):
    """Pre-LN transformer (Xiong et al. 2020): learned positions, 4 heads, feed-forward 2 x width, mean pool."""

    def __init__(self, vocab: int, labels: int, width: int, *, layers: int, max_length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, width, padding_idx=0)
        self.positions = nn.Parameter(torch.randn(max_length, width) * 0.02)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, labels)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits [batch, labels] of rows [batch, tokens]."""
        mask = rows != 0
        hidden = self.embedding(rows) + self.positions[: rows.shape[1]]
        for block in self.blocks:
            hidden = block(hidden, mask)
        return self.head(self.norm(mean_pool(hidden, mask)))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """One layer over hidden [batch, tokens, width]; mask is true where a token is."""
        batch, tokens, width = hidden.shape
        joint = self.query_key_value(self.norm_attention(hidden)).view(batch, tokens, 3, _HEADS, width // _HEADS)
        query, key, value = joint.permute(2, 0, 3, 1, 4).unbind(0)
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        hidden = hidden + self.mix(heard.transpose(1, 2).reshape(batch, tokens, width))
        return hidden + self.narrow(F.gelu(self.widen(self.norm_feed(hidden))))


class Bag(nn.Module):
    """The mean of the embeddings (Iyyer et al. 2015 without hidden layers)."""

    def __init__(self, vocab: int, labels: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, width, padding_idx=0)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, labels)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits [batch, labels] of rows [batch, tokens]."""
        return self.head(self.norm(mean_pool(self.embedding(rows), rows != 0)))


class Lstm(nn.Module):
    """The classic Embedding -> LSTM -> Dense; it reads forward only, so that padding comes after all it has read."""

    def __init__(self, vocab: int, labels: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, labels)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits [batch, labels] of rows [batch, tokens]."""
        mask = rows != 0
        hidden, _ = self.lstm(self.embedding(rows))
        return self.head(mean_pool(hidden, mask))


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of hidden [batch, tokens, width] over the tokens of mask [batch, tokens]."""
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
