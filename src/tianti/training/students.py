"""Student architectures, and the wrapper that lets each take the ids of its teacher's tokenizer.

Not here: training (`distill`), shrinking files (`compression`). Invariant: padding does not change a result.
"""

import copy

from tianti.errors import StageError, needs_extra
from tianti.training.encoder import Encoder, layer_stack, mean_over

with needs_extra("train"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import scaled_dot_product_attention

PAD = 0
"""The kept row of padding."""
_HEADS = 4
_DROPOUT = 0.1


class FakeQuantEmbedding(nn.Embedding):
    """A table that is read through the grid of `bits` while it trains, gradients passing straight through.

    Symmetric, one scale a row (Jacob et al. 2018); the file clips each row where that costs it least.
    """

    bits: int | None = None
    _CLIP = 0.9  # of a row's largest value: a little clipping costs less than a coarse grid

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name of the overridden method)
        """Rows of ids int64 [batch, tokens] -> float32 [batch, tokens, width]."""
        if self.bits is None or not self.training:
            return super().forward(input)
        unique, where = torch.unique(input, return_inverse=True)
        rows = super().forward(unique)
        top = 2 ** (self.bits - 1) - 1
        scale = (rows.detach().abs().amax(dim=1, keepdim=True) * self._CLIP / top).clamp(min=1e-8)
        snapped = (rows / scale).round().clamp(-top, top) * scale
        return (rows + (snapped - rows).detach())[where]


class TransformerBody(nn.Module):
    """Pre-LN transformer, mean over the tokens, linear head. The default student."""

    def __init__(
        self, vocab: int, labels: int, width: int, layers: int = 2, max_length: int = 64, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = FakeQuantEmbedding(vocab, width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=0.1)  # torch's own 1.0 drowns the positions and learns slowly
        self.position = nn.Parameter(torch.randn(max_length, width) * 0.02)
        self.layers = nn.ModuleList(TransformerLayer(width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, labels)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits float32 [batch, labels]."""
        kept = ids != PAD
        mask = (1.0 - kept[:, None, None, :].float()) * -1e4
        states = self.embedding(ids) + self.position[: ids.shape[1]]
        for layer in self.layers:
            states = layer(states, mask)
        return self.head(mean_over(self.norm(states), kept))


class TransformerLayer(nn.Module):
    """Attention and feed-forward of twice the width, each after a norm and added back (Xiong et al. 2020)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.heads = _HEADS
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States float32 [batch, tokens, width]; mask is added to attention, [batch, 1, 1, tokens]."""
        batch, tokens, _ = states.shape
        # split over heads as one block: fewer nodes in the exported graph than a permutation of five axes
        joint = (
            self.query_key_value(self.norm_attention(states)).view(batch, tokens, 3 * self.heads, -1).transpose(1, 2)
        )
        query, key, value = joint.split(self.heads, dim=1)
        attend = _attend_fused if self.training else _attend
        mixed = attend(query, key, value, mask).transpose(1, 2).flatten(2)
        states = states + self.dropout(self.out(mixed))
        return states + self.dropout(self.narrow(nn.functional.gelu(self.widen(self.norm_feed(states)))))


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention in few plain nodes, for the exported graph."""
    weights = torch.softmax(query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + mask, dim=-1)
    return weights @ value


def _attend_fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """The same for training: two to three times as fast on a CPU, in float32 only."""
    with torch.autocast(query.device.type, enabled=False):
        return scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)


class BagBody(nn.Module):
    """Mean of the embeddings, one hidden layer: the smallest and fastest student."""

    def __init__(self, vocab: int, labels: int, width: int) -> None:
        super().__init__()
        self.embedding = FakeQuantEmbedding(vocab, width, padding_idx=PAD)
        self.hidden = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(_DROPOUT))
        self.head = nn.Linear(width, labels)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits float32 [batch, labels]."""
        pooled = mean_over(self.embedding(ids), ids != PAD)
        return self.head(pooled + self.hidden(pooled))


class LstmBody(nn.Module):
    """The classic Embedding -> LSTM -> Dense. It reads forward only, so that padding comes after all it has read."""

    def __init__(self, vocab: int, labels: int, width: int) -> None:
        super().__init__()
        self.embedding = FakeQuantEmbedding(vocab, width, padding_idx=PAD)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(width, labels)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits float32 [batch, labels]."""
        states, _ = self.lstm(self.embedding(ids))
        return self.head(self.dropout(mean_over(states, ids != PAD)))


class EncoderBody(nn.Module):
    """The first layers of the teacher's encoder on the kept rows of its table: the default edge model."""

    def __init__(self, encoder: Encoder, kept: list[int], layers: int, head: nn.Linear) -> None:
        super().__init__()
        model = copy.deepcopy(encoder.model)
        stack = layer_stack(model)
        if layers > len(stack):
            raise StageError(f"student encoder:{layers}: expected at most {len(stack)} layers, as many as the base has")
        del stack[layers:]
        table = encoder.word_table()
        rows = torch.cat([table[encoder.pad_id][None], table[kept]])
        # frozen: the rows are good already, and a table's optimiser state is most of a small model's cost
        model.set_input_embeddings(nn.Embedding.from_pretrained(rows, freeze=True))
        self.encoder = Encoder(model, PAD, encoder.pooling)
        self.head = nn.Linear(self.encoder.width, head.out_features)
        if head.in_features == self.encoder.width:  # the embeddings' part is the same, the rest a start
            self.head = copy.deepcopy(head)
            self.encoder.centre.copy_(encoder.centre)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits float32 [batch, labels]."""
        return self.head(self.encoder(ids))


class Student(nn.Module):
    """Ids of the teacher's tokenizer -> kept rows by the alias map -> logits of a body."""

    alias: Tensor

    def __init__(self, body: nn.Module, alias: Tensor) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("alias", alias)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits float32 [batch, labels]."""
        return self.body(self.alias[input_ids])
