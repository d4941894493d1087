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
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression
    from torch import Tensor, nn

_BUCKETS = 2**17
_PRIMES = (1, 7919, 104729)  # one a position, so that the order of an n-gram's tokens tells
_SALT = 1_000_003  # one a length, so that n-grams of unequal length part
_INVERSE_PENALTY = 10.0
_DEEP_WIDTH, _DEEP_LAYERS = 192, 2
_WORD_DROPOUT = 0.1


def hash_ngrams(ids: Tensor, pad_id: int) -> Tensor:
    """Buckets int64 [batch, 3 * tokens - 3] of the 1-, 2- and 3-grams of ids int64 [batch, tokens]; 0: has padding."""
    found = []
    for length in (1, 2, 3):
        windows = [ids[:, at : ids.shape[1] - length + 1 + at] for at in range(length)]
        mixed = sum((window + 1) * prime for window, prime in zip(windows, _PRIMES, strict=False)) + length * _SALT
        # padding is at the end, so a window has padding where its last token is padding
        found.append((mixed % (_BUCKETS - 1) + 1) * (windows[-1] != pad_id))
    return torch.cat(found, dim=1)


class WidePart(nn.Module):
    """Linear in idf-weighted n-grams, L2-normalised over a text. Bucket 0 weighs nothing."""

    def __init__(self, table: Tensor, square: Tensor, bias: Tensor, pad_id: int) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table)
        self.square = nn.Embedding.from_pretrained(square)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.pad_id = pad_id

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits float32 [batch, labels]."""
        buckets = hash_ngrams(input_ids, self.pad_id)
        norm = self.square(buckets).sum(1).clamp(min=1e-6).sqrt()
        return self.table(buckets).sum(1) / norm + self.bias


def fit_wide(ids: Ids, labels: NDArray[np.int64], label_count: int, pad_id: int) -> WidePart:
    """Fit by logistic regression on sparse features."""
    rows = [np.asarray(hash_ngrams(pad_batch([tokens], pad_id), pad_id)[0]) for tokens in ids]
    rows = [buckets[buckets > 0] for buckets in rows]
    seen = np.bincount(np.concatenate([np.unique(buckets) for buckets in rows]), minlength=_BUCKETS)
    idf = np.where(seen > 0, np.log((1 + len(rows)) / (1 + seen)) + 1, 0.0)
    norms = [np.sqrt((idf[buckets] ** 2).sum()) for buckets in rows]
    values = np.concatenate([idf[buckets] / norm for buckets, norm in zip(rows, norms, strict=True)])
    starts = np.cumsum([0, *(len(buckets) for buckets in rows)])
    features = csr_matrix((values, np.concatenate(rows), starts), shape=(len(rows), _BUCKETS))
    features.sum_duplicates()
    kept = np.flatnonzero(seen)
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=200, tol=1e-3).fit(features[:, kept], labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # two labels: scikit-learn keeps one row, the log-odds of the second
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    table = np.zeros((_BUCKETS, label_count), np.float32)
    table[kept] = weight.T * idf[kept, None]
    square = (idf**2).astype(np.float32)[:, None]
    tensors = (torch.from_numpy(table), torch.from_numpy(square), torch.tensor(bias, dtype=torch.float32))
    return WidePart(*tensors, pad_id)


class DeepPart(nn.Module):
    """A transformer on the whole vocabulary, with word dropout while it trains."""

    def __init__(self, vocab: int, labels: int, max_length: int, pad_id: int, unknown_id: int) -> None:
        super().__init__()
        self.body = TransformerBody(vocab, labels, _DEEP_WIDTH, _DEEP_LAYERS, max_length)
        self.pad_id, self.unknown_id = pad_id, unknown_id

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits float32 [batch, labels]."""
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
