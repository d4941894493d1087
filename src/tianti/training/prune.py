"""Prune a trained student: whole neurons and heads, which makes it smaller and faster, or single weights.

Zeroed weights make a smaller download and nothing else: engines multiply dense matrices. Not here: training again
afterwards (`distill`). Invariant: what is removed weighs least by its own norm; shapes stay consistent.
"""

from tianti.errors import StageError, needs_extra
from tianti.spec.ladder import PruneSpec
from tianti.training.students import TransformerBody, TransformerLayer

with needs_extra("train"):
    import torch
    from torch import Tensor, nn
    from torch.nn.utils import prune


def remove_structures(body: nn.Module, spec: PruneSpec) -> None:
    """Cut, in place, a share of the feed-forward neurons and some heads off each layer of a transformer.

    Raises:
        StageError: the body is another kind of student, or has no more heads than are to go.
    """
    if not spec.neurons_share and not spec.heads:
        return
    if not isinstance(body, TransformerBody):
        raise StageError(f"prune: neurons and heads are a transformer's, got {type(body).__name__}; prune weights")
    for layer in body.layers:
        assert isinstance(layer, TransformerLayer)
        _cut_neurons(layer, spec.neurons_share)
        if spec.heads >= layer.heads:
            raise StageError(f"prune.heads: expected fewer than {layer.heads}, got {spec.heads}")
        _cut_heads(layer, spec.heads)


def mask_weights(body: nn.Module, share: float) -> None:
    """Hold the smallest weights of every linear layer at zero while it trains (L1, each layer by itself)."""
    if share:
        for layer in _linears(body):
            prune.l1_unstructured(layer, "weight", share)


def fix_weights(body: nn.Module) -> None:
    """Make the masks of `mask_weights` part of the weights."""
    for layer in _linears(body):
        if prune.is_pruned(layer):
            prune.remove(layer, "weight")


def _linears(body: nn.Module) -> list[nn.Linear]:
    return [module for module in body.modules() if isinstance(module, nn.Linear)]


def _cut_neurons(layer: TransformerLayer, share: float) -> None:
    """A neuron's weight is the norm of what goes in times the norm of what comes out."""
    widen, narrow = layer.widen, layer.narrow
    weight = widen.weight.detach().norm(dim=1) * narrow.weight.detach().norm(dim=0)
    kept = _heaviest(weight, len(weight) - round(share * len(weight)))
    layer.widen, layer.narrow = _rows(widen, kept), _columns(narrow, kept)


def _cut_heads(layer: TransformerLayer, count: int) -> None:
    """A head's weight is the norm of its values times the norm of its share of the output."""
    joint, out, heads = layer.query_key_value, layer.out, layer.heads
    size = out.in_features // heads
    values = joint.weight.detach().view(3, heads, size, -1)[2].flatten(1).norm(dim=1)
    outputs = out.weight.detach().view(-1, heads, size).transpose(0, 1).flatten(1).norm(dim=1)
    kept = _heaviest(values * outputs, heads - count)
    inside = (kept[:, None] * size + torch.arange(size)).flatten()
    layer.query_key_value = _rows(joint, torch.cat([part * heads * size + inside for part in range(3)]))
    layer.out, layer.heads = _columns(out, inside), heads - count


def _heaviest(weight: Tensor, count: int) -> Tensor:
    return weight.topk(max(count, 1)).indices.sort().values


def _rows(layer: nn.Linear, kept: Tensor) -> nn.Linear:
    return _linear(layer.weight[kept], layer.bias[kept])


def _columns(layer: nn.Linear, kept: Tensor) -> nn.Linear:
    return _linear(layer.weight[:, kept], layer.bias)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight.detach().clone(), bias.detach().clone()
    return layer
