"""The one training loop: optimiser, schedule, clipping, mixed precision, early stopping.

Not here: what the loss is (`teacher`, `distill`). Invariants: the same seed and data give the same batches; a loss that
is not finite stops the run instead of spoiling the weights.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tianti.errors import StageError, needs_extra
from tianti.spec.ladder import FitSpec
from tianti.training.contract import Progress

with needs_extra("train"):
    import torch
    from accelerate import Accelerator
    from torch import Tensor, nn
    from transformers import PreTrainedModel, get_scheduler

Ids = Sequence[Sequence[int] | NDArray[np.int32]]
_WARMUP_SHARE = 0.1
_CLIP_NORM = 1.0
_WEIGHT_DECAY = 0.01
_BUCKET = 16  # batches are cut from this many, sorted by length: padding is the larger part of the cost
_LENGTH_STEP = 8  # batches as wide as a multiple of it: torch keeps memory for every width that it has met
_OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


@cache
def bf16_is_fast() -> bool:
    """Whether this machine computes bfloat16 in hardware; elsewhere it is slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"))


@cache
def find_accelerator() -> Accelerator:
    """The device to compute on: CUDA, MPS or the CPU. One a process, as accelerate wants it."""
    return Accelerator(mixed_precision="bf16" if bf16_is_fast() else "no")


def pad_batch(ids: Ids, pad_id: int, width: int | None = None) -> Tensor:
    """Ids of unequal length as int64 [batch, width], by default as wide as the longest."""
    batch = np.full((len(ids), width or max(map(len, ids))), pad_id, dtype=np.int64)
    for row, tokens in enumerate(ids):
        batch[row, : len(tokens)] = tokens
    return torch.from_numpy(batch)


def fit_module(
    module: nn.Module,
    ids: Ids,
    pad_id: int,
    loss: Callable[[Tensor, NDArray[np.int64]], Tensor],
    fit: FitSpec,
    *,
    seed: int,
    note: str,
    progress: Progress,
    head_rate: float | None = None,
    validate: Callable[[nn.Module], float] | None = None,
) -> None:
    """Fit a module in place: `loss(logits [batch, labels], rows)` is minimised over rows of `ids`.

    `head_rate` is the learning rate of parameters under `head`, where it is another than `fit.learning_rate`; with
    `fit.patience`, the weights of the best `validate` are kept. Every field of `fit` but patience must be given.

    Raises:
        StageError: the loss is not finite.
    """
    assert fit.learning_rate is not None and fit.epochs is not None and fit.batch_size is not None
    assert fit.optimizer is not None and fit.schedule is not None
    torch.manual_seed(seed)
    accelerator = find_accelerator()
    module.to(accelerator.device)  # not prepared: that would leave autocast in the module's forward, and in its export
    steps = fit.epochs * math.ceil(len(ids) / fit.batch_size)
    optimizer = _OPTIMIZERS[fit.optimizer](
        _groups(module, fit.learning_rate, head_rate), lr=fit.learning_rate, fused=True
    )
    schedule = get_scheduler(fit.schedule, optimizer, math.ceil(steps * _WARMUP_SHARE), steps)
    generator, best = np.random.default_rng(seed), _Best(fit.patience)
    lengths, done = np.array([len(tokens) for tokens in ids]), 0
    widths = np.minimum(-(-lengths // _LENGTH_STEP) * _LENGTH_STEP, lengths.max())
    for epoch in range(fit.epochs):
        module.train()
        for rows in _batches(lengths, fit.batch_size, generator):
            batch = pad_batch([ids[row] for row in rows], pad_id, int(widths[rows].max())).to(accelerator.device)
            with accelerator.autocast():
                logits = module(batch)
            value = loss(logits.float(), rows)
            if not torch.isfinite(value):
                raise StageError(f"{note}: the loss is {value.item()} at step {done}; lower fit.learning_rate")
            optimizer.zero_grad()
            accelerator.backward(value)
            accelerator.clip_grad_norm_(module.parameters(), _CLIP_NORM)
            optimizer.step()
            schedule.step()
            done += 1
            progress(done, steps, f"{note}, epoch {epoch + 1} of {fit.epochs}")
        if fit.patience is not None and validate is not None and best.stops(validate(module), module):
            break
    best.restore(module)
    module.to("cpu").eval()


class _Best:
    """Remembers the best weights, and when to give up."""

    def __init__(self, patience: int | None) -> None:
        self._patience = patience
        self._accuracy, self._since = -1.0, 0
        self._weights: dict[str, Tensor] | None = None

    def stops(self, accuracy: float, module: nn.Module) -> bool:
        if accuracy > self._accuracy:
            self._accuracy, self._since = accuracy, 0
            self._weights = copy.deepcopy(module.state_dict())
        else:
            self._since += 1
        return self._patience is not None and self._since >= self._patience

    def restore(self, module: nn.Module) -> None:
        if self._weights is not None:
            module.load_state_dict(self._weights)


def _groups(module: nn.Module, rate: float, head_rate: float | None) -> list[dict[str, object]]:
    """Parameters with their learning rates; weight decay as usual."""
    heads: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (heads if "head." in name else others).append(parameter)
    return [
        {"params": others, "lr": rate, "weight_decay": _WEIGHT_DECAY},
        {"params": heads, "lr": head_rate or rate, "weight_decay": _WEIGHT_DECAY},
    ]


def _batches(lengths: NDArray[np.int64], size: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Rows of one epoch in random batches of about equal length."""
    order = generator.permutation(len(lengths))
    for start in range(0, len(order), size * _BUCKET):
        bucket = order[start : start + size * _BUCKET]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches = [bucket[at : at + size] for at in range(0, len(bucket), size)]
        for index in generator.permutation(len(batches)):
            yield batches[index]


def compute_all(
    module: nn.Module, ids: Ids, pad_id: int, progress: Progress, note: str, batch_size: int = 128
) -> NDArray[np.float32]:
    """A module's output for every row, float32 [rows, width], without gradients, longest rows last."""
    device = find_accelerator().device
    module = _for_inference(module).to(device).eval()
    order = np.argsort([len(tokens) for tokens in ids], kind="stable")
    found: NDArray[np.float32] | None = None
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = pad_batch([ids[row] for row in rows], pad_id).to(device)
            output = module(batch).float().cpu().numpy()
            found = np.empty((len(ids), output.shape[1]), np.float32) if found is None else found
            found[rows] = output
            progress(min(start + batch_size, len(order)), len(order), note)
    return np.empty((0, 0), np.float32) if found is None else found


def _for_inference(module: nn.Module) -> nn.Module:
    """A copy whose pretrained encoder, if any, computes in bfloat16 where that is fast; heads and sums stay float32."""
    module = copy.deepcopy(module)
    if bf16_is_fast():
        for part in module.modules():
            if isinstance(part, PreTrainedModel):
                nn.Module.to(part, torch.bfloat16)  # the class's own `to` is typed for other uses
    return module
