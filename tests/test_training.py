import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

import collapse
from collapse.artifacts import read_table, read_tensors, write_tensors
from collapse.cli import main
from collapse.config import slots
from collapse.config.section import Section
from collapse.config.sections.procedure import network as network_procedure
from collapse.data.dataset import Dataset
from collapse.errors import InputError
from collapse.grid import assign, expand
from collapse.metrics import measure
from collapse.models.network import build
from collapse.provenance import imported_modules
from collapse.schedule import log_spaced
from collapse.theory.frame import lengths
from collapse.training import device as device_module
from collapse.training import history as history_module
from collapse.training import kinds
from collapse.training.checkpoints import Checkpoints
from collapse.training.device import precision
from collapse.training.ensemble import Ensemble
from collapse.training.extract import extract
from collapse.training.objective import Objective
from collapse.training.order import Order, batch_sizes, generator
from collapse.training.samples import Samples, training_set
from collapse.training.trainer import Trainer, learning_rate, train
from conftest import write_spec

CPU = torch.device("cpu")
K = 4
MLP = {"kind": "mlp", "hidden": [16, 12], "normalisation": "batch", "ending": "signed"}
PLAIN = MLP | {"normalisation": "none"}
MSE, CE, ADAM, SGD = ({"kind": kind} for kind in ("mse", "ce", "adam", "sgd"))
SETTINGS = {
    "optimiser": ADAM,
    "learning_rate": 1e-3,
    "momentum": 0.9,
    "schedule": None,
    "epochs": 6,
    "batch_size": 16,
    "record": 4,
    "precision": "tf32",
    "augmentation": [],
}
DECAYS = {
    "weight_decay": 5e-4,
    "feature_decay": 1e-5,
    "backbone_decay": 0.0,
    "decayed": "all",
}


def pixels(samples, seed=0):
    return np.random.default_rng(seed).integers(0, 17, (samples, 1, 8, 8), dtype=np.uint8)


def digits(samples=50, device=CPU):
    labels = torch.arange(samples, device=device) % K
    return Samples(pixels(samples), (0.5,), (0.3,), 16, device), labels


def network(model=MLP, depth=2, bias=True, seed=0):
    return build(
        {"model": model, "head": {"depth": depth, "bias": bias, "init": "orthogonal"}},
        (1, 8, 8),
        K,
        seed,
    )


def prepared(networks, seeds, samples=50, decays=DECAYS, loss=MSE, input=None, **changes):
    """A training of networks on the toy images, on the networks' device."""
    images, labels = digits(samples, next(networks[0].parameters()).device)
    objective, settings = Objective(loss, **decays, samples=samples), SETTINGS | changes
    batches = {} if input is None else {"input": input}
    return Trainer(Ensemble(networks), images, labels, objective, settings, seeds, **batches)


def fit(samples=50, model=MLP, checkpoints=None, net=None, **changes):
    net = network(model) if net is None else net
    return train(prepared([net], [0], samples, **changes), checkpoints)[0]


def assert_same_states(first, second):
    assert first.keys() == second.keys()
    for epoch, state in first.items():
        for name, array in state.items():
            assert array.tobytes() == second[epoch][name].tobytes(), f"{epoch}: {name}"


def reference_objective(loss, state, z, h, y, decays, feature_decay, backbone_decay):
    """The objective of the whole set in numpy; `state` holds float64 parameters."""
    n = len(y)
    if loss is MSE:
        data = np.sum((z - np.eye(K)[y]) ** 2) / (2 * n)
    else:
        data = np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(n), y])
    heads = [state[f"head.layers.{m}.weight"] for m in range(len(decays))]
    penalty = sum(decay / 2 * np.sum(w**2) for decay, w in zip(decays, heads, strict=True))
    backbone = sum(np.sum(p**2) for name, p in state.items() if name.startswith("backbone"))
    return data, data + penalty + feature_decay / 2 * np.sum(h**2) + backbone_decay / 2 * backbone


def evaluate(objective, net, logits, features, labels):
    """The objective and its data term of one network on a batch."""
    bound = objective.bind(Ensemble([net]))
    data, penalty = bound.terms(logits[None], features[None], labels[None])
    return (data + penalty + bound.penalty())[0], data[0]


@pytest.mark.parametrize("loss", [MSE, CE], ids=["mse", "ce"])
def test_batches_of_an_epoch_add_up_to_the_objective_of_the_set(loss):
    samples, decays = 23, [0.3, 0.7]
    net = network(PLAIN).double()
    images = torch.randn(samples, 1, 8, 8, dtype=torch.float64)
    labels = torch.arange(samples) % K
    objective = Objective(loss, decays, 0.05, 0.01, "all", samples)
    order = torch.randperm(samples).split(batch_sizes(samples, 5))
    with torch.no_grad():
        logits, features = net(images)
        values = np.zeros(2)
        for part in order:
            result = evaluate(objective, net, logits[part], features[part], labels[part])
            values += len(part) / samples * torch.stack(result).numpy()
    parameters = {name: p.detach().numpy() for name, p in net.named_parameters()}
    data, total = reference_objective(
        loss, parameters, logits.numpy(), features.numpy(), labels.numpy(), decays, 0.05, 0.01
    )
    np.testing.assert_allclose(values, [total, data], rtol=1e-6)


@pytest.mark.parametrize("members", [1, 3])
def test_penalty_gradients_are_those_of_autograd(members):
    nets = [network(PLAIN, seed=seed).double() for seed in range(members)]
    weight, backbone = [[0.5 + m, 2.0] for m in range(members)], [0.1 + m for m in range(members)]
    ensemble = Ensemble(nets)
    bound = Objective(CE, weight, 0.0, backbone, "all", 8).bind(ensemble)
    for parameter in ensemble.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    bound.add_penalty_gradient()
    for index, net in enumerate(nets):
        state = dict(net.named_parameters())
        heads = [state["head.layers.0.weight"], state["head.layers.1.weight"]]
        total = sum(w / 2 * h.square().sum() for w, h in zip(weight[index], heads, strict=True))
        for name, parameter in state.items():
            if name.startswith("backbone"):
                total = total + backbone[index] / 2 * parameter.square().sum()
        assert bound.penalty()[index].item() == pytest.approx(total.item(), rel=1e-6)
        expected = dict(
            zip(state, torch.autograd.grad(total, state.values(), allow_unused=True), strict=True)
        )
        for name, stacked in ensemble.parameters.items():
            found = stacked.grad if members == 1 else stacked.grad[index]
            wanted = torch.zeros_like(found) if expected[name] is None else expected[name]
            torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
        assert expected["head.layers.1.bias"] is None


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
    assert fit(**settings).status == "completed"


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


class Negatives:
    """Negated images, their labels smoothed by a random share of each sample."""

    def __init__(self, order, targets, outputs, settings):
        self.order, self.targets, self.outputs = order, targets, outputs
        self.least = settings["least"]
        self.shares = torch.empty(order.indices.shape, device=targets.device)

    def draw(self, epoch):
        self.order.draw(epoch)
        for row, seed in enumerate(self.order.seeds):
            self.shares[row] = shares(seed, epoch, self.least, self.shares.device)

    def take(self, places):
        images, samples = self.order.take(places)
        share = self.shares.index_select(1, places)
        return -images, smoothed(self.targets[samples], share, self.outputs)


def shares(seed, epoch, least, device=CPU, samples=50):
    source = generator(seed, epoch, device, 1)
    return least + (1 - least) * torch.rand(samples, generator=source, device=device)


def smoothed(labels, share, outputs=K):
    share = share.unsqueeze(-1)
    return share * functional.one_hot(labels, outputs) + (1 - share) / outputs


class SignDescent:
    """Steps of one length, along the sign of an average of the gradients."""

    def __init__(self, parameters, settings):
        self.parameters, self.momentum = list(parameters.values()), settings["momentum"]
        self.state = {name: torch.zeros_like(each) for name, each in parameters.items()}

    @torch.no_grad()
    def step(self, learning_rate):
        for parameter, average in zip(self.parameters, self.state.values(), strict=True):
            average.lerp_(parameter.grad, 1 - self.momentum)
            parameter.sub_(learning_rate * average.sign())


def quartic(outputs, targets, settings):
    distance = outputs - functional.one_hot(targets, outputs.shape[-1])
    return settings["scale"] * distance.pow(4).sum((1, 2)) / targets.shape[1]


def largest(outputs, targets):
    return outputs.abs().amax((1, 2))


NEW = {
    "losses": {"data_term": quartic, "error": largest},
    "inputs": {"build": Negatives},
    "update_rules": {"make": SignDescent},
}


@pytest.fixture(params=[1, 3], ids=["one", "ensemble"])
def seeds(request):
    return [3, 0, 7][: request.param]


@pytest.fixture
def new(monkeypatch):
    """Modules of a new kind ``x``, one of each part."""
    for part, functions in NEW.items():
        name = f"collapse.training.{part}.x"
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**functions))


def as_it_is(images, labels, *where):
    return images, labels


def negatives(images, labels, seed, epoch, places):
    return -images, smoothed(labels, shares(seed, epoch, 0.5)[places])


def descend(parameters, gradients, averages, rate):
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter -= rate * gradient


def by_sign(parameters, gradients, averages, rate):
    for parameter, gradient, average in zip(parameters, gradients, averages, strict=True):
        average += (1 - SETTINGS["momentum"]) * (gradient - average)
        parameter -= rate * average.sign()


def by_hand(seed, batch=as_it_is, data=functional.cross_entropy, step=descend, rate=0.02):
    """Train one network for three epochs in a loop written out.

    Returns its state, and by epoch the mean objective and the largest output over its batches.
    """
    net, (images, labels) = network(PLAIN, seed=seed), digits()
    parameters, order = list(net.parameters()), Order(images, [seed], [])
    averages = [torch.zeros_like(each) for each in parameters]
    means = torch.zeros(3, 2)
    for epoch in range(1, 4):
        order.draw(epoch)
        for places in torch.arange(50).split(16):
            part = order.indices[0, places]
            x, y = batch(images.take(part), labels[part], seed, epoch, places)
            outputs, features = net(x)
            squares = sum(weight.square().sum() for weight in net.head.weights)
            penalty = DECAYS["weight_decay"] / 2 * squares
            penalty += DECAYS["feature_decay"] / 2 * 50 / len(part) * features.square().sum()
            objective = data(outputs, y) + penalty
            gradients = torch.autograd.grad(objective, parameters)
            with torch.no_grad():
                step(parameters, gradients, averages, rate)
                row = torch.stack([objective, outputs.abs().max()])
                means[epoch - 1] += len(part) / 50 * row
    return net.state_dict(), means


def assert_trains_as_by_hand(seeds, columns, changes, **loop):
    nets = [network(PLAIN, seed=seed) for seed in seeds]
    settings = {"optimiser": SGD, "momentum": 0.0, "learning_rate": 0.02, "epochs": 3}
    results = train(prepared(nets, seeds, **settings | changes))
    for seed, result in zip(seeds, results, strict=True):
        state, means = by_hand(seed, **loop)
        found = result.history[columns]
        np.testing.assert_allclose(found, means[:, : len(columns)], rtol=1e-4)
        for name, array in result.states[3].items():
            np.testing.assert_allclose(array, state[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_a_new_kind_of_input_trains_as_a_loop_written_out(new, seeds):
    changes = {"input": {"kind": "x", "least": 0.5}, "loss": CE}
    assert_trains_as_by_hand(seeds, ["objective"], changes, batch=negatives)


def test_a_new_kind_of_loss_trains_as_a_loop_written_out(new, seeds):
    def data(outputs, labels):
        return 0.1 * (outputs - functional.one_hot(labels, K)).pow(4).sum() / len(labels)

    changes = {"loss": {"kind": "x", "scale": 0.1}}
    assert_trains_as_by_hand(seeds, ["objective", "error"], changes, data=data)


def test_a_new_kind_of_update_rule_trains_as_a_loop_written_out(new, seeds):
    changes = {"optimiser": {"kind": "x"}, "momentum": SETTINGS["momentum"], "loss": CE}
    changes["learning_rate"] = 1e-3
    assert_trains_as_by_hand(seeds, ["objective"], changes, step=by_sign, rate=1e-3)


def test_the_trainer_imports_no_kind():
    modules = imported_modules(["collapse.training.trainer"])
    kind = tuple(f"collapse.training.{part}." for part in NEW)
    assert not [name for name in modules if name.startswith(kind)]


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


def test_images_are_normalised_like_the_data_set():
    images = pixels(5)
    labels = np.array([0, 1, 0, 1, 1])
    dataset = Dataset(images, labels, images, labels, (0.4,), (0.2,), 16, ("a", "b"))
    chosen, kept = training_set(dataset, {"name": "toy", "samples_per_class": 2}, CPU)
    assert kept.tolist() == [0, 1, 0, 1] and len(chosen) == 4
    expected = torch.tensor((images[:4] / 16 - 0.4) / 0.2, dtype=torch.float32)
    torch.testing.assert_close(chosen.take(slice(0, 4)), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(chosen.take(torch.tensor([3, 0])), expected[[3, 0]])


def test_moved_images_are_shifted_over_black_and_mirrored():
    images, _ = digits(3)
    plain = images.take(slice(0, 3))
    assert torch.equal(images.take_moved(torch.arange(3), None, None), plain)
    flip = torch.tensor([True, False, True])
    mirrored = images.take_moved(torch.arange(3), None, flip)
    assert torch.equal(mirrored, torch.where(flip.view(3, 1, 1, 1), plain.flip(-1), plain))
    shift = torch.tensor([[0, 0], [2, -3], [-4, 1]])
    moved = images.take_moved(torch.arange(3), shift, flip)
    black = -0.5 / 0.3
    for index, (down, right) in enumerate(shift.tolist()):
        wide = torch.nn.functional.pad(mirrored[index], [4] * 4, value=black)
        window = wide[:, 4 + down : 12 + down, 4 + right : 12 + right]
        if not flip[index]:
            torch.testing.assert_close(moved[index], window)
    # What is mirrored is the window.
    wide = torch.nn.functional.pad(plain[2], [4] * 4, value=black)
    torch.testing.assert_close(moved[2], wide[:, 0:8, 5:13].flip(-1))


@pytest.mark.parametrize("samples, sizes", [(50, [16, 16, 16, 2]), (49, [16, 16, 17]), (9, [9])])
def test_no_sample_is_alone_in_a_batch(samples, sizes):
    assert batch_sizes(samples, 16) == sizes


def drawn(epoch, seeds, augmentation=()):
    order = Order(digits(40)[0], seeds, augmentation)
    order.draw(epoch)
    return order


def test_the_order_of_samples_follows_from_seed_and_epoch_alone():
    orders = [drawn(1, [0, 1]).indices[0], drawn(2, [0]).indices[0], drawn(1, [1]).indices[0]]
    assert all(sorted(order.tolist()) == list(range(40)) for order in orders)
    assert torch.equal(drawn(1, [1, 0]).indices[1], orders[0])
    assert torch.equal(drawn(1, [0], ["crop", "flip"]).indices[0], orders[0])
    assert not torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])


def test_streams_of_one_seed_and_epoch_share_no_numbers():
    def numbers(*key):
        return torch.randperm(40, generator=generator(0, 1, CPU, *key)).tolist()

    # The order has the stream without a name. A name of 0 is a name.
    streams = [numbers(), numbers(0), numbers(1), numbers(0, 0)]
    assert streams[0] == drawn(1, [0]).indices[0].tolist()
    assert len({tuple(each) for each in streams}) == 4


def test_augmentation_is_drawn_anew_in_each_epoch_and_keeps_the_samples():
    first, second = (drawn(epoch, [0], ["crop", "flip"]) for epoch in (1, 2))
    plain = digits(40)[0].take(slice(0, 40))
    for order in (first, second):
        images, index = order.take(torch.arange(40))
        kept = (images[0] == plain[index[0]]).flatten(1).all(1)
        # 1 in 162 windows is the image itself.
        assert not kept.all() and images.shape == (1, 40, 1, 8, 8)
    assert not torch.equal(first.take(torch.arange(40))[0], second.take(torch.arange(40))[0])
    flips = drawn(1, [0], ["flip"])
    images, index = flips.take(torch.arange(40))
    kept = (images[0] == plain[index[0]]).flatten(1).all(1)
    mirrored = (images[0].flip(-1) == plain[index[0]]).flatten(1).all(1)
    assert (kept | mirrored).all() and 8 < kept.sum() < 32


def test_single_samples_train_without_batchnorm_and_are_refused_with_it():
    assert fit(samples=17, epochs=1).status == "completed"
    assert fit(samples=5, model=PLAIN, batch_size=1, epochs=1).status == "completed"
    with pytest.raises(InputError, match="training.batch_size"):
        fit(samples=5, batch_size=1)


def test_learning_rate_falls_in_steps():
    settings = SETTINGS | {"schedule": {"step": 2, "factor": 0.1}}
    rates = [learning_rate(settings, epoch) for epoch in range(1, 7)]
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    np.testing.assert_array_equal(fit(**settings).history["step_size"], rates)
    assert learning_rate(SETTINGS, 1000) == 1e-3


def test_states_are_recorded_at_log_spaced_epochs():
    result = fit(epochs=30, record=5)
    assert sorted(result.states) == [epoch for epoch in log_spaced(30, 5) if epoch]
    assert max(result.states) == 30
    assert result.history["epoch"].tolist() == list(range(1, 31))
    assert list(result.history) == ["epoch", "objective", "data_loss", "error", "step_size"]
    assert (result.history["objective"] > result.history["data_loss"]).all()


def test_history_of_a_full_batch_is_the_objective_before_the_step():
    net = network(PLAIN)
    images, labels = digits()
    objective = Objective(MSE, **DECAYS, samples=50)
    with torch.no_grad():
        logits, features = net(images.take(slice(0, 50)))
        loss, data = evaluate(objective, net, logits, features, labels)
        error = (logits.argmax(1) != labels).float().mean()
    row = fit(net=net, batch_size=50, epochs=1).history.iloc[0]
    expected = [loss.item(), data.item(), error.item()]
    np.testing.assert_allclose(row[["objective", "data_loss", "error"]], expected, rtol=1e-5)


@pytest.mark.parametrize(("optimiser", "rate"), [(ADAM, 1e-2), (SGD, 0.02)], ids=["adam", "sgd"])
def test_training_learns_random_labels(optimiser, rate):
    history = fit(epochs=60, optimiser=optimiser, learning_rate=rate).history
    assert history["error"].iloc[-1] < 0.1 < history["error"].iloc[0]
    assert history["objective"].iloc[-1] < 0.5 * history["objective"].iloc[0]


def test_training_is_deterministic_and_ignores_the_global_random_state():
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state()
    first = fit()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    np.random.seed(2)
    second = fit()
    assert_same_states(first.states, second.states)
    assert first.history.equals(second.history)


def test_divergence_names_epoch_and_step_and_keeps_what_was_recorded():
    result = fit(model=PLAIN, optimiser=SGD, learning_rate=1e6, batch_size=50, record=6)
    assert result.status == "diverged"
    assert result.diverged_epoch == result.diverged_step == 1 + max(result.states)
    assert result.history["epoch"].tolist() == [1] and sorted(result.states) == [0, 1]
    assert np.isfinite(result.states[1]["head.layers.0.weight"]).all()


def test_divergence_in_the_first_epoch_leaves_an_empty_typed_history():
    result = fit(model=PLAIN, optimiser=SGD, learning_rate=1e6)
    assert result.diverged_epoch == 1 and 1 < result.diverged_step <= 4
    assert list(result.states) == [0] and len(result.history) == 0
    assert result.history.dtypes.map(str).tolist() == ["int64"] + ["float64"] * 4


def test_extracted_features_are_those_of_evaluation_mode():
    net = network()
    images, _ = digits()
    fit(net=net, epochs=2)
    net.train()
    found = extract(net, images, batch=7)
    net.eval()
    with torch.no_grad():
        expected = net.backbone(images.take(slice(0, 50)))
    assert found.dtype == torch.float32 and found.shape == (50, 12)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"optimiser": SGD}, {"augmentation": ["crop"]}])
@pytest.mark.parametrize("model", [MLP, PLAIN, {"kind": "cnn", "channels": [4, 6]}])
def test_networks_of_an_ensemble_train_as_they_do_alone(model, changes):
    seeds, weight = [3, 0, 7], [[1e-3, 2e-3], [0.5, 0.1], [0.0, 0.0]]
    feature, backbone = [1e-4, 0.0, 3e-3], [0.0, 1e-3, 1e-2]

    def together(chosen):
        decays = {
            "weight_decay": [weight[index] for index in chosen],
            "feature_decay": [feature[index] for index in chosen],
            "backbone_decay": [backbone[index] for index in chosen],
            "decayed": "all",
        }
        nets = [network(model, seed=seeds[index]) for index in chosen]
        picked = [seeds[index] for index in chosen]
        return train(prepared(nets, picked, decays=decays, epochs=3, **changes))

    results = together([0, 1, 2])
    # BatchNorm takes this bias out again: its gradient is noise, of which Adam makes steps.
    noise = ("backbone.layers.6.bias", "backbone.layers.7.running_mean") if model is MLP else ()
    for index, result in enumerate(results):
        (alone,) = together([index])
        columns = ["objective", "data_loss", "error"]
        np.testing.assert_allclose(result.history[columns], alone.history[columns], rtol=1e-3)
        # Without BatchNorm the initial state is recorded too.
        recorded = {0, 1, 2, 3} if model is PLAIN else {1, 2, 3}
        assert result.states.keys() == alone.states.keys() == recorded
        for name, array in alone.states[3].items():
            if name in noise:
                continue
            found = result.states[3][name]
            assert found.shape == array.shape
            np.testing.assert_allclose(found, array, rtol=1e-2, atol=1e-3, err_msg=name)
    losses = [result.history["objective"].iloc[-1] for result in results]
    assert len(set(losses)) == 3


def test_a_divergence_harms_no_other_network():
    nets = [network(PLAIN, seed=seed) for seed in (0, 1)]
    decays = DECAYS | {"weight_decay": [[1e-3, 1e-3], [1e30, 1e30]]}
    changes = {"optimiser": SGD, "learning_rate": 1e-2}
    good, bad = train(prepared(nets, [0, 1], decays=decays, **changes))
    assert (good.status, bad.status) == ("completed", "diverged")
    assert bad.diverged_epoch == 1 and bad.history.empty and list(bad.states) == [0]
    assert len(good.history) == 6 and np.isfinite(good.history["objective"]).all()
    assert all(np.isfinite(array).all() for array in good.states[6].values())


@pytest.mark.parametrize("name", ["float32", "tf32", "bf16"])
def test_precision_shapes_the_training_and_is_put_back(name):
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    with precision(name):
        assert products.fp32_precision == ("ieee" if name == "float32" else "tf32")
    assert products.fp32_precision == before
    result, exact = fit(precision=name), fit(precision="float32")
    same = result.history.equals(exact.history)
    # On a CPU float32 products are always exact; bfloat16 is rounded there too.
    assert same == (name != "bf16")
    np.testing.assert_allclose(result.history["objective"], exact.history["objective"], rtol=0.05)
    assert all(array.dtype != np.float16 for array in result.states[6].values())


class Interrupted(Exception):
    pass


def interrupted(monkeypatch, folder, identity, last, **changes):
    """Train with checkpoints, broken off before the one after epoch `last` is complete."""
    save = Checkpoints.save

    def limited(self, epoch, parts):
        if epoch > last:
            raise Interrupted
        save(self, epoch, parts)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Checkpoints, "save", limited)
        patch.setattr(history_module, "SHARE", np.inf)
        with Checkpoints(folder, identity) as checkpoints:
            fit(checkpoints=checkpoints, **changes)


@pytest.mark.parametrize("optimiser", [ADAM, SGD, {"kind": "x"}], ids=["adam", "sgd", "new"])
def test_a_broken_off_training_continues_to_the_same_bytes(new, monkeypatch, tmp_path, optimiser):
    changes = {"epochs": 12, "optimiser": optimiser, "schedule": {"step": 5, "factor": 0.5}}
    changes["input"] = {"kind": "x", "least": 0.5}
    whole = fit(**changes)
    interrupted(monkeypatch, tmp_path / "c", {"code": "a"}, 5, **changes)
    trained = []
    epoch = Trainer.epoch
    monkeypatch.setattr(
        Trainer, "epoch", lambda self, number: trained.append(1) or epoch(self, number)
    )
    with Checkpoints(tmp_path / "c", {"code": "a"}) as checkpoints:
        rest = fit(checkpoints=checkpoints, **changes)
        checkpoints.remove()
    assert 0 < len(trained) < 12
    assert_same_states(whole.states, rest.states)
    assert whole.history.equals(rest.history)
    assert not (tmp_path / "c").exists()


def test_checkpoints_take_their_share_of_the_time(monkeypatch, tmp_path):
    now, epochs = [0.0], []

    def clock():
        return now[0]

    def save(self, epoch, parts):
        epochs.append(epoch)
        now[0] += 1.0

    epoch = Trainer.epoch

    def timed(self, number):
        now[0] += 20.0
        return epoch(self, number)

    monkeypatch.setattr(history_module.time, "monotonic", clock)
    monkeypatch.setattr(Checkpoints, "save", save)
    monkeypatch.setattr(Trainer, "epoch", timed)
    with Checkpoints(tmp_path, {}) as checkpoints:
        fit(checkpoints=checkpoints, epochs=9)
    # One second each of 50: every third epoch of 20 seconds.
    assert epochs == [1, 4, 7]


def test_a_stale_checkpoint_is_ignored_with_a_line(monkeypatch, tmp_path, capsys):
    interrupted(monkeypatch, tmp_path, {"code": "old"}, 3)
    with Checkpoints(tmp_path, {"code": "new"}) as checkpoints:
        assert checkpoints.restore([1]) is None
        assert checkpoints.restore([1]) is None
    line = capsys.readouterr().err
    assert "checkpoint ignored" in line and "stale" in line and "resume.safetensors" in line
    assert line.count("checkpoint ignored") == 1
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("name", ["resume.safetensors", "state-000002.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_checkpoint_is_ignored(monkeypatch, tmp_path, capsys, name, damage):
    interrupted(monkeypatch, tmp_path, {}, 3)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-10])
    else:
        content[-1] ^= 1
        path.write_bytes(content)
    with Checkpoints(tmp_path, {}) as checkpoints:
        assert checkpoints.restore([1, 2, 3]) is None
    ignored = "checkpoint ignored" in capsys.readouterr().err
    assert ignored == ((name, damage) != ("resume.safetensors", "missing"))


def test_a_locked_folder_is_refused(tmp_path):
    folder = tmp_path / "checkpoints"
    holder = f"{folder}: in use by process {os.getpid()} "
    with Checkpoints(folder, {}), pytest.raises(InputError, match=holder):
        Checkpoints(folder, {}).__enter__()
    with Checkpoints(folder, {}) as checkpoints:
        checkpoints.remove()
        with Checkpoints(folder, {}):
            pass


def write_data(path, samples=48):
    labels = np.arange(samples, dtype=np.int64) % K
    tensors = {
        "train_inputs": pixels(samples),
        "train_labels": labels,
        "test_inputs": pixels(K, seed=1),
        "test_labels": labels[:K],
    }
    attributes = {"mean": [0.5], "std": [0.3], "maximum": 16, "classes": list("abcd")}
    write_tensors(path, tensors, {}, attributes)


def spec_of(seeds=(1,), **training):
    config = {
        "data": {"name": "toy", "samples_per_class": 10},
        "model": MLP,
        "head": {"depth": 3, "bias": True, "init": "orthogonal"},
        "loss": MSE,
        "input": {"kind": "plain"},
        **DECAYS,
        "training": SETTINGS | training,
        "features": "last",
    }
    return {
        "study": "toy",
        "experiment": "e",
        "point": {"head.depth": 3},
        "order": ["head.depth"],
        "grid": {},
        "seeds": list(seeds),
        "config": config,
    }


def told(spec, unread):
    """What a job of these runs is told, but for the keys that it does not read."""
    config = {key: value for key, value in spec["config"].items() if key not in unread}
    common = {"procedure": "network", "references": {}}
    return spec | {"config": config}, common


def command(folder, data, spec):
    group, common = told(spec, network_procedure.Section.measure_only)
    return [
        "compute",
        *write_spec(folder, "compute", group | common, data=[data], references=[]),
        *("--states", str(folder / "states.safetensors")),
        *("--history", str(folder / "history.parquet")),
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "toy.safetensors"
    write_data(path)
    return path


def start(arguments):
    source = str(Path(collapse.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "collapse.cli", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_at(process, path, seconds):
    """SIGKILL a process some seconds after a file has appeared."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.002)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()


def test_a_killed_training_ends_in_the_same_bytes(data, tmp_path, capsys):
    spec = spec_of(epochs=300, record=60)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(command(whole, data, spec)) == 0
    recorded = [epoch for epoch in log_spaced(300, 60) if epoch]
    firsts = []
    for index, seconds in ((0, 0.0), (20, 0.01), (40, 0.04)):
        process = start(command(killed, data, spec))
        state = killed / "checkpoints" / f"state-{recorded[index]:06d}.safetensors"
        if index == 20:
            # The successor that comes too early leaves the orphan alone.
            while not state.exists():
                time.sleep(0.002)
            assert main(command(killed, data, spec)) == 2
        kill_at(process, state, seconds)
        assert not (killed / "states.safetensors").exists()
        firsts.append((killed / "checkpoints" / "state-000001.safetensors").stat().st_ino)
    capsys.readouterr()
    assert main(command(killed, data, spec)) == 0
    assert "checkpoint ignored" not in capsys.readouterr().err
    # The last successor wrote nothing again that its predecessor had recorded.
    assert firsts[1] == firsts[2]
    for name in ("states.safetensors", "history.parquet"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    assert not (killed / "checkpoints").exists()
    assert not list(killed.glob(".*"))


def framed(folder, data, *specs):
    """Write the frames of the runs of an experiment; return their file."""
    runs = [
        {
            "keys": {key: value for key, value in run["keys"].items() if key != "seed"},
            "config": run["config"],
            "facts": {"width": MLP["hidden"][-1]},
            "stages": [[None, {}]],
            "seeds": [run["seed"]],
        }
        for spec in specs
        for run in expand(spec)
    ]
    job = {"theory": "collapse.theory.imbalanced", "keys": keys_in(specs[0]), "runs": runs}
    written = [f"--{name}={folder / name}.parquet" for name in ("predictions", "frames")]
    spec = write_spec(folder, "predictions", job, data=[data])
    assert main(["predictions", *spec, *written]) == 0
    return folder / "frames.parquet"


def keys_in(spec):
    return [*(path.rsplit(".", 1)[-1] for path in spec["order"]), "seed"]


def measured(folder, data, spec, *others):
    """The command that measures a group of an experiment, which may have others."""
    group, common = told(spec, network_procedure.Section.compute_only)
    job = {"groups": [group], "keys": keys_in(spec), "probes": [{"kind": "classifier"}], **common}
    reads = {
        "states": [folder / "states.safetensors"],
        "histories": [folder / "history.parquet"],
        "frames": [framed(folder, data, spec, *others)],
        "data": [data],
    }
    return [
        *("measure_runs", *write_spec(folder, "measure_runs", job, **reads, references=[])),
        *("--features", str(folder / "features.safetensors")),
        *("--metrics", str(folder / "metrics.parquet")),
        *("--samples", str(folder / "samples.parquet")),
    ]


@pytest.mark.parametrize("kept", ["last", "all"])
def test_the_stages_write_states_history_features_and_metrics(data, tmp_path, kept):
    spec = spec_of(seeds=(1, 4))
    spec["config"]["features"] = kept
    assert main(command(tmp_path, data, spec)) == 0
    states, attributes = read_tensors(tmp_path / "states.safetensors")
    recorded = [epoch for epoch in log_spaced(6, 4) if epoch]
    assert [each["id"] for each in attributes["runs"]] == ["depth=3+seed=1", "depth=3+seed=4"]
    for each in attributes["runs"]:
        assert each["status"] == "completed" and each["diverged_at"] is None
        assert each["steps"] == recorded
    history = read_table(tmp_path / "history.parquet")
    assert list(history)[:3] == ["depth", "seed", "epoch"] and len(history) == 12
    assert history["seed"].unique().tolist() == [1, 4]
    assert main(measured(tmp_path, data, spec)) == 0
    features, found = read_tensors(tmp_path / "features.safetensors")
    assert found == attributes | {"layers": ["H1"]}
    assert features["labels"].tolist() == [index % K for index in range(40)]
    names = {"H1": (40, 12), "W1": (12, 12), "W2": (12, 12), "W3": (K, 12), "bias": (K,)}
    written = recorded if kept == "all" else recorded[-1:]
    metrics = read_table(tmp_path / "metrics.parquet")
    for run in ("depth=3+seed=1", "depth=3+seed=4"):
        for epoch in written:
            for name, shape in names.items():
                array = features[f"{run}/{epoch:06d}/{name}"]
                assert array.shape == shape and array.dtype == np.float32
            weight = states[f"{run}/{epoch:06d}/head.layers.2.weight"]
            np.testing.assert_array_equal(features[f"{run}/{epoch:06d}/W3"], weight)
            labels = torch.from_numpy(features["labels"])
            own = metrics[(metrics["seed"] == int(run[-1])) & (metrics["step"] == epoch)]
            value = own[(own["layer"] == "H1") & (own["metric"] == "NC1")]["value"].item()
            direct = measure(torch.from_numpy(features[f"{run}/{epoch:06d}/H1"]), labels)
            assert value == pytest.approx(direct["NC1"], rel=1e-5)
    assert len(features) == 1 + 2 * len(names) * len(written)
    held_out = metrics[metrics["metric"].str.startswith("test_accuracy")]
    assert (held_out["step"] == 6).all() and len(held_out) == 2 * (1 + K)
    assert held_out["value"].between(0, 1).all()
    assert sorted(metrics["step"].unique()) == recorded
    samples = read_table(tmp_path / "samples.parquet")
    assert samples.empty and list(samples) == ["depth", "seed", "step", "layer", "probe"]


def keys_of(section):
    """All keys of a config section and of those inside."""
    for name, field in section.model_fields.items():
        yield name
        for each in sections_in(field.annotation):
            yield from keys_of(each)


def sections_in(annotation):
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for each in get_args(annotation):
        yield from sections_in(each)


def test_no_config_key_is_a_column_of_the_history():
    keys = set(keys_of(network_procedure.Section))
    assert {"loss", "learning_rate", "step", "channels"} <= keys
    assert not keys & set(fit(epochs=1).history)


def test_a_grid_over_what_the_history_tells(data, tmp_path):
    for path, value, section in (
        ("loss", "ce", CE),
        ("training.optimiser", "sgd", SGD),
        ("training.learning_rate", 0.01, 0.01),
    ):
        name = path.rsplit(".", 1)[-1]
        spec = spec_of() | {"point": {path: value}, "order": [path]}
        spec["config"] = assign(spec["config"], {path: section})
        folder = tmp_path / name
        assert main(command(folder, data, spec)) == 0
        history = read_table(folder / "history.parquet")
        assert set(history[name]) == {value} and list(history)[:2] == [name, "seed"]
        assert (history["objective"] > history["data_loss"]).all()


@pytest.mark.parametrize("bias", [False, True])
def test_networks_are_compared_with_the_frame_of_their_own_sizes_and_decays(data, tmp_path, bias):
    spec = spec_of() | {"grid": {"weight_decay": [1e-3, 1e-2]}, "order": ["weight_decay"]}
    spec |= {"point": {}}
    spec["config"] |= {
        "head": {"depth": 2, "bias": bias, "init": "orthogonal"},
        "feature_decay": 2e-3,
    }
    spec["config"]["data"] = {"name": "toy", "class_sizes": [3, 12, 6, 9]}
    assert main(command(tmp_path, data, spec)) == 0
    assert main(measured(tmp_path, data, spec)) == 0
    rows = read_table(tmp_path / "metrics.parquet")
    features, _ = read_tensors(tmp_path / "features.safetensors")
    for decay in (1e-3, 1e-2):
        own = rows[(rows["weight_decay"] == decay) & (rows["step"] == 6)]
        values = own.set_index("metric")["value"]
        assert [values[f"class_size[{k}]"] for k in range(K)] == [3, 12, 6, 9]
        if bias:
            assert not [name for name in values.index if "GOF" in name or name == "W_div_H"]
            continue
        prefix = f"weight_decay={decay:g}+seed=1/000006/"
        product = (features[f"{prefix}W2"] @ features[f"{prefix}W1"]).astype(np.float64)
        spread = product @ product.T
        target = np.diag(lengths([3, 12, 6, 9], 30, [decay] * 2, 2e-3).weights ** 2)
        distance = np.linalg.norm(spread / np.linalg.norm(spread) - target / np.linalg.norm(target))
        assert values["NC2_W_GOF"] == pytest.approx(distance, rel=1e-4)
        assert values["weight_norm[1]"] == pytest.approx(np.linalg.norm(product[1]), rel=1e-5)
    grams = rows[rows["metric"].str.contains("_gram|class_size")]
    assert len(grams) == 2 * (10 + 10 + K) and set(grams["step"]) == {6}


def test_a_null_in_a_grid_finds_its_frame(data, tmp_path):
    path = "data.imbalance_ratio"
    spec, other = (
        spec_of(epochs=1) | {"point": {path: ratio}, "order": [path]} for ratio in (None, 2.0)
    )
    for each in (spec, other):
        each["config"] = assign(each["config"], each["point"])
        each["config"]["head"] = {"depth": 1, "bias": False, "init": "orthogonal"}
    assert main(command(tmp_path, data, spec)) == 0
    assert main(measured(tmp_path, data, spec, other)) == 0
    rows = read_table(tmp_path / "metrics.parquet")
    assert rows["imbalance_ratio"].isna().all() and "NC2_W_GOF" in set(rows["metric"])
    frames = read_table(tmp_path / "frames.parquet")
    assert len(frames) == 2 * 2 * K and frames["imbalance_ratio"].isna().sum() == 2 * K


def test_a_diverged_run_succeeds_and_its_files_say_so(data, tmp_path, capsys):
    spec = spec_of(optimiser=SGD, learning_rate=1e6, epochs=40)
    spec["config"]["model"] = PLAIN
    assert main(command(tmp_path, data, spec)) == 0
    assert "depth=3+seed=1: diverged in epoch 1" in capsys.readouterr().err
    (run,) = read_tensors(tmp_path / "states.safetensors")[1]["runs"]
    assert run["status"] == "diverged" and run["steps"] == [0]
    assert run["diverged_at"] == 1 and run["diverged_batch"] >= 2
    assert read_table(tmp_path / "history.parquet").empty
    assert main(measured(tmp_path, data, spec)) == 0
    metrics = read_table(tmp_path / "metrics.parquet")
    assert metrics.loc[metrics["step"] > 0, ["step", "metric"]].values.tolist() == [[1, "diverged"]]


def test_states_that_do_not_fit_are_refused(data, tmp_path, capsys):
    assert main(command(tmp_path, data, spec_of(epochs=1))) == 0
    spec = spec_of()
    spec["config"]["head"] = {"depth": 2, "bias": False, "init": "orthogonal"}
    assert main(measured(tmp_path, data, spec)) == 2
    assert main(measured(tmp_path, data, spec_of(seeds=(1, 2)))) == 2
    (tmp_path / "states.safetensors").write_bytes(data.read_bytes())
    assert main(measured(tmp_path, data, spec)) == 2
    lines = capsys.readouterr().err.splitlines()
    states = tmp_path / "states.safetensors"
    assert f"{states}: depth=3+seed=1, epoch 1: head.layers" in lines[-3]
    assert f"{states}: holds no run 'depth=3+seed=2'" in lines[-2]
    assert f"{states}: holds no run 'depth=3+seed=1'" in lines[-1]
    assert not (tmp_path / "features.safetensors").exists()


def test_log_lines_are_few_and_name_what_matters(capsys, monkeypatch):
    clock = iter(np.arange(0.0, 1000.0, 4.0))
    monkeypatch.setattr("collapse.training.progress.time.monotonic", lambda: next(clock))
    from collapse.training.progress import Progress

    progress = Progress(10, done=2)
    for epoch in range(3, 11):
        progress.update(epoch, loss=0.5, error=0.25)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "epoch 5/10  loss 0.5  error 0.25  4.00 s/epoch  00:20 left"
    assert len(lines) == 3 and lines[-1].startswith("epoch 10/10")


def test_two_jobs_never_share_a_gpu(monkeypatch, tmp_path):
    class Properties:
        def __init__(self, index):
            self.uuid = f"gpu-{index}"

    monkeypatch.setattr(device_module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    monkeypatch.setattr(device_module, "_held", [])
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    first, second = device_module.acquire_device(), device_module.acquire_device()
    assert [first.index, second.index] == chosen == [0, 1]
    monkeypatch.setattr(
        device_module.time, "sleep", lambda seconds: os.close(device_module._held.pop())
    )
    assert device_module.acquire_device() == second
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert device_module.acquire_device() == torch.device("cuda", 0)
    for descriptor in device_module._held:
        os.close(descriptor)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CNN = {"kind": "cnn", "channels": [8, 16]}


def on_gpu(model, seeds):
    return [network(model, seed=seed).to("cuda") for seed in seeds]


@needs_gpu
@pytest.mark.parametrize("model, seeds", [(CNN, [0]), (MLP, [0, 1, 2])])
def test_training_on_a_gpu_is_deterministic_and_continues(tmp_path, monkeypatch, model, seeds):
    monkeypatch.setattr(history_module, "SHARE", np.inf)

    def once(checkpoints=None):
        return train(prepared(on_gpu(model, seeds), seeds), checkpoints)

    def assert_same(results):
        for left, right in zip(first, results, strict=True):
            assert_same_states(left.states, right.states)

    first = once()
    assert_same(once())
    with Checkpoints(tmp_path, {}) as checkpoints:
        once(checkpoints)
        (tmp_path / "resume.safetensors").unlink()
        assert_same(once(checkpoints))
        assert_same(once(checkpoints))


X = {"kind": "x"}


@needs_gpu
@pytest.mark.parametrize(
    "parts",
    [
        {"optimiser": ADAM},
        {"optimiser": SGD, "loss": CE},
        {"optimiser": X, "loss": CE, "input": X | {"least": 0.5}},
        {"loss": X | {"scale": 0.1}},
    ],
    ids=["adam", "sgd", "new", "loss"],
)
@pytest.mark.parametrize("model, seeds", [(CNN, [0]), (MLP, [0, 1, 2])])
def test_a_captured_step_is_the_step(new, monkeypatch, model, seeds, parts):
    def once():
        changes = {"precision": "float32", "augmentation": ["crop"]} | parts
        return train(prepared(on_gpu(model, seeds), seeds, **changes))

    captured = once()
    monkeypatch.setattr("collapse.training.trainer.captured", lambda step, state: step)
    for left, right in zip(captured, once(), strict=True):
        assert_same_states(left.states, right.states)
        assert left.history.equals(right.history)


@needs_gpu
@pytest.mark.parametrize("name", ["float32", "tf32", "bf16"])
def test_a_gpu_trains_as_a_cpu_does(monkeypatch, name):
    # One order of samples for both: each device has a generator of its own.
    monkeypatch.setattr(
        Order, "draw", lambda self, epoch: self.indices.copy_(torch.arange(50).expand(2, -1))
    )
    cpu = train(prepared([network(seed=seed) for seed in (0, 1)], [0, 1], precision="float32"))
    gpu = train(prepared(on_gpu(MLP, (0, 1)), [0, 1], precision=name))
    tolerance = {"float32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}[name]
    for left, right in zip(cpu, gpu, strict=True):
        np.testing.assert_allclose(
            left.history["objective"], right.history["objective"], rtol=tolerance
        )


@needs_gpu
@pytest.mark.parametrize(
    "parts", [{}, {"input": X | {"least": 0.5}, "loss": CE}], ids=["plain", "new"]
)
@pytest.mark.parametrize("model, seeds", [(CNN, [0]), (MLP, [0, 1])])
def test_a_compiled_step_trains_as_the_plain_one(new, monkeypatch, model, seeds, parts):
    changes = {"precision": "float32", "epochs": 3} | parts
    plain = train(prepared(on_gpu(model, seeds), seeds, **changes))
    monkeypatch.setattr("collapse.training.trainer.COMPILE_FROM", 0)
    training = prepared(on_gpu(model, seeds), seeds, **changes)
    assert training.compiled
    for left, right in zip(plain, train(training), strict=True):
        np.testing.assert_allclose(left.history["objective"], right.history["objective"], rtol=1e-3)
