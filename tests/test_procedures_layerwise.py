"""Networks trained layer by layer, from their config to their tables."""

import numpy as np
import pytest

from collapse import config, jobs
from collapse.artifacts import read_table, read_tensors
from collapse.training import trainer as trainer_module
from conftest import STUDY_KEYS, assert_metrics, class_reference
from test_procedures_problem import CONFIG, make

LAYERS = [12, 9, 7]
BLOCK = {
    "procedure": "layerwise",
    "data": {"name": "digits", "samples_per_class": 12},
    "model": {"kind": "mlp", "hidden": LAYERS, "normalisation": "none", "ending": "relu"},
    "head": {"bias": True},
    "loss": "ce",
    "weight_decay": 1e-3,
    "feature_decay": 1e-5,
    "backbone_decay": 1e-3,
    "training": {"optimiser": "sgd", "learning_rate": 0.05, "epochs": 6, "batch_size": 20},
    "seeds": 1,
}


def atlas_of(**changes):
    """The config with such an experiment, whose first seed is 1."""
    user = {"scale": "smoke", "first_seed": 1, "perturbation": {"mine": BLOCK | changes}}
    return config.load(CONFIG, user, "my.yaml")


def trained(results, atlas, seed=1):
    """Train and measure a run; return its states, what they say of it, its history and rows."""
    folder = f"perturbation/mine/seed={seed}"
    job = jobs.measure_group(atlas, "perturbation", "mine", f"seed={seed}")
    make(results, f"{folder}/metrics.parquet", job)
    states, attributes = read_tensors(results / folder / "states.safetensors")
    tables = (read_table(results / folder / f"{name}.parquet") for name in ("history", "metrics"))
    return states, attributes["runs"][0], *tables


def images(results):
    """Normalised images as rows, and labels: the first 12 of each class."""
    tensors, attributes = read_tensors(results / "data/digits.safetensors")
    labels = tensors["train_labels"]
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == k)[:12] for k in range(10)]))
    pixels = tensors["train_inputs"][chosen].reshape(len(chosen), -1) / attributes["maximum"]
    return (pixels - attributes["mean"][0]) / attributes["std"][0], labels[chosen]


def test_each_layer_is_measured_on_the_features_of_those_before_it(tmp_path):
    states, run, history, rows = trained(tmp_path, atlas_of())
    assert run["steps"] == [1, 2, 3] and run["status"] == "completed"
    assert history.groupby("stage")["epoch"].apply(list).tolist() == [[1, 2, 3, 4, 5, 6]] * 3
    assert sorted(rows["step"].unique()) == [1, 2, 3]
    values, labels = images(tmp_path)
    for step, width in enumerate(LAYERS, 1):
        state = {
            n.split("/")[2]: t.astype(float) for n, t in states.items() if f"/{step:06d}/" in n
        }
        weight, bias = (state[f"backbone.layers.1.{name}"] for name in ("weight", "bias"))
        assert weight.shape == (width, values.shape[1])
        values = np.maximum(values @ weight.T + bias, 0)
        head, shift = (state[f"head.layers.0.{name}"] for name in ("weight", "bias"))
        found = rows[(rows["step"] == step) & (rows["layer"] == "H1")]
        found = found.set_index("metric")["value"]
        reference = class_reference(values, labels, head, shift)
        expected = {key: reference[key] for key in STUDY_KEYS}
        assert_metrics({key: found[key] for key in expected}, expected, rel=1e-4)
        error = rows[(rows["step"] == step) & (rows["metric"] == "error")]["value"].item()
        assert error == pytest.approx(np.mean((values @ head.T + shift).argmax(1) != labels))
        # Each layer learns: the error of its head falls from epoch to epoch.
        losses = history.loc[history["stage"] == step, "objective"].to_numpy()
        assert losses[-1] < losses[0]
    folder = tmp_path / "perturbation/mine/seed=1"
    features, attributes = read_tensors(folder / "features.safetensors")
    np.testing.assert_allclose(features["seed=1/000003/H1"], values, rtol=1e-4, atol=1e-5)
    assert attributes["layers"] == ["H1"]


def test_no_layer_starts_as_another_nor_as_that_of_another_seed(tmp_path):
    still = BLOCK["training"] | {"learning_rate": 1e-30, "epochs": 1}
    model = BLOCK["model"] | {"hidden": [64, 64]}
    atlas = atlas_of(training=still, model=model, seeds=2)
    starts = [
        states[f"seed={seed}/{step:06d}/backbone.layers.1.weight"]
        for seed in (1, 2)
        for states in [trained(tmp_path, atlas, seed)[0]]
        for step in (1, 2)
    ]
    assert all(start.shape == (64, 64) for start in starts)
    pairs = [(a, b) for i, a in enumerate(starts) for b in starts[:i]]
    assert all(abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1 for a, b in pairs)


def test_a_broken_off_training_goes_on_at_the_layer_it_was_at(tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    atlas = atlas_of()
    trained(whole, atlas)
    epoch, calls = trainer_module.Trainer.epoch, []

    def limited(self, number):
        calls.append(number)
        # In the second epoch of the second layer.
        if len(calls) == 8:
            raise KeyboardInterrupt
        return epoch(self, number)

    monkeypatch.setattr(trainer_module.Trainer, "epoch", limited)
    with pytest.raises(AssertionError, match="130"):
        trained(broken, atlas)
    checkpoints = broken / "perturbation/mine/seed=1/checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == [
        "layer-000001",
        "layer-000002",
        "lock",
    ]
    trained(broken, atlas)
    # None of the first layer's, and of the second's what no checkpoint holds.
    assert calls[8:][-6:] == [1, 2, 3, 4, 5, 6] and len(calls[8:]) <= 12
    assert not checkpoints.exists()
    for name in ("states.safetensors", "history.parquet", "metrics.parquet"):
        files = [folder / "perturbation/mine/seed=1" / name for folder in (whole, broken)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_layer_that_diverges_ends_the_run(tmp_path, capsys):
    training = BLOCK["training"] | {"learning_rate": 1e6}
    states, run, history, rows = trained(tmp_path, atlas_of(training=training, loss="mse"))
    assert run["status"] == "diverged" and run["diverged_at"] == 1 and run["steps"] == []
    assert "seed=1: layer 1 diverged in epoch" in capsys.readouterr().err
    assert not states and history.empty
    assert rows[["step", "metric"]].values.tolist() == [[1, "diverged"]]
