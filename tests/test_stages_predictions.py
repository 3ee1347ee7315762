"""The predictions of an experiment, from its config to their table."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from collapse import config, jobs
from collapse.artifacts import read_table
from collapse.cli import main
from collapse.errors import InputError
from collapse.theory.regression import predict
from conftest import SETTINGS, SIGMA, entries, regression_arrays, study_regression, write_regression


def run(folder, job, *words):
    """Run a job as the workflow does; return its exit code."""
    replace(job.spec, results=str(folder)).write(folder / f"{job.stage}.json")
    return main([job.stage, "--spec", str(folder / f"{job.stage}.json"), *map(str, words)])


def predicted(folder, job):
    """Write the predictions of an experiment; return their file."""
    out, frames = folder / "predictions.parquet", folder / "frames.parquet"
    assert run(folder, job, "--predictions", out, "--frames", frames) == 0
    return out


@pytest.mark.parametrize("bias", [True, False])
def test_a_table_of_the_users_from_config_to_predictions(load, tmp_path, bias):
    generator = np.random.default_rng(5)
    values = generator.standard_normal((20, 4)) * [1, 10, 2, 5] + [0, 3, 1, 2]
    path = tmp_path / "mine.csv"
    pd.DataFrame(values, columns=["a", "b", "y", "z"]).to_csv(path, index=False)
    mine = {
        "data": {"name": "mine", "standardise": ["inputs"], "samples": 8},
        "model": {"kind": "mlp", "hidden": [4], "normalisation": "none", "ending": "linear"},
        "head": {"bias": bias},
        "loss": "mse",
        "weight_decay": 0.3,
        "feature_decay": None,
        "training": {k: v for k, v in SETTINGS.items() if k != "schedule"},
        "grid": {"weight_decay": [0.3, 1.5]},
        "seeds": 2,
    }
    source = {"table": str(path), "targets": ["z", "y"], "test_share": 0.25}
    atlas = load({"datasets": {"mine": source}, **study_regression(mine=mine)})
    (given,) = jobs.source(atlas, "mine", "home")
    job = jobs.data(atlas, "mine")
    assert str(path) not in json.dumps(job.told)
    out = tmp_path / "data/mine.safetensors"
    assert run(tmp_path, job, "--source", given, "--out", out) == 0
    predictions = jobs.predictions(atlas, "regression", "mine")
    assert predictions.files("data") == ["data/mine.safetensors"]
    home = tmp_path / "regression/mine"
    found, frames = home / "predictions.parquet", home / "frames.parquet"
    assert run(tmp_path, predictions, "--predictions", found, "--frames", frames) == 0
    assert read_table(frames).empty
    rows = read_table(found)
    # Every fourth row is for testing; of the other 15, eight are taken.
    kept = [row for row in range(20) if row % 4 != 3]
    y = values[kept][:, [3, 2]][np.arange(8) * 15 // 8]
    sigma = np.cov(y.T, ddof=0) if bias else y.T @ y / 8
    for decay in (0.3, 1.5):
        expected = predict(
            target_covariance=sigma.tolist(), weight_decay=decay, feature_decay=decay, bias=bias
        )
        for seed in (0, 1):
            own = rows[(rows["weight_decay"] == decay) & (rows["seed"] == seed)]
            told = own.set_index("metric")["value"]
            for name in ("loss", "rank", "weight_norm_squared"):
                assert told[name] == pytest.approx(expected[name], rel=1e-9)
            # As it is measured, about the mean: without a bias too.
            fit = 1 - expected["mse_sum"] / np.cov(y.T, ddof=0).trace()
            assert told["r2"] == pytest.approx(fit, rel=1e-9)
            vanishes = bias and decay**2 < np.linalg.eigvalsh(sigma)[0]
            assert told.get("gamma") == (pytest.approx(decay**2) if vanishes else None)
            for name, value in entries("gram", np.array(expected["gram"])).items():
                assert told[name] == pytest.approx(value, rel=1e-9)
    (folder,) = atlas.groups("regression", "mine")
    states, history = home / folder / "states.safetensors", home / folder / "history.parquet"
    job = jobs.compute(atlas, "regression", "mine", folder)
    assert job.files("data") == ["data/mine.safetensors"]
    assert run(tmp_path, job, "--states", states, "--history", history) == 0
    job = jobs.measure_group(atlas, "regression", "mine", folder)
    assert job.files("data") == ["data/mine.safetensors"]
    written = []
    for name, suffix in (("metrics", "parquet"), ("samples", "parquet"), ("features", "dump")):
        written += [f"--{name}", tmp_path / f"{name}.{suffix}"]
    assert run(tmp_path, job, *written) == 0
    assert len(read_table(tmp_path / "samples.parquet")) == 4 * 2 * 8 * 2
    last = read_table(tmp_path / "metrics.parquet").set_index("metric")["value"]
    covariances_of = last["target_covariance[0,1]"].tolist()
    assert covariances_of == pytest.approx([np.cov(y.T, ddof=0)[0, 1]] * 4, rel=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_predictions_of_free_features_are_about_the_mean_or_about_zero(
    load, tmp_path, capsys, bias
):
    mean = [1.0, -0.5]
    mine = {
        "problem": {"target_covariance": SIGMA.tolist(), "target_mean": mean, "bias": bias},
        "grid": {"weight_decay": [0.1, 0.0]},
        "seeds": 1,
    }
    atlas = load(study_regression(free_features=mine))
    out = predicted(tmp_path, jobs.predictions(atlas, "regression", "free_features"))
    rows = read_table(out)
    moment = SIGMA if bias else SIGMA + np.outer(mean, mean)
    feature = atlas.experiment("regression", "free_features").feature_decay
    expected = predict(
        target_covariance=moment.tolist(), weight_decay=0.1, feature_decay=feature, bias=bias
    )
    own = rows[rows["weight_decay"] == 0.1].set_index("metric")["value"]
    assert own["loss"] == pytest.approx(expected["loss"])
    assert own["gram[0,1]"] == pytest.approx(expected["gram"][0][1])
    # Without a decay of W, W is unbounded: no closed form, and a line that says so.
    assert set(rows["weight_decay"]) == {0.1}
    assert "no closed form: " in capsys.readouterr().out


@pytest.mark.parametrize("study", ["deep_linear", "imbalanced", "mixup", "regression"])
@pytest.mark.parametrize(
    "problem",
    [
        {"kind": "mixup", "classes": 3, "dim": 3, "classifier": "free"},
        {"kind": "perturbation", "classes": 3, "samples_per_class": 2, "dim": 3, "beta": 1.0},
        {"kind": "regression", "target_covariance": [[1.0]], "samples": 9, "dim": 3},
        {"kind": "deep_linear", "class_sizes": [3, 3], "widths": 4},
    ],
    ids=lambda problem: problem["kind"],
)
def test_a_problem_of_another_study_has_no_closed_form_and_is_none_the_worse(study, problem):
    solver = {"kind": "sgd", "learning_rate": 0.1, "steps": 5}
    decays = {"weight_decay": 1e-3, "feature_decay": 1e-3}
    block = {"problem": problem, "optimiser": solver, **decays, "seeds": 1}
    atlas = config.load("config", {"scale": "smoke", study: {"mine": block}})
    (run,) = atlas.runs(study, "mine")
    theory = import_module(f"collapse.theory.{study}")
    told = config.plain(run.config)
    try:
        assert theory.of_run(told, run.config.facts())
    except InputError as error:
        assert "closed form" in str(error)
    getattr(theory, "frame_of_run", lambda *_: {})(told, run.config.facts())


def test_a_decayed_backbone_has_no_closed_form(load, tmp_path, capsys):
    grid_of = {"grid": {"backbone_decay": [0.1, 0.0]}, "seeds": 1}
    atlas = load(study_regression(reacher={"feature_decay": 0.2} | grid_of))
    job = jobs.predictions(atlas, "regression", "reacher")
    ((path, maker),) = job.reads["data"]
    planned = {"code": maker.spec.code, "config": maker.spec.config}
    write_regression(tmp_path / path, regression_arrays(), **planned)
    out = predicted(tmp_path, job)
    assert set(read_table(out)["backbone_decay"]) == {0.0}
    assert "no closed form: backbone_decay" in capsys.readouterr().out
