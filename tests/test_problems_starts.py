"""Problems that start from the features of a network, and what is measured beside its layers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from collapse import config, jobs
from collapse.artifacts import read_tensors
from collapse.errors import InputError
from collapse.metrics.similarity import cka, procrustes
from collapse.probes import State
from collapse.probes.layer_similarity import rows as rows_of
from collapse.upstream import features_by_class
from conftest import class_reference
from test_procedures_problem import CONFIG, measured, states_of

NETWORK = {
    "data": {"name": "digits", "samples_per_class": 8},
    "model": {"kind": "mlp", "hidden": [6, 6, 6], "normalisation": "none", "ending": "relu"},
    "head": {},
    "loss": "mse",
    "layers": "all",
    "weight_decay": 1e-3,
    "feature_decay": 0,
    "training": {"optimiser": "adam", "learning_rate": 0.01, "epochs": 3, "batch_size": 20},
    "seeds": 2,
}
OF = {"study": "perturbation", "experiment": "net"}
HELD = {
    "problem": {
        "kind": "perturbation",
        "classes": 10,
        "samples_per_class": 3,
        "dim": 6,
        "beta": 1e7,
    },
    "start": {"kind": "network_features", "of": OF, "from_layer": "hidden2"},
    "optimiser": {"kind": "lbfgs", "steps": 100, "tolerance": 1e-9},
    "weight_decay": 0.1,
    "feature_decay": 0.1,
    "probes": [{"kind": "layer_similarity", "of": OF}],
    "seeds": 2,
}


def atlas_of(held=HELD, **changes):
    """The config with a network and a problem that starts from it; the first seed is 1."""
    block = HELD | held | changes
    user = {"scale": "smoke", "first_seed": 1, "perturbation": {"net": NETWORK, "mine": block}}
    return config.load(CONFIG, user, "my.yaml")


def shaped(**changes):
    return {"problem": HELD["problem"] | changes}


def dumped(results, seed):
    tensors, _ = read_tensors(results / "perturbation/net/seeds=1-2/features.safetensors")
    prefix = f"seed={seed}/000003/"
    own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    return own, tensors["labels"]


def first_of_each(features, labels, count):
    rows = [features[labels == k][:count] for k in range(10)]
    return np.concatenate(rows).astype(float)


def test_held_fast_the_minimiser_is_the_features_of_its_layer(tmp_path):
    grid = {"start.from_layer": ["hidden2", "H1"]}
    rows = measured(tmp_path, atlas_of(grid=grid), "perturbation")
    for layer in grid["start.from_layer"]:
        states, runs, _ = states_of(tmp_path, "mine", "perturbation", f"from_layer={layer}")
        assert [run["keys"]["seed"] for run in runs] == [1, 2]
        for run in runs:
            features, labels = dumped(tmp_path, run["keys"]["seed"])
            assert list(features) == ["H1", "W1", "hidden1", "hidden2", "hidden3"]
            # A ReLU ends the backbone: what the head gets is the last hidden layer.
            np.testing.assert_array_equal(features["H1"], features["hidden3"])
            own = {
                name: torch.from_numpy(first_of_each(features[name], labels, 3))
                for name in ("hidden1", "hidden2", "hidden3", "H1")
            }
            end = states[f"{run['id']}/{run['steps'][-1]:06d}/H"]
            assert end.shape == (6, 30)
            np.testing.assert_allclose(end.T, own[layer], atol=1e-4)
            values = rows[(rows["seed"] == run["keys"]["seed"]) & (rows["from_layer"] == layer)]
            values = values.set_index(["layer", "metric"])["value"]
            grouped_labels = np.repeat(np.arange(10), 3)
            for name, part in own.items():
                expected = class_reference(part, grouped_labels)
                for metric in ("NC1", "NC1_ratio", "NC2_ETF"):
                    found = values[name, f"network_{metric}"]
                    assert found == pytest.approx(expected[metric], rel=1e-7)
                assert values[name, "CKA"] == pytest.approx(cka(own[layer], part), abs=1e-4)
            assert values[layer, "procrustes"] == pytest.approx(0, abs=1e-6)
            following = own["hidden1"], own["hidden2"]
            assert values["hidden1", "network_CKA"] == pytest.approx(cka(*following))
            assert values["hidden1", "network_procrustes"] == pytest.approx(procrustes(*following))
            assert ("H1", "network_CKA") not in values.index
            assert values["H1", "NC1"] == pytest.approx(values[layer, "network_NC1"], rel=1e-3)


def test_an_edit_of_the_probe_solves_nothing_again():
    plans = [
        jobs.compute(atlas, "perturbation", "mine", "all").spec
        for atlas in (atlas_of(), atlas_of(probes=[]))
    ]
    assert plans[0].digest == plans[1].digest
    (path,) = plans[0].inputs["references"]
    assert path == "perturbation/net/seeds=1-2/features.safetensors"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (shaped(dim=5), "seed=1: start: hidden2 has 6 features, problem.dim is 5"),
        (shaped(classes=9), "10 classes found, problem.classes is 9"),
        (shaped(samples_per_class=9), "9 samples of each class asked for, allowed is up to 8"),
        (
            {"start": HELD["start"] | {"from_layer": "hidden4"}},
            "no layer hidden4 in what the network dumped, allowed are hidden1, hidden2,",
        ),
    ],
)
def test_features_that_do_not_fit_are_one_line(network, tmp_path, capsys, changes, words):
    with pytest.raises(AssertionError):
        measured(network, atlas_of(probes=[], **changes), "perturbation")
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "error" in each]
    assert words in line
    assert not (network / "perturbation/mine/all/states.safetensors").exists()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Results in which the network is trained and measured."""
    folder = tmp_path_factory.mktemp("network")
    measured(folder, atlas_of(), "perturbation")
    (folder / "perturbation/mine/all/states.safetensors").unlink()
    (folder / "perturbation/mine/metrics.parquet").unlink()
    return folder


def test_features_of_a_network_that_diverged_are_refused(tmp_path, capsys, monkeypatch):
    lost = NETWORK | {"training": NETWORK["training"] | {"learning_rate": 1e30}}
    monkeypatch.setitem(globals(), "NETWORK", lost)
    with pytest.raises(AssertionError):
        measured(tmp_path, atlas_of(), "perturbation")
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "error" in each]
    assert "seed=1 diverged at step" in line and "features.safetensors" in line


def test_a_layer_without_life_has_no_likeness():
    """Its NC1 is not defined either; the other layers have theirs."""
    labels = torch.arange(3).repeat_interleave(2)
    features = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 4)))
    dumped = {
        "hidden1": features.numpy(),
        "hidden2": np.zeros((6, 2)),
        "H1": features.numpy(),
        "labels": labels.numpy(),
    }
    settings = {"kind": "layer_similarity", "of": OF}
    state = State({"probes": [settings]}, {}, features, targets=labels, last=True)
    state = replace(state, upstream=lambda path: dumped if path == "probes.0.of" else {})
    readings = {(layer, name): value for layer, name, value in rows_of(state, settings)}
    assert readings["hidden1", "CKA"] == pytest.approx(1)
    assert not any(layer == "hidden2" for layer, _ in readings)
    assert ("hidden1", "network_CKA") not in readings and ("H1", "network_NC1") in readings
    for targets in (labels.flip(0), labels.double(), None):
        with pytest.raises(InputError, match="as many samples of each class"):
            list(rows_of(replace(state, targets=targets), settings))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"H1": np.ones((4, 2)), "targets": np.ones((4, 1))}, "real targets found"),
        ({"W1": np.ones((2, 2)), "labels": np.array([0, 1])}, "no layer H1"),
    ],
)
def test_what_is_no_classifier_has_no_features_by_class(tensors, words):
    with pytest.raises(InputError, match=words):
        features_by_class(tensors, "H1", 2, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start": HELD["start"] | {"of": OF | {"read": "states"}}}, "start.of.read"),
        (
            {"problem": {"kind": "deep_linear", "class_sizes": [2, 2], "widths": 3}, "probes": []},
            "start: network_features found, a deep_linear problem has other variables",
        ),
        (
            {"start": {"kind": "network_features", "of": OF | {"experiment": "flow"}}},
            "write no features",
        ),
    ],
)
def test_a_start_from_no_features_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        atlas_of(**changes)
