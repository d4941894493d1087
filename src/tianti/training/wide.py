"""The parts of a cloud model from scratch: a linear model of hashed 1-3-grams, and a small transformer.

Not here: training the transformer (`teacher`). Invariant: both take padded ids and do not see the padding.
"""

import numpy as np
from numpy.typing import NDArray

from tianti.errors import needs_extra
from tianti.training.loop import Ids, pad_batch
from tianti.training.students import TransformerBody

with needs_extra("train"):
    import torch
    from scipy.sparse import csr_matrix, diags
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import normalize
    from torch import Tensor, nn

_BUCKETS = 2**20
_MODULUS = 2**31 - 1
_LENGTHS = (1, 2, 3)
_SEEN_AT_LEAST = 2  # texts; n-grams of one text only teach noise
_INVERSE_PENALTY = 10.0
_TOLERANCE = 1e-4  # ten times as much stops early and costs a point and more
_DEEP_WIDTH, _DEEP_LAYERS, _DEEP_LENGTH = 128, 1, 128
_WORD_DROPOUT = _DROPOUT = 0.1


def hash_ngrams(ids: Tensor, pad_id: int) -> Tensor:
    """Buckets int64 [batch, 3 * tokens - 3] of the 1-, 2- and 3-grams of ids int64 [batch, tokens]; -1: has padding."""
    found = []
    for length in _LENGTHS:
        windows = [ids[:, at : ids.shape[1] - length + 1 + at] for at in range(length)]
        hashed = windows[0] * length
        for window in windows[1:]:
            hashed = (hashed * 31_153 + window + 7) % _MODULUS
        buckets = (hashed * 40_503 + length * 7_919) % _MODULUS % _BUCKETS
        # padding is at the end, so a window has padding where its last token is padding
        found.append(torch.where(windows[-1] == pad_id, -1, buckets))
    return torch.cat(found, dim=1)


class WidePart(nn.Module):
    """Linear in the weighted set of a text's n-grams, L2-normalised. Row 0, of what was not kept, weighs nothing."""

    rows: Tensor

    def __init__(self, rows: Tensor, table: Tensor, square: Tensor, bias: Tensor, pad_id: int) -> None:
        super().__init__()
        self.register_buffer("rows", rows)  # int64 [buckets]
        self.table = nn.Embedding.from_pretrained(table)
        self.square = nn.Embedding.from_pretrained(square)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.pad_id = pad_id

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits float32 [batch, labels]."""
        buckets, _ = hash_ngrams(input_ids, self.pad_id).sort(dim=1)
        before = torch.cat([torch.full_like(buckets[:, :1], -1), buckets[:, :-1]], dim=1)
        # a set: each n-gram counts once
        rows = torch.where(buckets == before, 0, self.rows[buckets.clamp(min=0)])
        norm = self.square(rows).sum(1).clamp(min=1e-6).sqrt()
        return self.table(rows).sum(1) / norm + self.bias


def fit_wide(ids: Ids, labels: NDArray[np.int64], label_count: int, pad_id: int) -> WidePart:
    """Fit by logistic regression on idf times the square root of how much an n-gram tells of the labels.

    The second factor is the log-count ratio of Wang & Manning (2012, "Baselines and bigrams").
    """
    sets = [np.unique(np.asarray(hash_ngrams(pad_batch([tokens], pad_id), pad_id)[0])) for tokens in ids]
    sets = [buckets[buckets >= 0] for buckets in sets]
    seen = np.bincount(np.concatenate(sets), minlength=_BUCKETS)
    kept = np.flatnonzero(seen >= _SEEN_AT_LEAST)
    rows = np.zeros(_BUCKETS, np.int64)
    rows[kept] = np.arange(1, len(kept) + 1)
    starts = np.cumsum([0, *(len(buckets) for buckets in sets)])
    shape = (len(sets), len(kept) + 1)
    binary = csr_matrix((np.ones(starts[-1], np.float32), rows[np.concatenate(sets)], starts), shape=shape)
    binary = binary[:, 1:]
    idf = np.log((1 + len(sets)) / (1 + seen[kept])) + 1
    weight = idf * np.sqrt(_telling(binary, labels, label_count))
    features = normalize(binary @ diags(weight))
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=300, tol=_TOLERANCE).fit(features, labels)
    coefficients, bias = model.coef_, model.intercept_
    if len(coefficients) == 1:  # two labels: scikit-learn keeps one row, the log-odds of the second
        coefficients, bias = np.concatenate([-coefficients, coefficients]) / 2, np.concatenate([-bias, bias]) / 2
    table = np.concatenate([np.zeros((1, label_count)), coefficients.T * weight[:, None]])
    square = np.concatenate([[0.0], weight**2])[:, None]
    weights = [torch.tensor(array, dtype=torch.float32) for array in (table, square, bias)]
    return WidePart(torch.from_numpy(rows), weights[0], weights[1], weights[2], pad_id)


def _telling(binary: csr_matrix, labels: NDArray[np.int64], label_count: int) -> NDArray[np.float64]:
    """For each n-gram the largest |log ratio| of its share in a label to its share in the others."""
    counts = np.stack([np.asarray(binary[labels == label].sum(axis=0)).ravel() + 1.0 for label in range(label_count)])
    share = counts / counts.sum(axis=1, keepdims=True)
    others = (share.sum(axis=0, keepdims=True) - share) / max(label_count - 1, 1)
    telling: NDArray[np.float64] = np.abs(np.log(share / others)).max(axis=0)
    return telling


class DeepPart(nn.Module):
    """A transformer on the whole vocabulary, with word dropout while it trains.

    It reads a text's first 128 tokens, since attention costs the square of the length; the wide part reads all.
    """

    def __init__(self, vocab: int, labels: int, max_length: int, pad_id: int, unknown_id: int) -> None:
        super().__init__()
        self.body = TransformerBody(vocab, labels, _DEEP_WIDTH, _DEEP_LAYERS, min(max_length, _DEEP_LENGTH), _DROPOUT)
        self.pad_id, self.unknown_id = pad_id, unknown_id

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits float32 [batch, labels]."""
        input_ids = input_ids[:, :_DEEP_LENGTH]
        return self.body(drop_words(input_ids, self.unknown_id, self.pad_id, _WORD_DROPOUT if self.training else 0.0))


def drop_words(ids: Tensor, unknown: int, pad: int, share: float) -> Tensor:
    """Replace a share of the tokens by the unknown one, so that a model learns to do without any one of them."""
    if not share:
        return ids
    return torch.where((torch.rand(ids.shape, device=ids.device) < share) & (ids != pad), unknown, ids)


class WideAndDeep(nn.Module):
    """(1 - share) * wide + share * deep."""

    share: Tensor

    def __init__(self, wide: WidePart, deep: DeepPart) -> None:
        super().__init__()
        self.wide, self.deep = wide, deep
        self.register_buffer("share", torch.tensor(0.5))

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits float32 [batch, labels]."""
        return (1 - self.share) * self.wide(input_ids) + self.share * self.deep(input_ids)
