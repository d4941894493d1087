"""Fit a score head: temperature, reject threshold and the weights of the score.

Only tuning rows come in here, never those that certify. Not here: reading a score (`score`).
Invariant: data that cannot carry a fit (one outcome only, too few rows) give the plain margin, not a wild fit.
"""

import numpy as np
from numpy.typing import NDArray

from tianti.certificate.score import REJECTED, Evidence, examine
from tianti.spec import ScoreHead

MIN_OF_EACH = 10
"""Right and wrong answers there must be, each, before weights are fitted."""
_TEMPERATURES = (0.05, 20.0)
_PENALTY = 5.0  # L2 on weights of standardised features; the bias is free


def fit_head(
    logits: NDArray[np.float32],
    tokens: NDArray[np.int64],
    unknown: NDArray[np.int64],
    truth: NDArray[np.int64],
    has_out_of_scope: bool,
) -> ScoreHead:
    """A head for one model, from its logits [rows, labels] on tuning rows.

    `truth` [rows] indexes the model's labels, -1 = out of scope; below that it is another label, which the model never
    gives. Rows whose logits are not finite teach nothing (they always escalate).
    """
    usable = np.isfinite(logits).all(axis=1) & (logits.shape[1] > 1)
    logits, tokens, unknown, truth = logits[usable], tokens[usable], unknown[usable], truth[usable]
    known = truth >= 0
    head = ScoreHead(temperature=fit_temperature(logits[known], truth[known]))
    evidence = _examine_all(head, logits, tokens, unknown)
    if has_out_of_scope:
        energy = np.array([row.energy for row in evidence])
        answered = np.array([row.index for row in evidence], dtype=np.int64)
        head = ScoreHead(
            temperature=head.temperature, reject_below=fit_reject(energy, answered == truth, truth == REJECTED)
        )
        evidence = _examine_all(head, logits, tokens, unknown)
    # REJECTED is -1, and so is an out-of-scope truth: equal means that the final label is right
    right = np.array([row.index for row in evidence], dtype=np.int64) == truth
    if min(right.sum(), (~right).sum()) < MIN_OF_EACH:
        return head
    weights, bias = fit_logistic(np.array([row.features for row in evidence]), right)
    return ScoreHead(
        temperature=head.temperature,
        weights=tuple(weights.tolist()),
        bias=bias,
        reject_below=head.reject_below,
    )


def _examine_all(
    head: ScoreHead, logits: NDArray[np.float32], tokens: NDArray[np.int64], unknown: NDArray[np.int64]
) -> list[Evidence]:
    rows = zip(logits, tokens.tolist(), unknown.tolist(), strict=True)
    return [row for row in (examine(head, *each) for each in rows) if row is not None]


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The temperature of least negative log-likelihood (Guo et al. 2017), between 0.05 and 20; 1.0 without rows.

    The likelihood is concave in 1 / temperature, so the sign of its slope is enough to halve the interval.
    """
    if not len(truth):
        return 1.0
    below = logits - logits.max(axis=1, keepdims=True).astype(np.float64)
    target = below[np.arange(len(truth)), truth].mean()
    low, high = np.log(_TEMPERATURES)
    for _ in range(24):
        middle = (low + high) / 2
        weight = np.exp(below * np.exp(-middle))
        expected = ((weight * below).sum(axis=1) / weight.sum(axis=1)).mean()
        low, high = (low, middle) if expected < target else (middle, high)
    return float(np.exp((low + high) / 2))


def fit_reject(energy: NDArray[np.float64], right: NDArray[np.bool_], outside: NDArray[np.bool_]) -> float | None:
    """The energy below which rejecting gives the most right answers on these rows; None where rejecting never pays.

    `right`: the model's own label is right; `outside`: the row is out of scope.
    """
    order = np.argsort(energy, kind="stable")
    gain = np.cumsum(outside[order].astype(np.int64) - right[order])
    risen = np.append(np.diff(energy[order]) > 0, True)  # a threshold cannot part equal energies
    gain = np.where(risen, gain, -1)
    best = int(gain.argmax()) if len(gain) else 0
    if not len(gain) or gain[best] <= 0:
        return None
    last = float(energy[order[best]])
    return last + 1.0 if best + 1 == len(energy) else (last + float(energy[order[best + 1]])) / 2


def fit_logistic(features: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Weights [features] and bias of an L2-regularised logistic regression, by Newton steps that never climb."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-9] = np.inf  # a constant feature gets weight 0
    design = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    penalty = np.append(np.full(features.shape[1], _PENALTY), 1e-6)
    beta = np.zeros(design.shape[1])
    loss = np.inf
    step = np.zeros_like(beta)
    for _ in range(50):
        new = _loss(design, right, penalty, beta + step)
        if new > loss:
            step /= 2
            continue
        beta, gained, loss = beta + step, loss - new, new
        if gained < 1e-9:
            break
        chance = 1.0 / (1.0 + np.exp(-design @ beta))
        slope = design.T @ (right - chance) - penalty * beta
        curve = (design.T * (chance * (1 - chance))) @ design + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
    weights = beta[:-1] / scale
    return weights, float(beta[-1] - weights @ mean)


def _loss(
    design: NDArray[np.float64], right: NDArray[np.bool_], penalty: NDArray[np.float64], beta: NDArray[np.float64]
) -> float:
    margin = np.where(right, 1.0, -1.0) * (design @ beta)
    return float(np.logaddexp(0.0, -margin).sum() + 0.5 * (penalty * beta * beta).sum())
