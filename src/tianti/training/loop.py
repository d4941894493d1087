"""The one loop that fits weights by gradient: optimizer, schedule, clipping, early stopping.

Not here: what is fitted and to what end (`teacher`, `scratch`, `distill` give the module and its loss).
Invariants: the same seed and machine give the same weights; a loss that is not finite is an error, never a result.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import get_scheduler

from tianti.errors import StageError
from tianti.spec.ladder import FitSpec
from tianti.training.batches import Ids, pad, shuffled_batches
from tianti.training.contract import Progress
from tianti.training.hardware import make_accelerator

NO_LABEL = -100  # torch's own ignore_index
_WARM_UP = 0.1
_CLIP = 1.0
_REPORT_EVERY = 10  # steps; reading the loss waits for an accelerator


@dataclass(frozen=True)
class Examples:
    """What a loss sees of each row: ids, label (NO_LABEL where none is known) and perhaps the teacher's logits."""

    ids: Ids
    labels: NDArray[np.int64]
    teacher: NDArray[np.float32] | None = None

    def batch(self, rows: NDArray[np.int64], pad_id: int, device: torch.device) -> "Batch":
        """These rows as tensors."""
        return Batch(
            pad([self.ids[row] for row in rows], pad_id).to(device),
            torch.from_numpy(self.labels[rows]).to(device),
            None if self.teacher is None else torch.from_numpy(self.teacher[rows]).to(device),
        )


@dataclass(frozen=True)
class Batch:
    """Some examples as tensors: int64 [b, t], int64 [b], float32 [b, labels]."""

    input_ids: Tensor
    labels: Tensor
    teacher: Tensor | None


@dataclass(frozen=True)
class Goal:
    """What a fit minimises, over which rows each epoch, and what tells whether it got better.

    `draw(epoch, rng)` gives the rows of an epoch, as many each time. `validate()` is an accuracy; it is only asked
    for when the fit has patience. `groups` are the optimizer's parameter groups; None: all parameters alike.
    """

    loss: Callable[[Batch], Tensor]
    draw: Callable[[int, np.random.Generator], NDArray[np.int64]]
    validate: Callable[[], float]
    groups: list[dict[str, Any]] | None = None


def fit(
    module: nn.Module, examples: Examples, goal: Goal, spec: FitSpec, *, pad_id: int, seed: int, progress: Progress, note: str
) -> None:
    """Fit a module in place; with patience, it ends with the weights of the best validation accuracy.

    `spec` is complete: learning rate, epochs and batch size are given.

    Raises:
        StageError: the loss was not finite.
    """
    assert spec.learning_rate is not None and spec.epochs is not None and spec.batch_size is not None
    set_seed(seed)
    rng = np.random.default_rng(seed)
    accelerator = make_accelerator()
    module.to(accelerator.device)
    lengths = np.array([len(one) for one in examples.ids])
    per_epoch = math.ceil(len(goal.draw(0, np.random.default_rng(seed))) / spec.batch_size)
    total, done = per_epoch * spec.epochs, 0
    optimizer = _make_optimizer(goal.groups or [{"params": list(module.parameters())}], spec)
    schedule = _make_schedule(optimizer, spec, total)
    best = _Best(module)
    for epoch in range(spec.epochs):
        module.train()
        for rows in shuffled_batches(lengths, goal.draw(epoch, rng), spec.batch_size, rng):
            with accelerator.autocast():
                loss = goal.loss(examples.batch(rows, pad_id, accelerator.device))
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(module.parameters(), _CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            done += 1
            if done % _REPORT_EVERY == 0 or done == total:
                progress(done, total, f"{note}: epoch {epoch + 1} of {spec.epochs}, loss {_finite(loss, spec):.3f}")
        module.eval()
        if spec.patience is not None and best.epochs_ago(goal.validate()) >= spec.patience:
            progress(total, total, f"{note}: no better after epoch {epoch + 1}")
            break
    best.restore()


class _Best:
    """The weights of the best epoch so far."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._accuracy = -1.0
        self._epochs_ago = 0
        self._weights: dict[str, Tensor] | None = None

    def epochs_ago(self, accuracy: float) -> int:
        """Take in this epoch's accuracy; how many epochs ago the best one was."""
        self._epochs_ago += 1
        if accuracy > self._accuracy:
            self._accuracy, self._epochs_ago = accuracy, 0
            self._weights = {name: tensor.clone() for name, tensor in self._module.state_dict().items()}
        return self._epochs_ago

    def restore(self) -> None:
        """Put the best weights back; without any validation the last ones stay."""
        if self._weights is not None:
            self._module.load_state_dict(self._weights)


def _make_optimizer(groups: list[dict[str, Any]], spec: FitSpec) -> torch.optim.Optimizer:
    rate = spec.learning_rate or 0.0
    if spec.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    if spec.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, fused=True)
    return torch.optim.AdamW(groups, lr=rate, weight_decay=0.01, fused=True)


def _make_schedule(optimizer: torch.optim.Optimizer, spec: FitSpec, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    name = "constant_with_warmup" if spec.schedule == "constant" else spec.schedule
    return get_scheduler(name, optimizer, num_warmup_steps=math.ceil(_WARM_UP * steps), num_training_steps=steps)


def _finite(loss: Tensor, spec: FitSpec) -> float:
    """The loss as a number; one bad step makes all later losses bad, so looking now and then is enough."""
    value = loss.item()
    if not math.isfinite(value):
        cure = f"lower fit.learning_rate (now {spec.learning_rate})"
        raise StageError(f"training diverged: expected a finite loss, got {value}; {cure}")
    return value
