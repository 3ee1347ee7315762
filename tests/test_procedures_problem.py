"""Problems from their config to their tables: solved, predicted and measured."""

import math
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from collapse import config, jobs
from collapse.artifacts import read_table, read_tensors
from collapse.cli import main
from collapse.schedule import log_spaced
from collapse.theory import regression
from collapse.theory.frame import lengths
from conftest import entries

CONFIG = Path(__file__).resolve().parents[1] / "config"
WRITES = {
    # Whatever the data set is called.
    "data": {"out": ""},
    "compute": {"states": "states.safetensors", "history": "history.parquet"},
    "predictions": {"predictions": "predictions.parquet", "frames": "frames.parquet"},
    "measure_runs": {
        "metrics": "metrics.parquet",
        "samples": "samples.parquet",
        "features": "features.safetensors",
    },
}
DESCENT = {"kind": "sgd", "learning_rate": 0.3, "momentum": 0.9, "steps": 3000, "record": 5}
BLOCK = {
    "problem": {"kind": "deep_linear", "class_sizes": [8, 4, 2], "widths": 5, "init_scale": 0.4},
    "optimiser": DESCENT,
    "weight_decay": 1e-2,
    "feature_decay": 5e-3,
    "seeds": 1,
}


def atlas_of(study="imbalanced", **experiments):
    """The config with a user's experiments, whose first seed is 1."""
    user = {"scale": "smoke", "first_seed": 1, study: experiments}
    return config.load(CONFIG, user, "my.yaml")


def block(depth=1, bias=False, widths=5, **changes):
    """K = 3 classes of 8, 4 and 2."""
    problem = BLOCK["problem"] | {"depth": depth, "bias": bias, "widths": widths}
    return BLOCK | {"problem": problem} | changes


def command(results, path, job):
    """The command line of the job that makes a file; its spec is written."""
    place = (results / path).parent
    replace(job.spec, results=str(results)).write(place / f"{job.stage}.json")
    words = [job.stage, "--spec", str(place / f"{job.stage}.json")]
    for option, name in WRITES[job.stage].items():
        words += [f"--{option}", str(place / (name or Path(path).name))]
    return words


def make(results, path, job):
    """Make a file and before it all that its job reads, as the workflow does."""
    for read, maker in chain(*job.reads.values()):
        if not (results / read).exists():
            make(results, read, maker)
    assert main(command(results, path, job)) == 0


def measured(results, atlas, study="imbalanced", name="mine"):
    """Compute, predict and measure an experiment; return its rows."""
    path = f"{study}/{name}/metrics.parquet"
    make(results, path, jobs.measure(atlas, study, name))
    return read_table(results / path)


def states_of(results, name="mine", study="imbalanced", group="all"):
    """The tensors of a group's states, what they say of their runs, and the history."""
    folder = results / study / name / group
    tensors, attributes = read_tensors(folder / "states.safetensors")
    return tensors, attributes["runs"], read_table(folder / "history.parquet")


def solved(results, depth=1, bias=False, **changes):
    """Solve the classes as one experiment; return its rows, and its states with their history."""
    rows = measured(results, atlas_of(mine=block(depth, bias, **changes)))
    assert not (rows["metric"] == "diverged").any()
    return rows, *states_of(results)


GOF_KEYS = ["NC2_W_GOF", "NC2_GOF", "NC3_GOF", "duality_GOF"]


@pytest.mark.parametrize("depth", [1, 2])
def test_solved_problems_collapse_to_the_frame_of_their_own_decays(tmp_path, depth):
    rows, *_ = solved(tmp_path, depth, grid={"weight_decay": [4e-3, 1e-2]})
    last = rows[(rows["step"] == 3000) & (rows["layer"] == "H1")]
    assert last["weight_decay"].nunique() == 2
    for decay, found in last.groupby("weight_decay"):
        values = found.set_index("metric")["value"]
        assert (values[GOF_KEYS] < 1e-10).all() and values["W_div_H"] < 1e-8
        assert values["NC2_OF"] > 0.1
        # lambda_W ||W_m row||^2 = lambda_H sum over samples of ||h||^2, class by class.
        for k, size in enumerate((8, 4, 2)):
            samples = size * 5e-3 * values[f"feature_norm[{k}]"] ** 2
            weights = decay * values[f"weight_norm[{k}]"] ** (2 / depth)
            assert weights == pytest.approx(samples, rel=1e-8)
            assert values[f"alignment[{k}]"] == pytest.approx(1, abs=1e-10)
    start = rows[(rows["step"] == 0) & rows["metric"].isin(GOF_KEYS)]
    assert len(start) == 8 and (start["value"] > 0.1).all()
    # Inner products are kept of the last state only.
    grams = rows[rows["metric"].str.contains("_gram|class_size")]
    assert set(grams["step"]) == {3000} and len(grams) == 2 * (6 + 6 + 3)
    sizes = grams[grams["metric"].str.startswith("class_size")]
    assert sizes["value"].tolist() == [8, 4, 2] * 2 and set(sizes["layer"]) == {"all"}


def test_each_stage_of_a_sweep_is_compared_with_its_own_frame(tmp_path):
    path = [0.05, 0.1, 0.2]
    sweep = {"scaled_decay": path, "direction": "up", "perturbation": 1e-3}
    grid = {"sweep.direction": ["up", "down"]}
    rows, states, _, history = solved(tmp_path, 2, sweep=sweep, grid=grid)
    # b/n of the largest class is M N/n (N lambda_1 lambda_2 lambda_H)^(1/M); all scale together.
    now = 2 * 14 / 8 * math.sqrt(14 * 1e-2 * 1e-2 * 5e-3)
    for direction in ("up", "down"):
        scaled = path if direction == "up" else path[::-1]
        told = history.loc[history["direction"] == direction, "scaled_decay"]
        assert told.tolist() == pytest.approx(scaled)
        own = rows[(rows["direction"] == direction) & (rows["layer"] == "H1")]
        stages = sorted(own["step"].unique())
        assert stages == [3000, 6000, 9000]
        for stage, step in enumerate(stages):
            factor = (scaled[stage] / now) ** (2 / 3)
            decays = [factor * 1e-2] * 2, factor * 5e-3
            frame = lengths([8, 4, 2], 14, *decays)
            w1, w2 = (states[f"direction={direction}+seed=1/{step:06d}/W{m}"] for m in (1, 2))
            spread = (w2 @ w1) @ (w2 @ w1).T
            target = np.diag(frame.weights**2)
            expected = spread / np.linalg.norm(spread) - target / np.linalg.norm(target)
            values = own[own["step"] == step].set_index("metric")["value"]
            assert values["NC2_W_GOF"] == pytest.approx(np.linalg.norm(expected), abs=1e-12)
            # The class of 2 collapses beyond 2/8 of tau_2 = 0.5, and does not come back.
            assert (frame.weights > 0).tolist() == [True, True, scaled[stage] < 0.125]
            assert ("W_div_H" in values.index) == (frame.weights[2] > 0)
            reached = direction == "up" or stage == 0
            assert (values[GOF_KEYS] < 1e-6).all() if reached else values["NC2_GOF"] > 0.1


def test_with_a_bias_there_is_no_frame_to_compare_with(tmp_path):
    rows, *_ = solved(tmp_path, bias=True)
    metrics = set(rows["metric"])
    assert not metrics & {*GOF_KEYS, "W_div_H"}
    assert {"NC2_W", "weight_norm[2]", "product_gram[0,1]", "class_size[2]"} <= metrics


def test_the_states_of_a_problem_are_written_under_their_run_and_step(tmp_path):
    rows, states, runs, history = solved(
        tmp_path, 11, bias=True, optimiser=DESCENT | {"steps": 20}, grid={"weight_decay": [0, 0.1]}
    )
    recorded = list(log_spaced(20, 5))
    names = ["H", *(f"W{m}" for m in range(1, 12)), "bias"]
    assert [run["id"] for run in runs] == ["weight_decay=0+seed=1", "weight_decay=0.1+seed=1"]
    for run in runs:
        assert run["keys"] == {"weight_decay": float(run["id"][13:].split("+")[0]), "seed": 1}
        assert (run["status"], run["diverged_at"], run["steps"]) == ("completed", None, recorded)
        # H has a column for each class and each of its dimensions, of the 14 samples.
        assert states[f"{run['id']}/basis"].shape == (3 + 5, 14)
        for step in recorded:
            shapes = [states[f"{run['id']}/{step:06d}/{name}"].shape for name in names]
            assert shapes == [(5, 8), *[(5, 5)] * 10, (3, 5), (3,)]
    assert len(states) == 2 * (1 + len(names) * len(recorded))
    columns = ["weight_decay", "seed", "step", "objective", "gradient_norm"]
    assert list(history) == columns and history["step"].tolist() == 2 * recorded
    scalars = rows[rows["metric"].isin(["loss", "gradient_norm"]) & (rows["layer"] == "all")]
    for name, kept in (("loss", "objective"), ("gradient_norm", "gradient_norm")):
        found = scalars.loc[scalars["metric"] == name, "value"]
        assert found.tolist() == history[kept].tolist()
    # Eleven layers are measured in their order, whatever that of their names in the file.
    for run in runs:
        own = rows[(rows["weight_decay"] == run["keys"]["weight_decay"]) & (rows["step"] == 20)]
        product = np.eye(5)
        for m in range(1, 12):
            product = states[f"{run['id']}/000020/W{m}"] @ product
        value = own.loc[own["metric"] == "weight_norm[0]", "value"].item()
        assert value == pytest.approx(np.linalg.norm(product[0]), rel=1e-10)


def test_learning_rates_side_by_side_are_measured_though_measuring_reads_none(tmp_path):
    quick = DESCENT | {"steps": 5, "momentum": 0.0}
    rows, states, *_ = solved(
        tmp_path, optimiser=quick, grid={"optimiser.learning_rate": [0.01, 0.3]}
    )
    objective = rows[rows["metric"] == "loss"].set_index(["learning_rate", "step"])["value"]
    assert objective[0.01, 0] == objective[0.3, 0]
    assert objective[0.01, 0] > objective[0.01, 5] > objective[0.3, 5]
    # One step goes along the same gradient, so far as its rate says.
    ends = [
        states[f"learning_rate={rate}+seed=1/000001/W1"]
        - states[f"learning_rate={rate}+seed=1/000000/W1"]
        for rate in (0.01, 0.3)
    ]
    np.testing.assert_allclose(30 * ends[0], ends[1], rtol=1e-10, atol=1e-13)


def test_a_list_of_optimisers_goes_from_the_config_to_the_optimum(tmp_path):
    optimisers = [DESCENT | {"steps": 50}, {"kind": "lbfgs", "steps": 5000, "tolerance": 1e-11}]
    rows, states, runs, history = solved(
        tmp_path, 2, optimiser=optimisers, grid={"feature_decay": [5e-3, 2e-2]}
    )
    predicted = read_table(tmp_path / "imbalanced/mine/predictions.parquet")
    for run in runs:
        assert run["steps"][:-1] == list(log_spaced(50, 5)) and run["steps"][-1] > 51
        decay, end = run["keys"]["feature_decay"], f"{run['id']}/{run['steps'][-1]:06d}"
        assert f"{run['id']}/basis" not in states and states[f"{end}/H"].shape == (5, 14)
        own = predicted[(predicted["feature_decay"] == decay) & (predicted["metric"] == "loss")]
        last = history[history["feature_decay"] == decay].iloc[-1]
        assert last["objective"] == pytest.approx(own["value"].item(), rel=1e-10)
        assert last["gradient_norm"] < 1e-8
        values = rows[(rows["feature_decay"] == decay) & (rows["step"] == run["steps"][-1])]
        values = values[values["layer"] == "H1"].set_index("metric")["value"]
        assert (values[GOF_KEYS] < 1e-6).all()


def test_each_optimiser_of_a_list_starts_where_the_one_before_ended(tmp_path):
    parts = [DESCENT | {"momentum": 0.0, "steps": steps} for steps in (20, 30, 10)]
    whole = block(2, bias=True, optimiser=parts[0] | {"steps": 60})
    atlas = atlas_of(mine=block(2, bias=True, optimiser=parts), whole=whole)
    for name in ("mine", "whole"):
        measured(tmp_path, atlas, name=name)
    steps = sorted({*log_spaced(20, 5), *(20 + step for step in log_spaced(30, 5))})
    steps += [50 + step for step in log_spaced(10, 5)[1:]]
    _, (run,), history = states_of(tmp_path)
    assert run["steps"] == history["step"].tolist() == steps
    for name, array in state(tmp_path, "whole", "seed=1", 60).items():
        found = state(tmp_path, "mine", "seed=1", 60)[name]
        np.testing.assert_allclose(found, array, rtol=0, atol=1e-13)


def test_a_run_lost_by_the_first_optimiser_succeeds_and_its_files_say_so(tmp_path, capsys):
    optimisers = [DESCENT | {"steps": 900}, {"kind": "lbfgs", "steps": 50}]
    both = block(2, optimiser=optimisers, grid={"weight_decay": [1e-2, 60.0]})
    rows = measured(tmp_path, atlas_of(mine=both))
    states, (good, lost), history = states_of(tmp_path)
    assert (good["status"], good["diverged_at"]) == ("completed", None)
    at = lost["diverged_at"]
    assert lost["status"] == "diverged" and 0 < at < 900 and max(lost["steps"]) < at
    assert f"weight_decay=60+seed=1: diverged at step {at}" in capsys.readouterr().out
    assert not any(np.isnan(array).any() for array in states.values())
    assert history.loc[history["weight_decay"] == 60, "step"].tolist() == lost["steps"]
    told = rows[rows["metric"] == "diverged"]
    assert told[["weight_decay", "step", "layer", "value"]].values.tolist() == [[60, at, "all", 1]]


REGRESSION = {
    "kind": "regression",
    "target_covariance": [[1.0, 0.3], [0.3, 0.5]],
    "samples": 30,
    "dim": 4,
    "init_scale": 0.3,
}
FREE = {
    "problem": REGRESSION,
    "optimiser": {"kind": "lbfgs", "steps": 5000, "tolerance": 1e-11},
    "weight_decay": 0.1,
    "feature_decay": 0.4,
    "grid": {},
    "seeds": 1,
}


def test_solved_regressions_are_set_beside_their_closed_form(tmp_path):
    mean, sigma = [1.0, 2.0], np.array(REGRESSION["target_covariance"])
    grid = {
        "weight_decay": [0.1, 2.0],
        "problem.target_mean": [None, mean],
        "problem.bias": [True, False],
    }
    rows = measured(tmp_path, atlas_of("regression", mine=FREE | {"grid": grid}), "regression")
    predicted = read_table(tmp_path / "regression/mine/predictions.parquet")
    for table in (rows, predicted):
        table = table[table["metric"] == "loss"]
        # A null in a grid is a value like any other.
        assert table["target_mean"].isna().sum() == 4 and len(table) == 8
    for (decay, centre, bias), run in rows.groupby(
        ["weight_decay", "target_mean", "bias"], dropna=False
    ):
        values = run.set_index(["layer", "metric"])["value"]
        moment = sigma if bias or not isinstance(centre, str) else sigma + np.outer(mean, mean)
        expected = regression.predict(
            target_covariance=moment.tolist(), weight_decay=decay, feature_decay=0.4, bias=bias
        )
        assert values["all", "loss"] == pytest.approx(expected["loss"], rel=1e-10)
        assert values["all", "mse_sum"] == pytest.approx(expected["mse_sum"], rel=1e-6)
        assert values["H1", "NRC3_c"] < 1e-10 and values["all", "samples"] == 30
        for name, value in entries("target_covariance", sigma).items():
            assert values["all", name] == pytest.approx(value)


@pytest.mark.parametrize(
    "optimiser", [DESCENT | {"steps": 5}, {"kind": "lbfgs", "steps": 50}], ids=["sgd", "lbfgs"]
)
def test_a_start_without_a_finite_objective_is_a_divergence(tmp_path, optimiser):
    mine = block(2, optimiser=optimiser, grid={"problem.init_scale": [0.4, 1e200]})
    rows = measured(tmp_path, atlas_of(mine=mine))
    states, (good, lost), history = states_of(tmp_path)
    assert good["status"] == "completed" and good["steps"][-1] == history["step"].max()
    assert (lost["status"], lost["diverged_at"], lost["steps"]) == ("diverged", 0, [])
    assert set(history["init_scale"]) == {0.4}
    assert rows.loc[rows["init_scale"] > 1, ["step", "metric"]].values.tolist() == [[0, "diverged"]]


def states_as_start(**run):
    """The section ``start`` that names a run of the experiment `first` by its keys."""
    return {"kind": "states", "of": {"study": "imbalanced", "experiment": "first", "run": run}}


def state(results, name, run, step, **place):
    """A state's variables, free features with a column per sample."""
    tensors, *_ = states_of(results, name, **place)
    prefix = f"{run}/{step:06d}/"
    found = {key.removeprefix(prefix): tensors[key] for key in tensors if key.startswith(prefix)}
    if f"{run}/basis" in tensors:
        found["H"] = found["H"] @ tensors[f"{run}/basis"]
    return found


def test_a_run_starts_where_another_ended(tmp_path):
    decays = {"weight_decay": [4e-3, 1e-2]}
    first = block(2, bias=True, optimiser=DESCENT | {"steps": 40}, grid=decays, seeds=2)
    second = block(
        2,
        bias=True,
        optimiser=DESCENT | {"steps": 30},
        start=states_as_start(weight_decay=1e-2),
        grid={"feature_decay": [5e-3, 2e-2]},
        seeds=2,
    )
    atlas = atlas_of(first=first, second=second)
    job = jobs.compute(atlas, "imbalanced", "second", "all")
    assert job.files("references") == ["imbalanced/first/all/states.safetensors"]
    assert jobs.measure(atlas, "imbalanced", "second").files("references") == []
    measured(tmp_path, atlas, name="second")
    for seed in (1, 2):
        ended = state(tmp_path, "first", f"weight_decay=0.01+seed={seed}", 40)
        assert ended["H"].shape == (5, 14)
        for decay in ("0.005", "0.02"):
            begun = state(tmp_path, "second", f"feature_decay={decay}+seed={seed}", 0)
            assert begun.keys() == ended.keys() == {"H", "W1", "W2", "bias"}
            for name, array in ended.items():
                np.testing.assert_allclose(begun[name], array, rtol=0, atol=1e-14)
    # Both are reduced, each in its own columns.
    bases = [
        states_of(tmp_path, name)[0][f"{run}+seed=1/basis"]
        for name, run in (("first", "weight_decay=0.01"), ("second", "feature_decay=0.005"))
    ]
    assert bases[0].shape == bases[1].shape == (8, 14) and not np.allclose(*bases)


@pytest.mark.parametrize("seed", [None, 1])
def test_a_run_goes_on_as_if_another_had_not_ended(tmp_path, seed):
    part = {"kind": "sgd", "learning_rate": 0.1, "steps": 20, "record": 2}
    decays = {"weight_decay": 0.1, "feature_decay": 0.2, "seeds": 2}
    whole = {"problem": REGRESSION, "optimiser": part | {"steps": 40}, **decays}
    first = {"problem": REGRESSION, "optimiser": part, **decays}
    start = states_as_start()
    start["of"] |= {"study": "regression", "seed": seed}
    atlas = atlas_of("regression", whole=whole, first=first, second=first | {"start": start})
    for name in ("whole", "second"):
        measured(tmp_path, atlas, "regression", name)
    for run in (1, 2):
        found = state(tmp_path, "second", f"seed={run}", 20, study="regression")
        # The reference counts from the first seed, which is 1.
        read = run if seed is None else 1 + seed
        expected = state(tmp_path, "whole", f"seed={read}", 40, study="regression")
        assert found["H"].shape == (4, 30)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("change", "found", "needed"),
    [
        ({"widths": 6}, "'W1': (3, 5)", "'W1': (3, 6)"),
        ({"depth": 2}, "'W1': (3, 5)", "'W2': (3, 5)"),
        ({"bias": True}, "'W1': (3, 5)", "'bias': (3,)"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_in_one_line(tmp_path, capsys, change, found, needed):
    quick = DESCENT | {"steps": 5}
    second = block(**change, optimiser=quick, start=states_as_start())
    atlas = atlas_of(first=block(optimiser=quick), second=second)
    path = "imbalanced/first/all/states.safetensors"
    make(tmp_path, path, jobs.compute(atlas, "imbalanced", "first", "all"))
    capsys.readouterr()
    path = "imbalanced/second/all/states.safetensors"
    job = jobs.compute(atlas, "imbalanced", "second", "all")
    assert main(command(tmp_path, path, job)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("collapse: error: seed=1: start.of: variables {")
    said, asked = line.split(" found, needed are ")
    assert found in said and needed in asked and needed not in said
    assert not (tmp_path / path).exists()


def test_a_start_is_the_last_state_before_a_divergence(tmp_path):
    lost = block(2, optimiser=DESCENT | {"steps": 900, "learning_rate": 9.0})
    second = block(2, optimiser=DESCENT | {"steps": 5}, start=states_as_start())
    measured(tmp_path, atlas_of(first=lost, second=second), name="second")
    _, (told,), _ = states_of(tmp_path, "first")
    assert told["status"] == "diverged"
    begun = state(tmp_path, "second", "seed=1", 0)
    for name, array in state(tmp_path, "first", "seed=1", told["steps"][-1]).items():
        np.testing.assert_allclose(begun[name], array, rtol=1e-12, atol=1e-14)
