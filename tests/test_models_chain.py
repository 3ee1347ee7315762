"""The fully connected network whose start has a scale."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from collapse.config import plain
from collapse.config.slots import kinds
from collapse.models import chain
from collapse.models.network import build
from collapse.training.extract import features_of

MODEL = {"kind": "chain", "hidden": [40, 30, 20], "gain": 0.2}
HEAD = {"depth": 1, "bias": False, "init": "uniform"}
SHAPES = [(1, 8, 8), (3, 32, 32), (9, 1, 1)]


@pytest.mark.parametrize("gain", [1e-3, 0.2, 1.0, 2.5])
def test_weights_are_uniform_at_the_scale_of_xaviers(gain):
    backbone = chain.build(MODEL | {"hidden": [300, 200], "gain": gain}, (1, 10, 10))
    for linear, sizes in zip(backbone.linear, ((100, 300), (300, 200)), strict=True):
        bound = gain * math.sqrt(6 / sum(sizes))
        weight = linear.weight.detach()
        assert linear.bias is None and weight.shape == sizes[::-1]
        assert 0.99 * bound < weight.abs().max() <= bound * (1 + 1e-6)
        # The variance of a uniform distribution.
        assert weight.var().item() == pytest.approx(bound**2 / 3, rel=0.03)


@pytest.mark.parametrize("shape", SHAPES)
def test_features_are_the_last_relu_of_a_chain(shape):
    net = build({"model": MODEL, "head": HEAD}, shape, 10, seed=3)
    images = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    values, hidden = images.flatten(1), []
    for linear in net.backbone.linear:
        values = (values @ linear.weight.T).clamp(min=0)
        hidden.append(values)
    outputs, features = net(images)
    torch.testing.assert_close(features, values)
    torch.testing.assert_close(outputs, values @ net.head.weights[-1].T)
    assert net.backbone.dim == 20
    found = features_of(net, [images], hidden=True)
    for number, expected in enumerate(hidden, 1):
        torch.testing.assert_close(found[f"hidden{number}"], expected)


def test_all_gains_start_from_the_same_numbers():
    small, large = (
        build({"model": MODEL | {"gain": gain}, "head": HEAD}, (1, 8, 8), 10, seed=1)
        for gain in (0.1, 2.0)
    )
    for one, other in zip(small.backbone.linear, large.backbone.linear, strict=True):
        torch.testing.assert_close(20 * one.weight, other.weight)
    assert torch.equal(small.head.weights[0], large.head.weights[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_section_says_what_a_network_is_and_costs(shape):
    section = kinds("model")["chain"](**MODEL)
    network, size = chain.build(plain(section), shape), section.size(shape)
    assert section.label == "MLP 40-30-20 without biases" and section.dim == network.dim
    assert size.parameters == sum(each.numel() for each in network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(3, *shape))
    assert 3 * 2 * size.products == counter.get_total_flops()
    assert size.activations == 90
    alike = kinds("model")["chain"](**MODEL | {"hidden": [8, 8]})
    assert alike.label == "MLP 2x8 without biases"


@pytest.mark.parametrize("changes", [{"gain": 0}, {"gain": -1.0}, {"hidden": []}, {"gain": None}])
def test_a_start_needs_a_scale_and_a_network_a_layer(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        kinds("model")["chain"](**MODEL | changes)
