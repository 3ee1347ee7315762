"""Networks from their data to their tables: trained and measured."""

import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

import collapse
from collapse.artifacts import read_table, read_tensors, stored_provenance, write_tensors
from collapse.cli import main
from collapse.config.section import Section
from collapse.config.sections.procedure import network as network_procedure
from collapse.data import dataset
from collapse.grid import assign, expand
from collapse.metrics import (
    confidence,
    confidence_gap,
    expected_calibration_error,
    reliability,
    study_metrics,
)
from collapse.procedures.network import measure as network_measure
from collapse.schedule import log_spaced
from collapse.theory.frame import lengths
from conftest import (
    CE,
    DECAYS,
    MLP,
    MSE,
    PLAIN,
    SETTINGS,
    SGD,
    K,
    fit,
    pixels,
    regression_arrays,
    regression_objective,
    write_regression,
    write_spec,
)


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
        "layers": "last",
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


def without(spec, unread):
    """What a job of these runs reads: their spec without the keys that it leaves alone."""
    config = {key: value for key, value in spec["config"].items() if key not in unread}
    common = {"procedure": "network", "references": {}, "stacked": True}
    return spec | {"config": config}, common


def command(folder, data, spec):
    group, common = without(spec, network_procedure.Section.measure_only)
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


# Checkpoints as often as can be: how often they are written otherwise follows from the disk's pace.
EAGER = """
import sys
from collapse.cli import main
from collapse.training import history
history.SHARE = 0.5
sys.exit(main(sys.argv[1:]))
"""


def start(arguments):
    source = str(Path(collapse.__file__).parents[1])
    # On a CPU, as the jobs that run in the process of the tests.
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    environment |= {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", EAGER, *arguments],
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
    firsts, early = [], None
    for index, seconds in ((0, 0.0), (20, 0.01), (40, 0.04)):
        process = early or start(command(killed, data, spec))
        state = killed / "checkpoints" / f"state-{recorded[index]:06d}.safetensors"
        if index == 20:
            # The successor that comes too early waits for the orphan's end, and goes on.
            while not state.exists():
                time.sleep(0.002)
            early = start(command(killed, data, spec))
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


def framed(folder, data, *specs, theory="collapse.theory.imbalanced"):
    """Write the frames of the runs of an experiment, if a theory has some; return their file."""
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
    job = {"theory": theory, "keys": keys_in(specs[0]), "runs": runs if theory else []}
    written = [f"--{name}={folder / name}.parquet" for name in ("predictions", "frames")]
    spec = write_spec(folder, "predictions", job, data=[data])
    assert main(["predictions", *spec, *written]) == 0
    return folder / "frames.parquet"


def keys_in(spec):
    return [*(path.rsplit(".", 1)[-1] for path in spec["order"]), "seed"]


def measured(folder, data, spec, *others, probes=("classifier",)):
    """The command that measures a group of an experiment, which may have others."""
    group, common = without(spec, network_procedure.Section.compute_only)
    kinds = [probe if isinstance(probe, dict) else {"kind": probe} for probe in probes]
    job = {"groups": [group], "keys": keys_in(spec), "probes": kinds, **common}
    theory = {} if "classifier" in probes else {"theory": None}
    reads = {
        "states": [folder / "states.safetensors"],
        "histories": [folder / "history.parquet"],
        "frames": [framed(folder, data, spec, *others, **theory)],
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
            direct = study_metrics(torch.from_numpy(features[f"{run}/{epoch:06d}/H1"]), labels)
            assert value == pytest.approx(direct["NC1"], rel=1e-5)
            trained = history[(history["seed"] == int(run[-1])) & (history["epoch"] == epoch)]
            objective = own[own["metric"] == "loss"]
            assert objective["layer"].tolist() == ["all"]
            assert objective["value"].tolist() == trained["objective"].tolist()
    assert len(features) == 1 + 2 * len(names) * len(written)
    held_out = metrics[metrics["metric"].str.startswith("test_accuracy")]
    assert (held_out["step"] == 6).all() and len(held_out) == 2 * (1 + K)
    assert held_out["value"].between(0, 1).all()
    assert sorted(metrics["step"].unique()) == recorded
    samples = read_table(tmp_path / "samples.parquet")
    assert samples.empty and list(samples) == ["depth", "seed", "step", "layer", "probe"]


def test_an_experiment_in_one_job_computes_and_measures_what_one_job_a_shape_does(data, tmp_path):
    def done(name, point, **lists):
        spec = spec_of(seeds=(1, 4), epochs=2)
        order = ["model.hidden", "head.depth", "weight_decay"]
        spec |= {"order": order, "point": point, "grid": lists}
        spec["config"] = assign(spec["config"], point)
        folder = tmp_path / name
        folder.mkdir()
        assert main(command(folder, data, spec)) == 0
        assert main(measured(folder, data, spec)) == 0
        tensors, attributes = read_tensors(folder / "states.safetensors")
        tables = [read_table(folder / f"{name}.parquet") for name in ("history", "metrics")]
        return tensors, attributes["runs"], *tables

    widths, decays = [[16, 12], [8]], {"weight_decay": [1e-3, 1e-2]}
    grid = {"model.hidden": widths, "head.depth": [1, 2]}
    whole = done("whole", {}, **grid, **decays)
    parts = [
        done(f"{number}", {"model.hidden": hidden, "head.depth": depth}, **decays)
        for number, (hidden, depth) in enumerate(product(*grid.values()))
    ]
    assert whole[0].keys() == {name for part in parts for name in part[0]}
    for name, array in (item for part in parts for item in part[0].items()):
        assert array.tobytes() == whole[0][name].tobytes(), name
    assert whole[1] == [run for part in parts for run in part[1]]
    for place in (2, 3):
        joined = pd.concat([part[place] for part in parts], ignore_index=True)
        pd.testing.assert_frame_equal(whole[place], joined, check_dtype=False)


def test_calibration_is_of_held_out_samples_at_the_end(data, tmp_path, monkeypatch):
    asked = []

    def held_out(*arguments):
        asked.append(compute_held_out(*arguments))
        return asked[-1]

    compute_held_out = network_measure._held_out
    monkeypatch.setattr(network_measure, "_held_out", held_out)
    spec, bins = spec_of(), 5
    assert main(command(tmp_path, data, spec)) == 0
    probes = ("classifier", {"kind": "calibration", "bins": bins})
    assert main(measured(tmp_path, data, spec, probes=probes)) == 0
    # For the rows and points of all probes there is one pass over the samples.
    ((logits, labels),) = asked
    metrics = read_table(tmp_path / "metrics.parquet")
    rows = metrics[metrics["metric"].isin(["ECE", "confidence", "confidence_gap"])]
    assert (rows["step"] == 6).all() and (rows["layer"] == "all").all()
    assert dict(zip(rows["metric"], rows["value"], strict=True)) == {
        "ECE": expected_calibration_error(logits, labels, bins),
        "confidence": confidence(logits),
        "confidence_gap": confidence_gap(logits, labels),
    }
    accuracy = metrics.loc[metrics["metric"] == "test_accuracy", "value"].item()
    assert confidence(logits) - accuracy == pytest.approx(confidence_gap(logits, labels))
    points = read_table(tmp_path / "samples.parquet")
    assert (points["probe"] == "calibration").all() and (points["step"] == 6).all()
    expected = reliability(logits, labels, bins)
    filled = expected.count > 0
    assert points["bin"].tolist() == filled.nonzero().flatten().tolist()
    columns = ("low", "high", "count", "bin_confidence", "bin_accuracy")
    for column, values in zip(columns, expected, strict=True):
        assert points[column].tolist() == values[filled].tolist(), column


def test_mixed_samples_are_measured_of_every_state_and_further_views_of_the_last(data, tmp_path):
    spec = spec_of(record=3)
    spec["config"]["input"] = {"kind": "mixup", "alpha": 1.0, "per_sample": False}
    assert main(command(tmp_path, data, spec)) == 0
    common = {"views": ["train", "eval"], "augmentation": [], "layers": "all"}
    curves = {"kind": "mixed_curves", "pairs": 3, "samples": 2, "mixes": 5} | common
    points = {"kind": "mixed_points", "classes": [0, 2, 3], "batches": 2, "batch_size": 8} | common
    probes = ("mixed_labels", curves, points)
    assert main(measured(tmp_path, data, spec, probes=probes)) == 0
    metrics, samples = (read_table(tmp_path / f"{name}.parquet") for name in ("metrics", "samples"))
    history = read_table(tmp_path / "history.parquet").set_index("epoch")
    recorded = [epoch for epoch in log_spaced(6, 3) if epoch]
    own = metrics.set_index(["step", "layer", "metric"])["value"]
    excess = (history["data_loss"] - history["label_entropy"]).cummin()
    for epoch in recorded:
        assert own[epoch, "all", "training_loss"] == history.loc[epoch, "data_loss"]
        assert own[epoch, "all", "least_excess"] == excess[epoch]
        for layer in ("hidden1", "hidden2", "H1"):
            assert (
                own[epoch, layer, "convex_r2"] < 1 and (epoch, layer, "amplification_half") in own
            )
        seen = samples[samples["step"] == epoch]
        views = {"train", "eval"} if epoch == 6 else {"train"}
        for probe, rest in (("mixed_curves", set()), ("mixed_points", {"weights"})):
            assert set(seen.loc[seen["probe"] == probe, "view"]) == views | rest
    assert samples["step"].unique().tolist() == recorded
    # Networks in training mode leave no trace in what is dumped of the last epoch.
    dumped, _ = read_tensors(tmp_path / "features.safetensors")
    assert main(measured(tmp_path, data, spec, probes=("mixed_labels",))) == 0
    for name, array in read_tensors(tmp_path / "features.safetensors")[0].items():
        np.testing.assert_array_equal(array, dumped[name])


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


def test_a_run_whose_features_overflow_diverged(data, tmp_path):
    spec, path = spec_of(record=3), tmp_path / "states.safetensors"
    assert main(command(tmp_path, data, spec)) == 0
    tensors, attributes = read_tensors(path)
    (run,) = attributes["runs"]
    first, *_, last = run["steps"]
    backbone = [name for name in tensors if f"/{last:06d}/backbone" in name]
    tensors |= {name: tensors[name] * np.float32(1e18) for name in backbone if "weight" in name}
    write_tensors(path, tensors, stored_provenance(path), attributes)
    probes = ("classifier", {"kind": "calibration", "bins": 5})
    assert main(measured(tmp_path, data, spec, probes=probes)) == 0
    metrics = read_table(tmp_path / "metrics.parquet")
    assert metrics.loc[metrics["step"] == last, "metric"].tolist() == ["diverged"]
    assert "NC1" in set(metrics.loc[metrics["step"] == first, "metric"])


def test_states_that_do_not_fit_are_refused(data, tmp_path, capsys):
    assert main(command(tmp_path, data, spec_of(epochs=1))) == 0
    spec = spec_of()
    spec["config"]["head"] = {"depth": 2, "bias": False, "init": "orthogonal"}
    assert main(measured(tmp_path, data, spec)) == 2
    assert main(measured(tmp_path, data, spec_of(seeds=(1, 2)))) == 2
    (tmp_path / "states.safetensors").write_bytes(data.read_bytes())
    assert main(measured(tmp_path, data, spec)) == 2
    # Beside what tells of progress.
    lines = [line for line in capsys.readouterr().err.splitlines() if line[-5:] != " left"]
    states = tmp_path / "states.safetensors"
    assert f"{states}: depth=3+seed=1, step 1: head.layers" in lines[-3]
    assert f"{states}: holds no run 'depth=3+seed=2'" in lines[-2]
    assert f"{states}: holds no run 'depth=3+seed=1'" in lines[-1]
    assert not (tmp_path / "features.safetensors").exists()


def regression_spec(grid=None, seeds=(1,), data=None, **training):
    settings = {"optimiser": SGD, "learning_rate": 0.02, "epochs": 5, "batch_size": 4, "record": 3}
    spec = spec_of(seeds, **settings | {"precision": "float32"} | training)
    spec["config"] |= {
        "data": {"name": "toy"} | (data or {}),
        "model": {
            "kind": "mlp",
            "hidden": [8, 6],
            "normalisation": "none",
            "ending": "relu",
            "init": "uniform",
        },
        "head": {"depth": 1, "bias": True, "init": "uniform"},
        "weight_decay": 1e-2,
        "feature_decay": 2e-2,
        "decayed": "weights",
    }
    return spec | {"point": {}, "grid": grid or {}, "order": list(grid or {})}


def trained(folder, spec, arrays):
    """Train and measure; return the history, the rows, the points and the features."""
    data = write_regression(folder / "toy.safetensors", arrays)
    assert main(command(folder, data, spec)) == 0
    assert main(measured(folder, data, spec, probes=("regression", "residuals"))) == 0
    features, attributes = read_tensors(folder / "features.safetensors")
    assert attributes["layers"] == ["H1"]
    tables = (read_table(folder / f"{name}.parquet") for name in ("history", "metrics", "samples"))
    return *tables, features


def forward(state, prefix, inputs):
    """The ReLU network in numpy: its features and outputs."""
    values = inputs
    for layer in ("backbone.layers.1", "backbone.layers.3"):
        weight, bias = (state[f"{prefix}{layer}.{name}"] for name in ("weight", "bias"))
        values = np.maximum(values @ weight.T.astype(float) + bias, 0)
    weight, bias = (state[f"{prefix}head.layers.0.{name}"] for name in ("weight", "bias"))
    return values, values @ weight.T.astype(float) + bias


@pytest.mark.parametrize("standardise", [[], ["inputs", "targets"]])
def test_a_regression_from_data_to_tables(tmp_path, standardise):
    grid = {"weight_decay": [1e-2, 0.1]}
    spec = regression_spec(grid, seeds=(1, 4), data={"standardise": standardise, "samples": 10})
    arrays = regression_arrays(samples=20)
    history, rows, points, features = trained(tmp_path, spec, arrays)
    assert list(history)[:3] == ["weight_decay", "seed", "epoch"] and len(history) == 4 * 5
    recorded = list(log_spaced(5, 3))
    assert recorded[0] == 0 and sorted(rows["step"].unique()) == recorded
    assert not rows.duplicated(["weight_decay", "seed", "step", "layer", "metric"]).any()
    chosen = dataset.prepare(dataset.load(tmp_path / "toy.safetensors"), spec["config"]["data"])
    inputs, tested = chosen.inputs[:, :, 0, 0], chosen.test_inputs[:, :, 0, 0]
    y, aims = chosen.targets, chosen.test_targets
    np.testing.assert_allclose(features["targets"], y, rtol=1e-6)
    assert features["targets"].shape == (10, 2) and "labels" not in features
    columns = ["step", "layer", "probe", "sample", "output", "target", "residual"]
    assert list(points) == ["weight_decay", "seed", *columns]
    assert (points["layer"] == "all").all() and (points["probe"] == "residuals").all()
    assert not rows["metric"].str.contains("residual\\[|^target\\[").any()
    state, attributes = read_tensors(tmp_path / "states.safetensors")
    assert [each["status"] for each in attributes["runs"]] == ["completed"] * 4
    for run in attributes["runs"]:
        assert run["steps"] == recorded
        own = rows[
            (rows["weight_decay"] == run["keys"]["weight_decay"])
            & (rows["seed"] == run["keys"]["seed"])
        ]
        single = points[
            (points["weight_decay"] == run["keys"]["weight_decay"])
            & (points["seed"] == run["keys"]["seed"])
        ]
        # Single residuals at the first and the last epoch, what never changes at the last.
        assert single["step"].unique().tolist() == [0, 5] and len(single) == 2 * 20
        for epoch in recorded:
            here = own[own["step"] == epoch]
            values = here.set_index(["layer", "metric"])["value"]
            prefix = f"{run['id']}/{epoch:06d}/"
            h, z = forward(state, prefix, inputs)
            error = z - y
            spread = np.sum((y - y.mean(0)) ** 2)
            assert values["all", "r2"] == pytest.approx(1 - np.sum(error**2) / spread, rel=1e-3)
            assert values["all", "mse"] == pytest.approx(np.mean(error**2), rel=1e-4)
            w = state[f"{prefix}head.layers.0.weight"].astype(float)
            b = state[f"{prefix}head.layers.0.bias"].astype(float)
            loss = regression_objective(w, h.T, b, y.T, run["keys"]["weight_decay"], 2e-2)
            assert values["all", "loss"] == pytest.approx(loss, rel=1e-4)
            missed = forward(state, prefix, tested)[1] - aims
            scatter = np.sum((aims - aims.mean(0)) ** 2)
            assert values["all", "test_mse"] == pytest.approx(np.mean(missed**2), rel=1e-4)
            assert values["all", "test_r2"] == pytest.approx(
                1 - np.sum(missed**2) / scatter, rel=1e-3
            )
            if epoch in (0, 5):
                at = single[single["step"] == epoch]
                assert at["sample"].tolist() == [k for k in range(10) for _ in range(2)]
                assert at["output"].tolist() == [0, 1] * 10
                found = at[["residual", "target"]].to_numpy().T.reshape(2, 10, 2)
                np.testing.assert_allclose(found, [error, y - y.mean(0)], rtol=1e-3, atol=1e-5)
            assert (("all", "target_covariance[0,1]") in values.index) == (epoch == 5)
        assert values["all", "samples"] == 10
        sigma = np.cov(y.T, ddof=0)
        assert values["all", "target_covariance[0,1]"] == pytest.approx(sigma[0, 1], rel=1e-4)
        # The last rows are what `measure` says of the features that are written.
        dumped = {
            name: torch.from_numpy(features[f"{run['id']}/000005/{name}"])
            for name in ("H1", "W1", "bias")
        }
        np.testing.assert_allclose(dumped["H1"], h, rtol=1e-3, atol=1e-4)
        direct = study_metrics(
            dumped["H1"],
            targets=torch.from_numpy(features["targets"]),
            weight=dumped["W1"],
            bias=dumped["bias"],
        )
        for name, value in direct.items():
            if isinstance(value, float):
                layer = "all" if name in ("r2", "mse") else "H1"
                assert values[layer, name] == pytest.approx(value, rel=1e-9)
        last = history[
            (history["weight_decay"] == run["keys"]["weight_decay"])
            & (history["seed"] == run["keys"]["seed"])
        ].iloc[-1]
        assert last["objective"] > last["data_loss"] > 0
    assert len(features) == 1 + 4 * 3


def test_feature_decay_of_a_regression_is_a_mean_over_samples(tmp_path):
    """With one batch the first epoch's objective is that of the start, whose formula is known."""
    arrays = regression_arrays()
    spec = regression_spec({"feature_decay": [0.0, 0.5]}, batch_size=12)
    history, rows, *_ = trained(tmp_path, spec, arrays)
    state, _ = read_tensors(tmp_path / "states.safetensors")
    first = history[history["epoch"] == 1].set_index("feature_decay")
    for decay in (0.0, 0.5):
        prefix = f"feature_decay={decay:g}+seed=1/000000/"
        h, z = forward(state, prefix, arrays["train_inputs"])
        w = state[f"{prefix}head.layers.0.weight"].astype(float)
        b = state[f"{prefix}head.layers.0.bias"].astype(float)
        expected = regression_objective(w, h.T, b, arrays["train_targets"].T, 1e-2, decay)
        assert first.loc[decay, "objective"] == pytest.approx(expected, rel=1e-5)
        own = rows[(rows["feature_decay"] == decay) & (rows["step"] == 0)]
        values = own.set_index("metric")["value"]
        assert values["loss"] == pytest.approx(expected, rel=1e-5)
        error = z - arrays["train_targets"]
        assert first.loc[decay, "error"] == pytest.approx(np.mean(error**2), rel=1e-5)
    assert first["objective"].diff().iloc[-1] > 1e-3


def test_a_regression_without_test_samples(tmp_path):
    _, rows, points, _ = trained(tmp_path, regression_spec(), regression_arrays(test=0))
    assert not rows["metric"].str.startswith("test_").any()
    assert {"r2", "NRC1", "NRC3_c"} <= set(rows["metric"]) and len(points) == 2 * 12 * 2
