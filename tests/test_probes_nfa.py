"""The neural feature ansatz: AGOPs of networks, against Jacobians sample by sample."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse.probes import nfa
from collapse.training import extract
from conftest import FEW
from test_probes_layer_factors import state_of


def jacobian_products(state, layer):
    """The mean of J^T J by the input of a layer, from one Jacobian for each sample, float64."""
    backbone, head = state.network.backbone.double(), state.network.head.double()
    layers = list(backbone.layers)
    place = [i for i, each in enumerate(layers) if isinstance(each, torch.nn.Linear)][layer]
    before, behind = layers[:place], layers[place:]

    def rest(value):
        for each in behind:
            value = each(value)
        return head(value)[0]

    total = 0
    for image in state.samples.take(slice(None)).double():
        value = image[None]
        for each in before:
            value = each(value)
        jacobian = torch.autograd.functional.jacobian(rest, value)[:, 0]
        total = total + jacobian.T @ jacobian
    return total / len(state.samples)


@FEW
@given(
    hidden=st.lists(st.integers(2, 15), min_size=1, max_size=3),
    batch=st.sampled_from([1, 5, 1000]),
    seed=st.integers(0, 20),
)
def test_agops_are_those_of_jacobians_and_rows_their_correlation(hidden, batch, seed):
    state = state_of(hidden, seed=seed, count=9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(nfa.BATCH, "cpu", batch)
        found = nfa.agops(state.network, state.samples)
        rows = {layer: value for layer, _, value in nfa.rows(state, {})}
    assert nfa.BATCH is extract.BATCH
    weights = [each.weight.detach().double().numpy() for each in state.network.backbone.linear]
    for number, (weight, agop) in enumerate(zip(weights, found, strict=True)):
        expected = jacobian_products(state, number)
        scale = expected.abs().max().item()
        torch.testing.assert_close(agop, expected, rtol=1e-4, atol=1e-5 * scale)
        state.network.float()
        entries = [(weight.T @ weight).ravel(), expected.numpy().ravel()]
        if all(np.ptp(each) > 0 for each in entries):
            correlation = np.corrcoef(*entries)[0, 1]
            assert rows[f"hidden{number + 1}"] == pytest.approx(correlation, abs=1e-4)


def test_samples_and_weights_are_left_as_they_are():
    state = state_of([6, 5])
    before = {name: each.clone() for name, each in state.network.state_dict().items()}
    list(nfa.rows(state, {}))
    for name, each in state.network.named_parameters():
        assert each.grad is None and torch.equal(each, before[name])


def test_correlations_are_those_of_numpy_and_none_of_a_constant():
    random = np.random.default_rng(0)
    one, other = (torch.from_numpy(random.normal(size=(4, 4))) for _ in range(2))
    expected = np.corrcoef(one.flatten(), other.flatten())[0, 1]
    assert nfa.correlation(one, other) == pytest.approx(expected)
    assert nfa.correlation(one, 3 * one + 2) == pytest.approx(1)
    assert nfa.correlation(one, torch.ones(4, 4).double()) is None


def test_dead_layers_have_no_correlation():
    state = state_of([5, 4])
    with torch.no_grad():
        state.network.backbone.linear[1].weight.zero_()
    assert list(nfa.rows(state, {})) == []
