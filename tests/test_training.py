import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import collapse
from collapse.artifacts import read_table, read_tensors, write_tensors
from collapse.cli import main
from collapse.data.dataset import Dataset
from collapse.errors import InputError
from collapse.models.network import build
from collapse.schedule import log_spaced
from collapse.training import device as device_module
from collapse.training import optimisers, trainer
from collapse.training.checkpoints import Checkpoints
from collapse.training.extract import extract
from collapse.training.images import Images, training_set
from collapse.training.objective import Objective
from collapse.training.trainer import batches, learning_rate, train

CPU = torch.device("cpu")
K = 4
MLP = {"kind": "mlp", "hidden": [16, 12], "normalisation": "batch"}
PLAIN = MLP | {"normalisation": "none"}
SETTINGS = {
    "optimiser": "adam",
    "learning_rate": 1e-3,
    "momentum": 0.9,
    "schedule": None,
    "epochs": 6,
    "batch_size": 16,
    "record": 4,
}
DECAYS = {"weight_decay": 5e-4, "feature_decay": 1e-5, "backbone_decay": 0.0}


def pixels(samples, seed=0):
    return np.random.default_rng(seed).integers(0, 17, (samples, 1, 8, 8), dtype=np.uint8)


def digits(samples=50):
    labels = torch.arange(samples) % K
    return Images(pixels(samples), (0.5,), (0.3,), 16, CPU), labels


def network(model=MLP, depth=2, bias=True, seed=0):
    return build({"model": model, "head": {"depth": depth, "bias": bias}}, (1, 8, 8), K, seed)


def fit(samples=50, model=MLP, checkpoints=None, net=None, **changes):
    images, labels = digits(samples)
    settings = SETTINGS | changes
    objective = Objective("mse", **DECAYS, samples=samples)
    net = network(model) if net is None else net
    return train(net, images, labels, objective, settings, 0, checkpoints)


def assert_same_states(first, second):
    assert first.keys() == second.keys()
    for epoch, state in first.items():
        for name, array in state.items():
            assert array.tobytes() == second[epoch][name].tobytes(), f"{epoch}: {name}"


def reference_objective(loss, state, z, h, y, decays, feature_decay, backbone_decay):
    """The objective of the whole set in numpy; `state` holds float64 parameters."""
    n = len(y)
    if loss == "mse":
        data = np.sum((z - np.eye(K)[y]) ** 2) / (2 * n)
    else:
        data = np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(n), y])
    heads = [state[f"head.layers.{m}.weight"] for m in range(len(decays))]
    penalty = sum(decay / 2 * np.sum(w**2) for decay, w in zip(decays, heads, strict=True))
    backbone = sum(np.sum(p**2) for name, p in state.items() if name.startswith("backbone"))
    return data, data + penalty + feature_decay / 2 * np.sum(h**2) + backbone_decay / 2 * backbone


@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_batches_of_an_epoch_add_up_to_the_objective_of_the_set(loss):
    samples, decays = 23, [0.3, 0.7]
    net = network(PLAIN).double()
    images = torch.randn(samples, 1, 8, 8, dtype=torch.float64)
    labels = torch.arange(samples) % K
    objective = Objective(loss, decays, 0.05, 0.01, samples)
    with torch.no_grad():
        logits, features = net(images)
        values = np.zeros(2)
        for part in batches(samples, 5, 0, 1):
            result = objective(net, logits[part], features[part], labels[part])
            values += len(part) / samples * torch.stack(result).numpy()
    parameters = {name: p.detach().numpy() for name, p in net.named_parameters()}
    data, total = reference_objective(
        loss, parameters, logits.numpy(), features.numpy(), labels.numpy(), decays, 0.05, 0.01
    )
    np.testing.assert_allclose(values, [total, data], rtol=1e-12)


def test_head_penalty_touches_neither_bias_nor_backbone():
    net = network()
    _, features = net(torch.randn(8, 1, 8, 8))
    logits, labels = torch.zeros(8, K), torch.zeros(8, dtype=torch.int64)
    total, data = Objective("ce", [2.0, 3.0], 0.0, 0.0, 8)(net, logits, features, labels)
    (total - data).backward()
    gradients = {name: p.grad for name, p in net.named_parameters()}
    weights = net.head.weights
    torch.testing.assert_close(gradients.pop("head.layers.0.weight"), 2.0 * weights[0])
    torch.testing.assert_close(gradients.pop("head.layers.1.weight"), 3.0 * weights[1])
    assert all(grad is None or not grad.any() for grad in gradients.values())


def test_one_weight_decay_stands_for_all_layers_and_a_wrong_number_is_refused():
    net, labels = network(), torch.zeros(8, dtype=torch.int64)
    logits, features = net(torch.randn(8, 1, 8, 8))
    values = [
        Objective("mse", decay, 0.0, 0.0, 8)(net, logits, features, labels)[0].item()
        for decay in (0.5, [0.5, 0.5])
    ]
    assert values[0] == values[1]
    with pytest.raises(ValueError):
        Objective("mse", [0.5], 0.0, 0.0, 8)(net, logits, features, labels)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_optimisers_are_those_of_pytorch_without_decay(kind):
    ours, theirs = network(PLAIN).double(), network(PLAIN).double()
    settings = SETTINGS | {"optimiser": kind}
    optimiser = optimisers.make(settings, ours)
    if kind == "adam":
        reference = torch.optim.Adam(theirs.parameters(), lr=0.01)
    else:
        reference = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(8, 1, 8, 8, dtype=torch.float64)
    for _ in range(4):
        ours(images)[0].square().sum().backward()
        optimiser.step(0.01)
        reference.zero_grad()
        theirs(images)[0].square().sum().backward()
        reference.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)


def test_sgd_without_momentum_has_no_state():
    optimiser = optimisers.SGD(dict(network().named_parameters()), 0.0)
    assert optimiser.state == {}
    settings = {"optimiser": "sgd", "learning_rate": 0.01, "momentum": 0.0}
    assert fit(**settings).status == "completed"


def test_images_are_normalised_like_the_data_set():
    images = pixels(5)
    labels = np.array([0, 1, 0, 1, 1])
    dataset = Dataset(images, labels, images, labels, (0.4,), (0.2,), 16, ("a", "b"))
    chosen, kept = training_set(dataset, {"name": "toy", "samples_per_class": 2}, CPU)
    assert kept.tolist() == [0, 1, 0, 1] and len(chosen) == 4
    expected = dataset.normalise(images[:4])
    torch.testing.assert_close(chosen.take(slice(0, 4)), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(chosen.take(torch.tensor([3, 0])), expected[[3, 0]])


@pytest.mark.parametrize("samples, sizes", [(50, [16, 16, 16, 2]), (49, [16, 16, 17])])
def test_batches_hold_every_sample_once_and_none_alone(samples, sizes):
    parts = batches(samples, 16, seed=1, epoch=2)
    assert [len(part) for part in parts] == sizes
    assert sorted(torch.cat(parts).tolist()) == list(range(samples))


def test_the_order_of_samples_follows_from_seed_and_epoch():
    order = [torch.cat(batches(40, 8, *key)).tolist() for key in [(0, 1), (0, 1), (0, 2), (1, 1)]]
    assert order[0] == order[1]
    assert len({tuple(each) for each in order}) == 3


def test_single_samples_train_without_batchnorm_and_are_refused_with_it():
    assert fit(samples=17, epochs=1).status == "completed"
    assert fit(samples=5, model=PLAIN, batch_size=1, epochs=1).status == "completed"
    with pytest.raises(InputError, match="training.batch_size"):
        fit(samples=5, batch_size=1)


def test_learning_rate_falls_in_steps():
    settings = SETTINGS | {"schedule": {"step": 2, "factor": 0.1}}
    rates = [learning_rate(settings, epoch) for epoch in range(1, 7)]
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    np.testing.assert_array_equal(fit(**settings).history["learning_rate"], rates)
    assert learning_rate(SETTINGS, 1000) == 1e-3


def test_states_are_recorded_at_log_spaced_epochs():
    result = fit(epochs=30, record=5)
    assert sorted(result.states) == [epoch for epoch in log_spaced(30, 5) if epoch]
    assert max(result.states) == 30
    assert result.history["epoch"].tolist() == list(range(1, 31))
    assert list(result.history) == ["epoch", "loss", "data_loss", "error", "learning_rate"]
    assert (result.history["loss"] > result.history["data_loss"]).all()


def test_history_of_a_full_batch_is_the_objective_before_the_step():
    net = network(PLAIN)
    images, labels = digits()
    objective = Objective("mse", **DECAYS, samples=50)
    with torch.no_grad():
        logits, features = net(images.take(slice(0, 50)))
        loss, data = objective(net, logits, features, labels)
        error = (logits.argmax(1) != labels).float().mean()
    row = fit(net=net, batch_size=50, epochs=1).history.iloc[0]
    expected = [loss.item(), data.item(), error.item()]
    np.testing.assert_allclose(row[["loss", "data_loss", "error"]], expected, rtol=1e-5)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_training_learns_random_labels(optimiser):
    rate = {"adam": 1e-2, "sgd": 0.02}[optimiser]
    history = fit(epochs=60, optimiser=optimiser, learning_rate=rate).history
    assert history["error"].iloc[-1] < 0.1 < history["error"].iloc[0]
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]


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
    result = fit(model=PLAIN, optimiser="sgd", learning_rate=1e6, batch_size=50, record=6)
    assert result.status == "diverged"
    assert result.diverged_epoch == result.diverged_step == 1 + max(result.states)
    assert result.history["epoch"].tolist() == sorted(result.states) == [1]
    assert np.isfinite(result.states[1]["head.layers.0.weight"]).all()


def test_divergence_in_the_first_epoch_leaves_an_empty_typed_history():
    result = fit(model=PLAIN, optimiser="sgd", learning_rate=1e6)
    assert result.diverged_epoch == 1 and 1 < result.diverged_step <= 4
    assert result.states == {} and len(result.history) == 0
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
    assert found.dtype == np.float32 and found.shape == (50, 12)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)


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
        with Checkpoints(folder, identity) as checkpoints:
            fit(checkpoints=checkpoints, **changes)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_broken_off_training_continues_to_the_same_bytes(monkeypatch, tmp_path, optimiser):
    changes = {"epochs": 12, "optimiser": optimiser, "schedule": {"step": 5, "factor": 0.5}}
    whole = fit(**changes)
    interrupted(monkeypatch, tmp_path / "c", {"code": "a"}, 5, **changes)
    trained = []
    epoch = trainer._Run.epoch
    monkeypatch.setattr(
        trainer._Run, "epoch", lambda self, *rest: trained.append(1) or epoch(self, *rest)
    )
    with Checkpoints(tmp_path / "c", {"code": "a"}) as checkpoints:
        rest = fit(checkpoints=checkpoints, **changes)
        checkpoints.remove()
    assert 0 < len(trained) < 12
    assert_same_states(whole.states, rest.states)
    assert whole.history.equals(rest.history)
    assert not (tmp_path / "c").exists()


def test_checkpoints_are_saved_by_time_too(monkeypatch, tmp_path):
    monkeypatch.setattr(trainer, "_SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    epochs = []
    monkeypatch.setattr(Checkpoints, "save", lambda self, epoch, parts: epochs.append(epoch))
    with Checkpoints(tmp_path, {}) as checkpoints:
        fit(checkpoints=checkpoints)
    assert epochs == [1, 2, 3, 4, 5, 6]


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
        "train_images": pixels(samples),
        "train_labels": labels,
        "test_images": pixels(K, seed=1),
        "test_labels": labels[:K],
    }
    attributes = {"mean": [0.5], "std": [0.3], "maximum": 16, "classes": list("abcd")}
    write_tensors(path, tensors, {}, attributes)


def spec_of(**training):
    config = {
        "data": {"name": "toy", "samples_per_class": 10},
        "model": MLP,
        "head": {"depth": 3, "bias": True},
        "loss": "mse",
        **DECAYS,
        "training": SETTINGS | training,
    }
    keys = {"depth": 3, "seed": 1}
    names = {"study": "toy", "experiment": "e", "run": "depth=3+seed=1"}
    return {**names, "keys": keys, "seed": 1, "config": config}


def command(folder, data, spec):
    return [
        *("train", "--spec", json.dumps(spec), "--data", str(data)),
        *("--model", str(folder / "model.safetensors")),
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
        assert not (killed / "model.safetensors").exists()
        firsts.append((killed / "checkpoints" / "state-000001.safetensors").stat().st_ino)
    capsys.readouterr()
    assert main(command(killed, data, spec)) == 0
    assert "checkpoint ignored" not in capsys.readouterr().err
    # The last successor wrote nothing again that its predecessor had recorded.
    assert firsts[1] == firsts[2]
    for name in ("model.safetensors", "history.parquet"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    assert not (killed / "checkpoints").exists()
    assert not list(killed.glob(".*"))


def test_the_stages_write_states_history_and_features(data, tmp_path):
    spec = spec_of()
    assert main(command(tmp_path, data, spec)) == 0
    states, attributes = read_tensors(tmp_path / "model.safetensors")
    assert attributes["status"] == "completed" and attributes["diverged_epoch"] is None
    assert attributes["epochs"] == [epoch for epoch in log_spaced(6, 4) if epoch]
    assert len(read_table(tmp_path / "history.parquet")) == 6
    arguments = ["features", "--spec", json.dumps(spec), "--data", str(data)]
    arguments += ["--model", str(tmp_path / "model.safetensors")]
    assert main([*arguments, "--out", str(tmp_path / "features.safetensors")]) == 0
    features, found = read_tensors(tmp_path / "features.safetensors")
    assert found == attributes | {"layers": ["H1"]}
    assert features["labels"].tolist() == [index % K for index in range(40)]
    names = {"H1": (40, 12), "W1": (12, 12), "W2": (12, 12), "W3": (K, 12), "bias": (K,)}
    for epoch in attributes["epochs"]:
        for name, shape in names.items():
            array = features[f"{epoch:06d}/{name}"]
            assert array.shape == shape and array.dtype == np.float32
        weight = states[f"{epoch:06d}/head.layers.2.weight"]
        np.testing.assert_array_equal(features[f"{epoch:06d}/W3"], weight)
    assert len(features) == 1 + len(names) * len(attributes["epochs"])


def test_a_diverged_run_succeeds_and_its_files_say_so(data, tmp_path, capsys):
    spec = spec_of(optimiser="sgd", learning_rate=1e6, epochs=40)
    spec["config"]["model"] = PLAIN
    assert main(command(tmp_path, data, spec)) == 0
    assert "diverged in epoch 1" in capsys.readouterr().err
    _, attributes = read_tensors(tmp_path / "model.safetensors")
    assert attributes["status"] == "diverged" and attributes["epochs"] == []
    assert attributes["diverged_epoch"] == 1 and attributes["diverged_step"] >= 2
    assert read_table(tmp_path / "history.parquet").empty
    arguments = ["features", "--spec", json.dumps(spec), "--data", str(data)]
    arguments += ["--model", str(tmp_path / "model.safetensors")]
    assert main([*arguments, "--out", str(tmp_path / "features.safetensors")]) == 0
    assert list(read_tensors(tmp_path / "features.safetensors")[0]) == ["labels"]


def test_features_refuse_a_model_that_does_not_fit(data, tmp_path, capsys):
    assert main(command(tmp_path, data, spec_of(epochs=1))) == 0
    spec = spec_of()
    spec["config"]["head"] = {"depth": 2, "bias": False}
    model, out = tmp_path / "model.safetensors", tmp_path / "features.safetensors"
    arguments = ["features", "--spec", json.dumps(spec), "--out", str(out), "--data", str(data)]
    assert main([*arguments, "--model", str(model)]) == 2
    assert main([*arguments, "--model", str(data)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert f"{model}: 000001/head.layers" in lines[-2]
    assert f"{data}: not a trained network" in lines[-1]
    assert not out.exists()


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
    monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
    monkeypatch.setattr(device_module, "_held", [])
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    first, second = device_module.acquire_device(), device_module.acquire_device()
    assert {first.index, second.index} == {0, 1}
    monkeypatch.setattr(
        device_module.time, "sleep", lambda seconds: os.close(device_module._held.pop())
    )
    assert device_module.acquire_device() == second
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert device_module.acquire_device() == torch.device("cuda", 0)
    for descriptor in device_module._held:
        os.close(descriptor)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu_is_deterministic_and_continues(monkeypatch, tmp_path):
    device = torch.device("cuda")
    images, labels = Images(pixels(50), (0.5,), (0.3,), 16, device), digits()[1].to(device)
    objective = Objective("mse", **DECAYS, samples=50)

    def once(checkpoints=None):
        net = network({"kind": "cnn", "channels": [8, 16]}).to(device)
        return train(net, images, labels, objective, SETTINGS, 0, checkpoints)

    first = once()
    assert_same_states(first.states, once().states)
    with Checkpoints(tmp_path, {}) as checkpoints:
        once(checkpoints)
        (tmp_path / "resume.safetensors").unlink()
        assert_same_states(first.states, once(checkpoints).states)
        assert_same_states(first.states, once(checkpoints).states)
