"""What the probe of a ReLU head yields, against NumPy on the layers written out here."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse.probes import State
from collapse.probes.relu_head import points, rows
from conftest import FEW


def state_of(features, weights, labels, bias=None, **place):
    return State(
        config={},
        tensors={},
        features=torch.as_tensor(features),
        weights=[torch.as_tensor(weight) for weight in weights],
        bias=None if bias is None else torch.as_tensor(bias),
        targets=torch.as_tensor(labels),
        **place,
    )


@st.composite
def heads(draw):
    """A head of any depth and widths on balanced or unbalanced classes of random features."""
    classes = draw(st.integers(2, 4))
    sizes = draw(st.lists(st.integers(1, 3), min_size=classes, max_size=classes))
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    source = np.random.default_rng(draw(st.integers(0, 10**6)))
    labels = source.permutation(np.repeat(np.arange(classes), sizes))
    outputs = [*widths[1:], classes]
    weights = [source.normal(size=(o, i)) for o, i in zip(outputs, widths, strict=True)]
    bias = source.normal(size=classes) if draw(st.booleans()) else None
    return source.normal(size=(len(labels), widths[0])), weights, labels, bias


def layers_of(features, weights, bias):
    layers, values = {}, features
    for number, weight in enumerate(weights, 1):
        layers[f"H{number}"] = values
        values = (values if number == 1 else np.maximum(values, 0)) @ weight.T
    return layers | {"Z": values if bias is None else values + bias}


@FEW
@given(heads())
def test_every_layer_is_measured_before_and_behind_its_relu(head):
    features, weights, labels, bias = head
    found = {
        (layer, name): value
        for layer, name, value in rows(state_of(features, weights, labels, bias), {})
    }
    classes = len(weights[-1])
    layers = layers_of(features, weights, bias)
    for layer, values in layers.items():
        for suffix, kept in (("", values), ("_rectified", np.maximum(values, 0))):
            if suffix and layer in ("H1", "Z"):
                assert not any(name.endswith(suffix) for at, name in found if at == layer)
                continue
            means = np.stack([kept[labels == k].mean(0) for k in range(classes)])
            within = np.mean(np.sum((kept - means[labels]) ** 2, 1))
            between = np.sum((means - kept.mean(0)) ** 2) / classes
            spectrum = np.linalg.svd(means, compute_uv=False)
            if between > 1e-12:
                assert found[layer, f"NC1_ratio{suffix}"] == pytest.approx(within / between)
            assert found[layer, f"rank{suffix}"] == np.sum(spectrum > 1e-2 * spectrum[0])
            got = [found[layer, f"singular_value{suffix}[{i}]"] for i in range(len(spectrum))]
            assert got == pytest.approx(spectrum, abs=1e-12)
            if len(spectrum) == classes and spectrum[-1] > 1e-9:
                expected = spectrum[0] / spectrum[-1]
                assert found[layer, f"condition_number{suffix}"] == pytest.approx(expected)
    outputs = layers["Z"]
    assert found["all", "error"] == np.mean(outputs.argmax(1) != labels)
    fit = np.sum((outputs - np.eye(classes)[labels]) ** 2) / (2 * len(labels))
    assert found["all", "fit"] == pytest.approx(fit)


@FEW
@given(heads())
def test_points_are_the_class_means_of_the_first_and_the_last_state(head):
    features, weights, labels, bias = head
    assert points(state_of(features, weights, labels, bias), {}) is None
    frame = points(state_of(features, weights, labels, bias, last=True), {})
    for layer, values in layers_of(features, weights, bias).items():
        part = frame[frame["layer"] == layer]
        means = np.stack([values[labels == k].mean(0) for k in range(len(weights[-1]))])
        table = part.pivot(index="unit", columns="class", values="mean").to_numpy()
        assert table == pytest.approx(means.T, abs=1e-12)
        assert part["rectified"].isna().all() == (layer in ("H1", "Z"))
    second = frame[frame["layer"] == "H2"]
    behind = np.maximum(layers_of(features, weights, bias)["H2"], 0)
    means = np.stack([behind[labels == k].mean(0) for k in range(len(weights[-1]))])
    table = second.pivot(index="unit", columns="class", values="rectified").to_numpy()
    assert table == pytest.approx(means.T, abs=1e-12)


def test_layers_of_zeros_have_rank_zero_and_no_ratios():
    zero = state_of(np.zeros((4, 3)), [np.ones((3, 3)), np.ones((2, 3))], [0, 0, 1, 1])
    found = {(layer, name): value for layer, name, value in rows(zero, {})}
    assert all(value == 0 for (_, name), value in found.items() if name.startswith("rank"))
    assert not any(name.startswith(("NC1", "condition")) for _, name in found)


def test_held_out_accuracy_is_of_the_last_state_alone():
    weights = [np.eye(2), np.eye(2)]
    test = (torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    for last in (False, True):
        state = state_of(np.eye(2), weights, [0, 1], last=last, held_out=lambda: test)
        found = {name: value for layer, name, value in rows(state, {}) if layer == "all"}
        assert ("test_accuracy" in found) == last
    assert found["test_accuracy"] == 0.5
