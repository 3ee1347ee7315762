"""NC1 behind the factors of a network's layers, against their singular value decomposition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse import config
from collapse.errors import InputError
from collapse.models.network import build
from collapse.probes import State, layer_factors
from collapse.training.samples import Samples
from conftest import CPU, FEW, class_reference
from test_procedures_problem import CONFIG

PLACES = ("input", "right", "output")


def state_of(hidden, gain=1.0, seed=0, count=24, classes=3):
    """A state of a chain without biases on random images of 3 x 4 pixels."""
    pixels = np.random.default_rng(seed).integers(0, 17, (count, 1, 3, 4)).astype(np.uint8)
    model = {"kind": "chain", "hidden": hidden, "gain": gain}
    head = {"depth": 1, "bias": False, "init": "uniform"}
    net = build({"model": model, "head": head}, (1, 3, 4), classes, seed)
    samples = Samples(pixels, (0.5,), (0.3,), 16, CPU)
    targets = torch.arange(count) % classes
    return State(config={}, tensors={}, targets=targets, samples=samples, network=net)


def ratio(values, labels):
    return class_reference(values, labels)["NC1_ratio"]


@FEW
@given(
    hidden=st.lists(st.integers(4, 15), min_size=1, max_size=3),
    gain=st.sampled_from([0.1, 1.0, 3.0]),
    seed=st.integers(0, 30),
)
def test_each_layer_is_taken_apart_by_its_singular_values(hidden, gain, seed):
    state = state_of(hidden, gain, seed)
    found = {(layer, name): value for layer, name, value in layer_factors.rows(state, {})}
    values = state.samples.take(slice(None)).flatten(1).double().numpy()
    for number, linear in enumerate(state.network.backbone.linear, 1):
        left, singular, right = np.linalg.svd(
            linear.weight.detach().double().numpy(), full_matrices=False
        )
        turned = values @ right.T * singular
        following = np.maximum(turned @ left.T, 0)
        for place, each in zip(PLACES, (values, turned, following), strict=True):
            key = f"hidden{number}", f"NC1_ratio_{place}"
            # Units that are dead for all samples leave no ratio.
            if np.ptp(each, 0).any():
                assert found.pop(key) == pytest.approx(ratio(each, state.targets), rel=1e-4)
            else:
                assert key not in found
        values = following
    assert not found


def test_dead_features_have_no_ratio():
    state = state_of([5, 4])
    with torch.no_grad():
        state.network.backbone.linear[0].weight.zero_()
    found = {(layer, name) for layer, name, _ in layer_factors.rows(state, {})}
    assert found == {("hidden1", "NC1_ratio_input")}


MLP = {"kind": "mlp", "hidden": [8], "normalisation": "none", "ending": "relu"}


@pytest.mark.parametrize("kind", ["layer_factors", "nfa"])
def test_a_network_whose_layers_are_more_than_a_weight_is_refused(kind):
    with pytest.raises(InputError) as caught:
        user = {"scale": "smoke", "deep_rfm": {"mlp": {"model": MLP, "probes": [kind], "grid": {}}}}
        config.load(CONFIG, user, "my.yaml")
    expected = f"{kind} found, needed is a model of weights and ReLUs alone, chain: MLP 1x8 found"
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["layer_factors", "nfa"])
def test_real_targets_have_no_classes_to_collapse(kind):
    changes = {"data": {"name": "linnerud", "samples_per_class": None}, "loss": "mse"}
    with pytest.raises(InputError, match=f"{kind} found, .* has no classes"):
        user = {"scale": "smoke", "deep_rfm": {"mlp": {**changes, "probes": [kind]}}}
        config.load(CONFIG, user, "my.yaml")
