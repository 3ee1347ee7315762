"""Mixup over free features: the problem, its minimisers and its table, against the closed form."""

import shutil

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from collapse import config
from collapse.artifacts import read_table
from collapse.errors import InputError
from collapse.probes import State
from collapse.probes.mixed_columns import points, rows
from collapse.problems.base import Problem
from collapse.problems.mixup import answers, build, classifier, columns
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.newton import newton
from collapse.quadrature import beta_nodes
from collapse.theory import mixup as theory
from conftest import FEW
from test_procedures_problem import measured

SHAPE = {
    "kind": "mixup",
    "classes": 3,
    "dim": 3,
    "loss": "ce",
    "classifier": "fixed",
    "classifier_norm": 1.2,
    "alpha": 1.0,
    "nodes": 3,
    "init_scale": 0.3,
}


def section(**changes):
    """A config's ``problem``; a free classifier has no norm of its own."""
    shape = SHAPE | changes
    return shape | ({"classifier_norm": None} if shape["classifier"] == "free" else {})


def built(*configs):
    """A batch of these problems, with a decay each: (section, weight_decay, feature_decay)."""
    return build(
        [
            {"problem": problem, "weight_decay": weight, "feature_decay": feature}
            for problem, weight, feature in configs
        ]
    )


@st.composite
def batches(draw):
    """Two problems of one shape, and a random point."""
    classes = draw(st.integers(3, 4))
    shape = {
        "classes": classes,
        "dim": classes - 1 + draw(st.integers(0, 2)),
        "loss": draw(st.sampled_from(["ce", "mse"])),
        "classifier": draw(st.sampled_from(["fixed", "free"])),
        "nodes": draw(st.integers(1, 3)),
    }
    free = shape["classifier"] == "free"
    configs = [
        (
            section(**shape, alpha=alpha, classifier_norm=alpha + 0.4),
            0.3 if free else None,
            10 ** draw(st.floats(-4, 0)),
        )
        for alpha in draw(st.lists(st.sampled_from([0.2, 1.0, 2.0]), min_size=2, max_size=2))
    ]
    problem = built(*configs)
    return configs, problem, problem.initial([draw(st.integers(0, 99)), 5], 0.8)


def written_out(run, features, weights):
    """The objective as the mean over all ordered pairs and nodes; `features` by pair and node."""
    shape, weight_decay, feature_decay = run
    classes, total = shape["classes"], 0.0
    nodes, shares = beta_nodes(shape["alpha"], shape["nodes"])
    for i in range(classes):
        for j in range(classes):
            for place, (mix, share) in enumerate(zip(nodes, shares, strict=True)):
                label = mix * np.eye(classes)[i] + (1 - mix) * np.eye(classes)[j]
                h = features[i, j, place]
                z = weights @ h
                fit = (
                    -label @ log_softmax(z)
                    if shape["loss"] == "ce"
                    else np.sum((z - label) ** 2) / 2
                )
                total += share * (fit + feature_decay / 2 * h @ h) / classes**2
    return total + (weight_decay or 0) / 2 * np.sum(weights**2)


def spread_out(shape, features):
    """The features of all ordered pairs, from the columns of one problem."""
    mixed, count = columns(shape), shape["nodes"]
    every = {}
    for column, (i, j) in enumerate(zip(mixed.first, mixed.second, strict=True)):
        if i == j:
            every |= {(i, i, place): features[:, column] for place in range(count)}
        else:
            place = (column - shape["classes"]) % count
            every[i, j, place] = every[j, i, count - 1 - place] = features[:, column]
    return every


@FEW
@given(batches())
def test_the_objective_is_the_mean_over_ordered_pairs(batch):
    configs, problem, point = batch
    smaller, inside, basis = problem.reduced(point)
    torch.testing.assert_close(inside.features @ basis, point.features, rtol=1e-14, atol=1e-14)
    values, same = problem.objective(point), smaller.objective(inside)
    for index, run in enumerate(configs):
        weights = point.weights[0][index] if point.weights else classifier(run[0])
        features = spread_out(run[0], point.features[index].numpy())
        expected = written_out(run, features, weights.numpy())
        assert values[index].item() == pytest.approx(expected, rel=1e-12)
        assert same[index].item() == pytest.approx(expected, rel=1e-12)
        only = slice(index, index + 1)
        alone = problem.select(only).objective(point.map(lambda tensor, only=only: tensor[only]))
        assert alone.item() == values[index].item()


@FEW
@given(batches())
def test_the_derivatives_are_those_of_the_objective(batch):
    _, problem, point = batch
    for posed, place in ((problem, point), problem.reduced(point)[:2]):
        slopes = posed.gradient(place)
        # The general way, by PyTorch through the objective.
        for found, expected in zip(
            slopes.tensors(), Problem.gradient(posed, place).tensors(), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)
        curvature = posed.hessian(place)
        torch.testing.assert_close(curvature, Problem.hessian(posed, place), rtol=1e-10, atol=1e-12)
    step, direction = 1e-4, problem.initial([7, 8], 1.0)
    near, far = (
        problem.objective(shifted(point, direction, s * step))
        - problem.objective(shifted(point, direction, -s * step))
        for s in (1, 2)
    )
    slope = sum(
        (a * b).flatten(1).sum(1)
        for a, b in zip(problem.gradient(point).tensors(), direction.tensors(), strict=True)
    )
    torch.testing.assert_close((8 * near - far) / (12 * step), slope, rtol=1e-8, atol=1e-9)


def shifted(point, direction, step):
    parts = iter(direction.tensors())
    return point.map(lambda tensor: tensor + step * next(parts))


@pytest.mark.parametrize("dim", [3, 6])
def test_the_given_classifier_is_a_simplex_etf(dim):
    weights = classifier(section(classes=4, dim=dim)).numpy()
    gram = 1.2**2 * (4 / 3) * (np.eye(4) - 1 / 4)
    np.testing.assert_allclose(weights @ weights.T, gram, rtol=0, atol=1e-14)
    assert answers({"problem": section()}) is None


def read(run, state):
    """Rows and points of the probe at a state of one problem."""
    shape, weight_decay, feature_decay = run
    seen = State(
        config={"problem": shape, "weight_decay": weight_decay, "feature_decay": feature_decay},
        tensors={},
        features=state.features[0].T.contiguous(),
        weights=[weight[0] for weight in state.weights],
        last=True,
    )
    return {name: value for _, name, value in rows(seen, {})}, points(seen, {})


def compare(run, state, tolerance):
    """Set a state beside the closed form of its run."""
    (shape, weight_decay, feature_decay), (values, table) = run, read(run, state)
    closed = theory.of_run(
        {"problem": shape, "weight_decay": weight_decay, "feature_decay": feature_decay}, {}
    )
    for name in ("classifier_norm", "mean_square_norm", "amplification_half"):
        assert values[name] == pytest.approx(closed[name], rel=tolerance)
    assert values["classifier_ETF"] < tolerance
    place = shape["classes"], closed["classifier_norm"], feature_decay, table["mix"].to_numpy()
    u, v = theory.coordinates(*place, shape["loss"])
    np.testing.assert_allclose(table["u"], u, rtol=0, atol=10 * tolerance)
    np.testing.assert_allclose(table["v"], v, rtol=0, atol=10 * tolerance)
    assert table["spread"].max() < 10 * tolerance and table["off_plane"].max() < 10 * tolerance
    # With MSE a free W fits the mean logit too, by a part of its own of every feature.
    if shape["loss"] == "ce" or shape["classifier"] == "fixed":
        norms = theory.feature_norm(*place, shape["loss"])
        np.testing.assert_allclose(table["norm"], norms, rtol=10 * tolerance)


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("loss", ["ce", "mse"])
def test_newton_under_a_given_classifier_ends_at_the_closed_form(classes, loss):
    shape = {"classes": classes, "dim": classes, "loss": loss}
    configs = [
        (section(**shape, classifier_norm=norm, alpha=alpha), None, decay)
        for norm, alpha, decay in ((1.2, 1.0, 1e-1), (0.5, 0.4, 1e-3), (2.0, 2.0, 1e-6))
    ]
    problem = built(*configs)
    found = newton(problem, problem.initial([0, 1, 2], 0.3), 1e-16, 100)
    for index, run in enumerate(configs):
        only = slice(index, index + 1)
        compare(run, found.state(-1).map(lambda tensor, only=only: tensor[only]), 1e-9)


@pytest.mark.parametrize(("loss", "dim"), [("ce", 3), ("ce", 6), ("mse", 4)])
def test_a_free_classifier_becomes_an_etf_in_balance(loss, dim):
    run = section(classes=4, dim=dim, loss=loss, classifier="free", alpha=0.5), 3e-3, 1e-3
    problem = built(run)
    found = lbfgs(problem, problem.initial([3], 0.3), 1e-10, 5000)
    compare(run, found.state(-1), 3e-6)
    features, (weights,) = found.state(-1).features[0], found.state(-1).weights
    mean = torch.from_numpy(columns(run[0]).weight) @ features.square().sum(0)
    assert 3 * weights.square().sum().item() == pytest.approx(mean.item(), rel=1e-5)


def test_too_large_decays_leave_nothing():
    run = section(classifier="free"), 0.5, 1.0
    problem = built(run)
    found = lbfgs(problem, problem.initial([0], 0.3), 1e-12, 2000).state(-1)
    assert max(tensor.abs().max().item() for tensor in found.tensors()) < 1e-6
    zero = found.map(torch.zeros_like)
    assert read(run, zero)[0].keys() == {"classifier_norm", "mean_square_norm"}


def test_only_states_of_mixed_features_have_columns():
    state = State(config={"problem": {"kind": "perturbation"}}, tensors={})
    with pytest.raises(InputError, match="a state of a mixup problem is needed"):
        list(rows(state, {}))


FIXED = {
    "problem": section(nodes=3),
    "optimiser": {"kind": "newton", "tolerance": 1e-16},
    "feature_decay": 1e-2,
    "grid": {"problem.loss": ["ce", "mse"], "problem.classifier_norm": [0.6, 1.2]},
    "seeds": 2,
}
DESCENT = {"kind": "sgd", "learning_rate": 0.5, "momentum": 0.9, "steps": 1500, "record": 4}
FREE = {
    "problem": section(classifier="free", nodes=3),
    "optimiser": DESCENT,
    "weight_decay": 1e-2,
    "feature_decay": 1e-2,
    "seeds": 2,
}


def test_tables_hold_what_the_closed_form_says(tmp_path):
    folder = tmp_path / "config"
    (folder / "studies").mkdir(parents=True)
    shutil.copy("config/config.yaml", folder)
    (folder / "studies/mixup.yaml").write_text(
        yaml.safe_dump({"mixup": {"fixed": FIXED, "free": FREE}})
    )
    atlas = config.load(folder, {"scale": "paper"}, "my.yaml")
    for name, keys, runs in (
        ("fixed", ["loss", "classifier_norm", "seed"], 8),
        ("free", ["seed"], 2),
    ):
        table = measured(tmp_path, atlas, "mixup", name)
        closed = read_table(tmp_path / "mixup" / name / "predictions.parquet")
        end = table[table["step"] == table["step"].max()]
        both = end.merge(closed, on=[*keys, "metric"], suffixes=("", "_closed"))
        assert set(both["metric"]) == {"classifier_norm", "mean_square_norm", "amplification_half"}
        assert len(both) == 3 * runs
        np.testing.assert_allclose(both["value"], both["value_closed"], rtol=1e-8)
        assert end.loc[end["metric"] == "classifier_ETF", "value"].max() < 1e-8
        # Every column of the last state.
        samples = read_table(tmp_path / "mixup" / name / "samples.parquet")
        assert len(samples) == runs * (3 + 3 * 3) and set(samples["step"]) == {end["step"].max()}
