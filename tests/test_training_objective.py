"""What a step descends: data terms, decays and update rules."""

from importlib import import_module

import numpy as np
import pytest
import torch
from torch.nn import functional

from collapse.config import plain, slots
from collapse.config.network import Head
from collapse.errors import InputError
from collapse.models.network import build
from collapse.training import kinds
from collapse.training.ensemble import Ensemble
from collapse.training.objective import Objective
from collapse.training.order import batch_sizes
from conftest import (
    ADAM,
    CE,
    MLP,
    MSE,
    PLAIN,
    SETTINGS,
    SGD,
    K,
    fit,
    network,
)


def reference_objective(loss, net, z, h, y, decays, feature_decay, backbone_decay):
    """The objective of the whole set in numpy, its data term and the error."""
    n = len(y)
    if y.ndim == 2:
        data, error = np.sum((z - y) ** 2) / (2 * n), np.mean((z - y) ** 2)
    elif loss is MSE:
        data, error = np.sum((z - np.eye(K)[y]) ** 2) / (2 * n), np.mean(z.argmax(1) != y)
    else:
        data = np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(n), y])
        error = np.mean(z.argmax(1) != y)
    state = {name: parameter.detach().numpy() for name, parameter in net.named_parameters()}
    heads = [state[f"head.layers.{m}.weight"] for m in range(len(decays))]
    penalty = sum(decay / 2 * np.sum(w**2) for decay, w in zip(decays, heads, strict=True))
    backbone = sum(np.sum(p**2) for name, p in state.items() if name.startswith("backbone"))
    penalty += feature_decay / 2 * np.sum(h**2) + backbone_decay / 2 * backbone
    return data + penalty, data, error


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("kind", ["mse", "ce", "real targets"])
def test_batches_of_an_epoch_add_up_to_the_objective_of_the_set(kind, members):
    samples, loss = 23, CE if kind == "ce" else MSE
    decays = [([0.3 + m, 0.7], 0.05 * (m + 1), 0.01 + m) for m in range(members)]
    nets = [network(PLAIN, seed=m).double() for m in range(members)]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(members, samples, 1, 8, 8, generator=generator, dtype=torch.float64)
    y = (torch.arange(samples) % K).expand(members, -1)
    if kind == "real targets":
        y = torch.randn(members, samples, K, generator=generator, dtype=torch.float64)
    ensemble, values = Ensemble(nets), torch.zeros(3, members, dtype=torch.float64)
    bound = Objective(loss, *map(list, zip(*decays, strict=True)), "all", samples).bind(ensemble)
    with torch.no_grad():
        features = ensemble.features(images)
        outputs = ensemble.head(features)
        for part in torch.randperm(samples, generator=generator).split(batch_sizes(samples, 5)):
            of = outputs[:, part], features[:, part], y[:, part]
            data, penalty = bound.terms(*of)
            read = [data + penalty + bound.penalty(), data, bound.error(of[0], of[2])]
            values += len(part) / samples * torch.stack(read)
    for m, net in enumerate(nets):
        of = outputs[m].numpy(), features[m].numpy(), y[m].numpy()
        expected = reference_objective(loss, net, *of, *decays[m])
        np.testing.assert_allclose(values[:, m], expected, rtol=1e-6)


def test_one_weight_decay_stands_for_all_layers_and_a_wrong_number_is_refused():
    net = network()
    values = [
        Objective(MSE, decay, 0.0, 0.0, "all", 8).bind(Ensemble([net])).penalty().item()
        for decay in (0.5, [0.5, 0.5])
    ]
    assert values[0] == values[1]
    with pytest.raises(InputError, match="weight_decay"):
        Objective(MSE, [0.5, 0.5, 0.5], 0.0, 0.0, "all", 8).bind(Ensemble([net]))


@pytest.mark.parametrize(
    ("section", "reference"),
    [
        (ADAM, lambda parameters: torch.optim.Adam(parameters, lr=0.01)),
        (SGD, lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9)),
    ],
    ids=["adam", "sgd"],
)
def test_update_rules_are_those_of_pytorch_without_decay(section, reference):
    ours, theirs = network(PLAIN).double(), network(PLAIN).double()
    rule = kinds.load("update_rules", section)
    optimiser = rule.make(dict(ours.named_parameters()), SETTINGS)
    reference = reference(theirs.parameters())
    images = torch.randn(8, 1, 8, 8, dtype=torch.float64)
    for _ in range(4):
        ours.zero_grad()
        ours(images)[0].square().sum().backward()
        optimiser.step(torch.tensor(0.01, dtype=torch.float64))
        reference.zero_grad()
        theirs(images)[0].square().sum().backward()
        reference.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)


def test_sgd_without_momentum_has_no_state():
    settings = {"optimiser": SGD, "learning_rate": 0.01, "momentum": 0.0}
    parameters = dict(network().named_parameters())
    assert kinds.load("update_rules", SGD).make(parameters, settings).state == {}
    assert fit(**settings).diverged_epoch is None


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("loss", [MSE, CE], ids=["mse", "ce"])
def test_losses_of_soft_labels_are_those_of_pytorch(loss, members):
    random = torch.Generator().manual_seed(members)
    outputs, logits = (
        torch.randn(members, 30, K, generator=random, dtype=torch.float64) for _ in range(2)
    )
    soft, labels = logits.softmax(-1), logits.argmax(-1)
    module = kinds.load("losses", loss)
    data, errors = module.data_term(outputs, soft, loss), module.error(outputs, soft)
    assert data.shape == errors.shape == (members,)
    for member, (z, y) in enumerate(zip(outputs, soft, strict=True)):
        if loss is CE:
            expected = functional.cross_entropy(z, y), (z.argmax(1) != y.argmax(1)).double().mean()
        else:
            squares = functional.mse_loss(z, y, reduction="sum")
            expected = squares / (2 * 30), functional.mse_loss(z, y)
        torch.testing.assert_close(data[member], expected[0])
        assert errors[member].item() == pytest.approx(expected[1].item(), rel=1e-6)
    # A label is the distribution that is sure of it.
    certain = functional.one_hot(labels, K).double()
    hard, sure = (module.data_term(outputs, targets, loss) for targets in (labels, certain))
    torch.testing.assert_close(hard, sure)
    wrong = (outputs.argmax(-1) != labels).double().mean(1)
    torch.testing.assert_close(module.error(outputs, labels).double(), wrong, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("slot", "functions"),
    [
        ("loss", ["data_term", "error"]),
        ("input", ["build"]),
        ("update_rule", ["make"]),
        ("model", ["build"]),
    ],
)
def test_every_kind_of_the_config_has_its_code(slot, functions):
    package = import_module(f"collapse.config.sections.{slot}").IMPLEMENTATIONS
    for kind, section in slots.kinds(slot).items():
        module = import_module(f"{package}.{kind}")
        assert all(callable(getattr(module, name)) for name in functions)
        assert section.model_fields["kind"].annotation.__args__ == (kind,)


@pytest.mark.parametrize("model", [PLAIN, MLP], ids=["plain", "batchnorm"])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("decayed", ["all", "weights", "all_and_head_bias"])
def test_each_network_is_decayed_by_its_own_decays_and_biases_only_on_demand(
    decayed, members, model
):
    weight, backbone = [[0.5 + m, 2.0] for m in range(members)], [0.1 + m for m in range(members)]
    nets = [network(model, seed=m) for m in range(members)]
    for net in nets:
        for parameter in net.parameters():
            torch.nn.init.uniform_(parameter, 0.5, 1.0)
    ensemble = Ensemble(nets)
    bound = Objective(MSE, weight, 0.0, backbone, decayed, 8).bind(ensemble)
    for parameter in ensemble.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    bound.add_penalty_gradient()
    total, undecayed = torch.zeros(members), set()
    vectors = {name for name, value in nets[0].named_parameters() if value.ndim == 1}
    for name, parameter in ensemble.parameters.items():
        decay = [0.0] * members
        if name.startswith("backbone") and (name not in vectors or decayed != "weights"):
            decay = backbone
        elif name.startswith("head") and name.endswith("weight"):
            decay = [values[int(name.split(".")[2])] for values in weight]
        elif name.startswith("head") and decayed == "all_and_head_bias":
            decay = [values[-1] for values in weight]
        if not any(decay):
            undecayed.add(name)
        values = parameter.detach().reshape(members, -1)
        expected = torch.tensor(decay)[:, None] * values
        torch.testing.assert_close(parameter.grad.reshape(members, -1), expected)
        total += (expected * values).sum(1) / 2
    torch.testing.assert_close(bound.penalty(), total)
    free = {"weights": vectors, "all": {"head.layers.1.bias"}, "all_and_head_bias": set()}
    assert undecayed == free[decayed]


@pytest.mark.parametrize("outputs", [2, 3])
def test_the_released_objective_of_the_regression_paper_is_n_times_smaller(outputs):
    """0.5 mse_loss + 0.5 v sum of the squares of all parameters: in these units v is n v."""
    decay, generator = 3e-2, torch.Generator().manual_seed(outputs)
    net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, outputs))
    net.double()
    inputs = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    targets = torch.randn(20, outputs, generator=generator, dtype=torch.float64)
    released = functional.mse_loss(net(inputs), targets) / 2
    released = released + decay / 2 * sum(each.square().sum() for each in net.parameters())
    expected = torch.autograd.grad(outputs * released, list(net.parameters()))

    mlp = slots.kinds("model")["mlp"]
    model = mlp(kind="mlp", hidden=[7], normalisation="none", ending="relu")
    settings = {"model": plain(model), "head": plain(Head(bias=True, init="uniform"))}
    ours = build(settings, (5, 1, 1), outputs, 0).double()
    with torch.no_grad():
        for own, given in zip(ours.parameters(), net.parameters(), strict=True):
            own.copy_(given)
    ensemble, strong = Ensemble([ours]), outputs * decay
    bound = Objective(MSE, strong, 0.0, strong, "all_and_head_bias", 20).bind(ensemble)
    features = ensemble.features(inputs.view(1, 20, 5, 1, 1))
    predicted = ensemble.head(features)
    terms = sum(bound.terms(predicted, features, targets[None]))[0]
    terms.backward()
    bound.add_penalty_gradient()
    for parameter, gradient in zip(ensemble.parameters.values(), expected, strict=True):
        torch.testing.assert_close(
            parameter.grad.reshape(gradient.shape), gradient, rtol=1e-6, atol=1e-15
        )
    total = (terms + bound.penalty()).item()
    assert total == pytest.approx(outputs * released.item(), rel=1e-12)
