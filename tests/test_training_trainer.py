"""Training of networks, alone and as an ensemble, with known and with new parts."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from collapse.errors import InputError
from collapse.metrics import study_metrics
from collapse.provenance import imported_modules
from collapse.schedule import log_spaced
from collapse.training import ensemble as ensemble_module
from collapse.training import history as history_module
from collapse.training.checkpoints import Checkpoints
from collapse.training.device import precision
from collapse.training.ensemble import Ensemble
from collapse.training.extract import extract, extract_to_measure
from collapse.training.objective import Objective
from collapse.training.order import Order
from collapse.training.trainer import Trainer, learning_rate, train
from conftest import (
    ADAM,
    CE,
    DECAYS,
    MLP,
    MSE,
    NEW,
    PLAIN,
    SETTINGS,
    SGD,
    K,
    assert_same_states,
    digits,
    fit,
    learner,
    needs_gpu,
    network,
    prepared,
    shares,
    smoothed,
)

CNN = {"kind": "cnn", "channels": [8, 16], "feature_normalisation": "batch"}
WRN = {"kind": "wideresnet", "depth": 10, "width": 1}
VIT = {"kind": "vit", "patch": 4, "layers": 2, "heads": 2, "width": 32, "mlp_width": 64}


@pytest.fixture(params=[1, 3], ids=["one", "ensemble"])
def seeds(request):
    return [3, 0, 7][: request.param]


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
    parameters, order = list(net.parameters()), Order(images, [seed], [], [16, 16, 16, 2])
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


def test_single_samples_train_without_batchnorm_and_are_refused_with_it():
    assert fit(samples=17, epochs=1).diverged_epoch is None
    assert fit(samples=5, model=PLAIN, batch_size=1, epochs=1).diverged_epoch is None
    with pytest.raises(InputError, match="training.batch_size"):
        fit(samples=5, batch_size=1)


@pytest.mark.parametrize("members", [1, 2])
def test_batchnorm_between_convolutions_alone_counts(members):
    """Features that are not normalised themselves depend on the batch all the same."""
    inner = CNN | {"feature_normalisation": "none"}
    seeds = list(range(members))

    def training(model, **changes):
        return prepared([network(model, seed=seed) for seed in seeds], seeds, 17, **changes)

    for model, normalised in ((inner, True), (CNN, True), (MLP, True), (PLAIN, False)):
        assert training(model).normalised(members - 1) == normalised
    for result in train(training(inner, epochs=1)):
        assert list(result.states) == [1]
    with pytest.raises(InputError, match="training.batch_size"):
        training(inner, batch_size=1)


def test_learning_rate_falls_in_steps():
    settings = SETTINGS | {"schedule": {"step": 2, "at": None, "factor": 0.1}}
    rates = [learning_rate(settings, epoch) for epoch in range(1, 7)]
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    np.testing.assert_array_equal(fit(**settings).history["step_size"], rates)
    assert learning_rate(SETTINGS, 1000) == 1e-3


def test_learning_rate_falls_at_fractions_of_the_epochs():
    # 0.1 and 0.7 of 30 are not whole in binary; the first epoch after the fraction is slower.
    settings = {"learning_rate": 1.0, "epochs": 30}
    settings["schedule"] = {"step": None, "at": [0.1, 0.7], "factor": 0.5}
    rates = [learning_rate(settings, epoch) for epoch in range(1, 31)]
    np.testing.assert_array_equal(rates, [1.0] * 3 + [0.5] * 18 + [0.25] * 9)


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
        bound = objective.bind(Ensemble([net]))
        data, penalty = bound.terms(logits[None], features[None], labels[None])
        loss = data + penalty + bound.penalty()
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
    assert result.diverged_epoch is not None
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
    found = extract(net, images, batch=7)["H1"]
    net.eval()
    with torch.no_grad():
        expected = net.backbone(images.take(slice(0, 50)))
    assert found.dtype == torch.float32 and found.shape == (50, 12)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("spread", "products", "expected"),
    [
        (1.0, "tf32", "float16"),
        (1.0, "bf16", "float16"),
        (1.0, "float32", "float32"),
        (1e-2, "tf32", "float32"),
        (math.nan, "tf32", "float32"),
    ],
)
def test_features_come_from_rounded_products_until_nc1_needs_exact_ones(
    monkeypatch, spread, products, expected
):
    monkeypatch.setattr("collapse.training.extract._on_a_gpu", lambda samples: True)
    net, (images, labels) = network(CNN), digits()
    features = torch.eye(12)[labels] + spread * torch.randn(len(labels), 12)
    rounded = {"float16": features.half(), "float32": features}

    def forward(inputs):
        products = "float16" if torch.is_autocast_enabled("cpu") else "float32"
        return rounded[products][: len(inputs)]

    monkeypatch.setattr(net.backbone, "forward", forward)
    found, used = extract_to_measure(net, images, labels, products, hidden=False)
    assert used == expected
    expected = rounded[expected].float()
    torch.testing.assert_close(found["H1"], expected, equal_nan=True, rtol=0, atol=0)
    # Of real targets there is no NC1 to tell by.
    assert extract_to_measure(net, images, features, products, hidden=False)[1] == "float32"


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e7])
def test_features_are_exact_where_values_leave_the_range_of_half_precision(monkeypatch, scale):
    monkeypatch.setattr("collapse.training.extract._on_a_gpu", lambda samples: True)
    net, (images, labels) = network(CNN), digits()
    expected = extract(net, images)["H1"]
    # What lies between two layers is scaled, and scaled back.
    norm = next(each for each in net.backbone.modules() if isinstance(each, nn.BatchNorm2d))
    _, conv = (each for each in net.backbone.modules() if isinstance(each, nn.Conv2d))
    with torch.no_grad():
        norm.weight.mul_(scale), norm.bias.mul_(scale), conv.weight.div_(scale)
    found, used = extract_to_measure(net, images, labels, "tf32", hidden=False)
    assert used == ("float16" if scale == 1 else "float32")
    torch.testing.assert_close(found["H1"], expected, rtol=1e-2, atol=1e-2)
    rounded = functional.mse_loss(found["H1"], expected).sqrt() > 1e-5
    assert rounded == (used == "float16")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_metrics_of_rounded_features_are_near_those_of_exact_ones(monkeypatch, device):
    monkeypatch.setattr("collapse.training.extract._on_a_gpu", lambda samples: True)
    net, (images, labels) = network(CNN).to(device), digits(200, torch.device(device))
    found, used = extract_to_measure(net, images, labels, "tf32", hidden=False)
    assert used == "float16" and not torch.equal(found["H1"], extract(net, images)["H1"])
    rounded, exact = (
        study_metrics(features["H1"], labels) for features in (found, extract(net, images))
    )
    assert rounded == pytest.approx(exact, rel=2e-3)


def test_hidden_layers_are_extracted_beside_the_features():
    net = network(PLAIN | {"hidden": [16, 14, 12]})
    images, _ = digits()
    found = extract(net, images, batch=7, hidden=True)
    assert list(found) == ["hidden1", "hidden2", "hidden3", "H1"]
    values = images.take(slice(0, 50)).flatten(1)
    linear = [layer for layer in net.backbone.layers if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for number, layer in enumerate(linear[:3], 1):
            values = layer(values).clamp_min(0)
            torch.testing.assert_close(found[f"hidden{number}"], values, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found["H1"], linear[3](values), rtol=1e-5, atol=1e-6)
    assert list(extract(net, images)) == ["H1"]
    assert not any(layer._forward_hooks for layer in net.modules())


@pytest.mark.parametrize("changes", [{}, {"optimiser": SGD}, {"augmentation": ["crop"]}])
@pytest.mark.parametrize("model", [MLP, PLAIN, CNN | {"channels": [4, 6]}])
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


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_learners_side_by_side_train_as_each_does_alone(tmp_path, monkeypatch, device):
    monkeypatch.setattr(history_module, "SHARE", np.inf)
    mild, fatal = DECAYS, DECAYS | {"weight_decay": 1e30}
    # More than there are streams: some share one.
    kinds = [(MLP, [3, 0], 2, mild), (PLAIN, [1], 3, mild), (PLAIN, [2], 1, fatal)]
    kinds += [(model, [4], 1, mild) for model in (CNN, WRN, VIT)]

    def learners(chosen):
        return [
            learner([network(model, depth, seed=seed).to(device) for seed in seeds], seeds,
                    decays=decays, optimiser=SGD, learning_rate=1e-2)
            for model, seeds, depth, decays in chosen
        ]  # fmt: skip

    together = train(Trainer(learners(kinds)))
    with Checkpoints(tmp_path, {}) as checkpoints:
        train(Trainer(learners(kinds)), checkpoints)
        (tmp_path / "resume.safetensors").unlink()
        continued = train(Trainer(learners(kinds)), checkpoints)
    alone = [result for kind in kinds for result in train(Trainer(learners([kind])))]
    steps = [list(each.states) for each in together[:4]]
    assert steps == [[1, 2, 3, 6]] * 2 + [[0, 1, 2, 3, 6], [0]]
    assert together[3].diverged_epoch == 1
    for results in (together, continued):
        for left, right in zip(results, alone, strict=True):
            assert_same_states(left.states, right.states)
            assert left.history.equals(right.history)


def test_a_divergence_harms_no_other_network():
    nets = [network(PLAIN, seed=seed) for seed in (0, 1)]
    decays = DECAYS | {"weight_decay": [[1e-3, 1e-3], [1e30, 1e30]]}
    changes = {"optimiser": SGD, "learning_rate": 1e-2}
    good, bad = train(prepared(nets, [0, 1], decays=decays, **changes))
    assert good.diverged_epoch is None and bad.diverged_epoch is not None
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


@pytest.mark.parametrize("optimiser", [SGD, ADAM], ids=["sgd", "adam"])
def test_an_ensemble_of_five_or_more_is_batched_and_trains_as_its_members_do(
    monkeypatch, optimiser
):
    batched, taken = [], ensemble_module.vmap
    monkeypatch.setattr(
        ensemble_module, "vmap", lambda function: batched.append(1) or taken(function)
    )

    def train_networks(chosen, epochs=5):
        changes = {"optimiser": optimiser, "learning_rate": 0.01, "precision": "float32"}
        nets = [network(PLAIN, seed=seed) for seed in chosen]
        return train(prepared(nets, list(chosen), epochs=epochs, **changes))

    train_networks(range(4), epochs=1)
    assert not batched
    together = train_networks(range(5))
    # Backbones and heads, in each of five epochs of four batches.
    assert len(batched) == 2 * 5 * 4
    alone = [train_networks([seed])[0] for seed in range(5)]
    monkeypatch.setattr(ensemble_module, "SMALL", 0)
    in_turn = train_networks(range(5))
    # Backbones and heads, in each of five epochs of four batches.
    assert len(batched) == 2 * 5 * 4
    for one, *others in zip(alone, together, in_turn, strict=True):
        for other in others:
            assert one.states.keys() == other.states.keys()
            for name, array in one.states[5].items():
                np.testing.assert_allclose(array, other.states[5][name], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(
                one.history["objective"], other.history["objective"], rtol=1e-5
            )
    ends = sorted(result.history["objective"].iloc[-1] for result in together)
    assert np.diff(ends).min() > 1e-4


def on_gpu(model, seeds):
    return [network(model, seed=seed).to("cuda") for seed in seeds]


@needs_gpu
@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("model, seeds", [(CNN, [0]), (WRN, [0]), (VIT, [0]), (MLP, [0, 1, 2])])
def test_training_on_a_gpu_is_deterministic_and_continues(
    tmp_path, monkeypatch, model, seeds, compiled
):
    monkeypatch.setattr(history_module, "SHARE", np.inf)
    monkeypatch.setattr("collapse.training.supervised.COMPILE_FROM", 0 if compiled else np.inf)

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
@pytest.mark.parametrize("model, seeds", [(CNN, [0]), (VIT, [0]), (MLP, [0, 1])])
def test_a_compiled_step_trains_as_the_plain_one(new, monkeypatch, model, seeds, parts):
    changes = {"precision": "float32", "epochs": 3} | parts
    plain = train(prepared(on_gpu(model, seeds), seeds, **changes))
    monkeypatch.setattr("collapse.training.supervised.COMPILE_FROM", 0)
    training = prepared(on_gpu(model, seeds), seeds, **changes)
    assert training.compiled
    for left, right in zip(plain, train(training), strict=True):
        np.testing.assert_allclose(left.history["objective"], right.history["objective"], rtol=1e-3)
