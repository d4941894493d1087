"""Start a student from its parent's weights, so that a retrain stays near it: small updates, and room for new labels.

Not here: which parent (`pipeline.parent`). Invariant: student and parent have the same vocabulary; what a label weighs
goes with its name, and a new label starts as it would without a parent.
"""

from collections.abc import Sequence

from tianti.errors import StageError, needs_extra
from tianti.spec.ladder import Freeze, PruneSpec
from tianti.training.prune import remove_structures

with needs_extra("train"):
    import torch
    from torch import Tensor, nn

_HEAD = "head."
_TABLES = ("embedding.", "position")


def warm_start(
    body: nn.Module,
    parent: nn.Module,
    labels: Sequence[int | None],
    freeze: Freeze | None,
    prune: PruneSpec | None = None,
) -> PruneSpec | None:
    """Copy the weights of a parent of the same architecture.

    Args:
        body: the student's.
        parent: the parent's body.
        labels: for each label the parent's place of it, None for a new one.
        freeze: what is kept as it is.
        prune: what is to be cut off the student.

    Returns:
        What is left to prune: of a parent that was cut, nothing is cut again.

    Raises:
        StageError: the architectures differ, or nothing is left to train.
    """
    if prune is not None and _shapes(body) != _shapes(parent):
        remove_structures(body, prune)
        prune = PruneSpec(weights=prune.weights) if prune.weights_share else None
    theirs = parent.state_dict()
    ours = body.state_dict()
    if set(ours) != set(theirs):
        odd = sorted(set(ours) ^ set(theirs))[0]
        raise StageError(
            f"train.from: expected the architecture of the parent, got another ({odd}); keep the parent's student"
        )
    for name, tensor in ours.items():
        first = 1 if name.startswith(_HEAD) else 0
        if tensor.shape[first:] != theirs[name].shape[first:]:
            shapes = f"{tuple(theirs[name].shape)}, got {tuple(tensor.shape)}"
            raise StageError(
                f"train.from: expected {name} of shape {shapes}; keep the parent's student, width, layers and prune"
            )
        if first:
            _copy_labels(tensor, theirs[name], labels)
        else:
            tensor.copy_(theirs[name])
    for name, parameter in body.named_parameters():
        if _stays(name, freeze):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in body.parameters()):
        raise StageError("train.freeze: expected a part called head to train, got a student without; leave it out")
    return prune


def _stays(name: str, freeze: Freeze | None) -> bool:
    """Whether a parameter is kept; an encoder's tables never move."""
    if freeze == "embedding":
        return name.startswith(_TABLES)
    return freeze == "all" and not name.startswith(_HEAD)


def _shapes(body: nn.Module) -> list[torch.Size]:
    """Of what pruning cuts."""
    return [tensor.shape for name, tensor in body.state_dict().items() if name.startswith("layers.")]


def _copy_labels(tensor: Tensor, source: Tensor, labels: Sequence[int | None]) -> None:
    known = [(row, place) for row, place in enumerate(labels) if place is not None]
    ours, theirs = (torch.tensor([pair[side] for pair in known], dtype=torch.int64) for side in (0, 1))
    tensor[ours] = source[theirs]
