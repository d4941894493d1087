"""What is pruned is really gone, what is left still works, and recovery keeps zeros at zero."""

import copy

import pytest
import torch

from tianti.errors import StageError
from tianti.spec.ladder import PruneSpec
from tianti.training.prune import fix_weights, mask_weights, remove_structures
from tianti.training.students import BagBody, TransformerBody
from tianti.training.warm import warm_start

WIDTH, LABELS = 16, 5


@pytest.fixture
def body() -> TransformerBody:
    torch.manual_seed(0)
    return TransformerBody(50, LABELS, WIDTH, layers=2, max_length=12).eval()


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(1, 50, (4, 9))


def test_neurons_and_heads_are_cut_off(body: TransformerBody, ids: torch.Tensor) -> None:
    before = sum(parameter.numel() for parameter in body.parameters())
    remove_structures(body, PruneSpec(neurons="50%", heads=1))
    layer = body.layers[0]
    assert layer.widen.weight.shape == (WIDTH, WIDTH) and layer.narrow.weight.shape == (WIDTH, WIDTH)
    assert layer.heads == 3 and layer.out.weight.shape == (WIDTH, 12)
    assert sum(parameter.numel() for parameter in body.parameters()) < before
    assert body(ids).shape == (4, LABELS)
    padded = torch.cat([ids, torch.zeros((4, 2), dtype=torch.int64)], dim=1)
    torch.testing.assert_close(body(ids), body(padded))


def test_what_weighs_nothing_can_be_cut_without_a_trace(body: TransformerBody, ids: torch.Tensor) -> None:
    expected = body(ids)
    for layer in body.layers:
        layer.narrow.weight.data[:, ::2] = 0.0  # every other neuron says nothing
        layer.out.weight.data[:, 4:8] = 0.0  # nor does the second head
    silent = body(ids)
    remove_structures(body, PruneSpec(neurons="50%", heads=1))
    torch.testing.assert_close(body(ids), silent)
    assert not torch.allclose(silent, expected)


def test_zeros_stay_zeros_while_training_goes_on(body: TransformerBody, ids: torch.Tensor) -> None:
    mask_weights(body, 0.5)
    optimizer = torch.optim.AdamW(body.parameters(), lr=1e-2)
    body(ids).square().sum().backward()
    optimizer.step()
    fix_weights(body)
    for layer in (body.head, body.layers[1].widen):
        assert (layer.weight == 0).float().mean() == pytest.approx(0.5, abs=0.01)
    assert not any("mask" in name for name in body.state_dict())


def test_what_cannot_be_pruned_is_an_error(body: TransformerBody) -> None:
    with pytest.raises(StageError, match="neurons and heads are a transformer's"):
        remove_structures(BagBody(50, LABELS, 8), PruneSpec(neurons=0.5))
    with pytest.raises(StageError, match="expected fewer than 4, got 4"):
        remove_structures(body, PruneSpec(heads=4))


def test_a_parent_that_was_cut_is_gone_on_with_and_not_cut_again(body: TransformerBody) -> None:
    cut, prune = copy.deepcopy(body), PruneSpec(neurons="50%", heads=1, weights="20%")
    remove_structures(cut, prune)
    fresh = TransformerBody(50, LABELS, WIDTH, layers=2, max_length=12)
    assert warm_start(fresh, cut, range(LABELS), freeze="embedding", prune=prune) == PruneSpec(weights="20%")
    assert all(torch.equal(tensor, cut.state_dict()[name]) for name, tensor in fresh.state_dict().items())
    assert not fresh.embedding.weight.requires_grad
    uncut = TransformerBody(50, LABELS, WIDTH, layers=2, max_length=12)
    assert warm_start(uncut, body, range(LABELS), freeze=None, prune=prune) == prune
