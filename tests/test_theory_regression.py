"""The closed form of neural regression collapse, against descent and optimality conditions."""

import argparse
import json
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag, sqrtm
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import ortho_group

from collapse.errors import InputError
from collapse.stages import predict as stage
from collapse.theory.regression import gram, of_run, predict

EXAMPLE = {"target_covariance": [[1, 0.3], [0.3, 0.5]], "weight_decay": 0.01, "feature_decay": 0.04}


def moment(values, bias=True):
    """Covariance of the columns (n x M), or without a bias their second moment."""
    centred = values - values.mean(axis=1, keepdims=True) if bias else values
    return centred @ centred.T / values.shape[1]


class FullProblem:
    """The objective over W, H and the bias, with its gradient."""

    def __init__(self, targets, dim, weight_decay, feature_decay, bias):
        self.targets, self.dim, self.bias = targets, dim, bias
        self.weight_decay, self.feature_decay = weight_decay, feature_decay
        self.outputs, self.samples = targets.shape

    def unpack(self, flat):
        ends = np.cumsum([self.outputs * self.dim, self.dim * self.samples])
        weight, features, offset = np.split(flat, ends)
        weight = weight.reshape(self.outputs, self.dim)
        features = features.reshape(self.dim, self.samples)
        fitted = weight @ features + (offset[:, None] if self.bias else 0)
        return weight, features, fitted - self.targets

    def __call__(self, flat):
        weight, features, error = self.unpack(flat)
        value = (np.sum(error**2) + self.feature_decay * np.sum(features**2)) / (2 * self.samples)
        gradients = [
            error @ features.T / self.samples + self.weight_decay * weight,
            (weight.T @ error + self.feature_decay * features) / self.samples,
            error.mean(axis=1) if self.bias else np.zeros(0),
        ]
        value += self.weight_decay / 2 * np.sum(weight**2)
        return value, np.concatenate([gradient.ravel() for gradient in gradients])

    def descend(self, seed):
        size = self.dim * (self.outputs + self.samples) + self.outputs * self.bias
        start = np.random.default_rng(seed).normal(size=size)
        options = {"maxiter": 20_000, "maxfun": 30_000, "ftol": 0, "gtol": 1e-11, "maxcor": 40}
        return minimize(self, start, jac=True, method="L-BFGS-B", options=options).x

    def measured(self, flat):
        """What `predict` returns, by definition from the parameters."""
        weight, features, error = self.unpack(flat)
        variances = np.linalg.eigvalsh(moment(features, self.bias))[::-1][: self.outputs]
        total = np.trace(moment(self.targets, self.bias))
        return {
            "gram": weight @ weight.T,
            "loss": self(flat)[0],
            "mse_sum": np.sum(error**2) / self.samples,
            "r2": 1 - np.sum(error**2) / self.samples / total if total else None,
            "explained_variance_ratio": variances / max(variances.sum(), 1e-300),
            "weight_norm_squared": np.sum(weight**2),
            "feature_norm_squared_mean": np.sum(features**2) / self.samples,
            "rank": np.linalg.matrix_rank(weight, tol=1e-4),
            "gamma": self.weight_decay * self.feature_decay,
        }


def correlated_targets(outputs, samples, seed, directions=None):
    """Targets n x M away from zero, with variance along so many directions only."""
    rng = np.random.default_rng(seed)
    directions = directions or outputs
    mixing = rng.normal(size=(outputs, directions)) * np.linspace(1, 0.4, directions)
    latent = rng.normal(size=(directions, samples))
    return mixing @ latent + mixing @ rng.normal(size=(directions, 1))


def deviations(covariance):
    """Standard deviations along the principal axes, descending, without those of rounding."""
    found = np.linalg.svd(covariance, compute_uv=False)
    return np.sqrt(found[found > 1e-12 * found[0]])


LEVELS = {
    "below": lambda spread: 0.4 * spread[-1],
    "between": lambda spread: 0.45 * (spread[0] + spread[-1]),
    "above": lambda spread: 1.2 * spread[0],
}
"""sqrt(c) beside the deviations of the targets: no, some or all directions collapsed."""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("outputs", "samples", "dim", "directions"),
    [
        (1, 5, 1, 1),
        (2, 6, 2, 2),
        (2, 5, 4, 1),
        (3, 7, 4, 3),
        (3, 8, 3, 2),
        (4, 9, 6, 4),
        (4, 4, 5, 3),
    ],
)
def test_descent_on_all_parameters_ends_there(outputs, samples, dim, directions, bias, level):
    targets = correlated_targets(outputs, samples, seed=outputs + samples, directions=directions)
    covariance = moment(targets, bias)
    root = LEVELS[level](deviations(covariance))
    decays = {"weight_decay": 0.6 * root, "feature_decay": root / 0.6}
    found = predict(target_covariance=covariance.tolist(), bias=bias, **decays)
    problem = FullProblem(targets, dim, bias=bias, **decays)
    for seed in range(2):
        measured = problem.measured(problem.descend(seed))
        if found["rank"] == 0:
            assert found["explained_variance_ratio"] is None
            measured["explained_variance_ratio"] = None
        assert found.keys() == measured.keys()
        for key, value in measured.items():
            if value is not None:
                assert np.array(found[key]) == pytest.approx(value, rel=1e-6, abs=1e-6), key


@st.composite
def data_problems(draw):
    """Targets, which may be constant or fewer than their dimension, and decays off the ties."""
    outputs, samples = draw(st.integers(1, 5)), draw(st.integers(1, 10))
    targets = correlated_targets(
        outputs, samples, draw(st.integers(0, 10**6)), draw(st.integers(1, outputs))
    )
    bias = draw(st.booleans())
    root, share = 10 ** draw(st.floats(-3, 0.7)), 10 ** draw(st.floats(-1, 1))
    spread = deviations(moment(targets, bias))
    assume(np.all(np.abs(spread / root - 1) > 1e-6))
    return targets, {"weight_decay": root * share, "feature_decay": root / share}, bias


def optimum(weights, targets, dim, weight_decay, feature_decay, bias):
    """W with this Gram matrix, H, the bias (of length 0 if there is none) and E E^T/M."""
    outputs, samples = targets.shape
    mean = targets.mean(axis=1) if bias else np.zeros(0)
    left, singular, right = np.linalg.svd(targets - (mean[:, None] if bias else 0), False)
    kept = singular > 1e-9 * max(singular[0], 1e-3)
    left, variances, right = left[:, kept], singular[kept] ** 2 / samples, right[kept]
    residual = left * np.minimum(weight_decay * feature_decay, variances) @ left.T
    # W is any root of its Gram matrix; Sigma^(-1/2) (Y - Ybar) = sqrt(M) U V^T.
    eigenvalues, axes = np.linalg.eigh(weights)
    frame = ortho_group(dim, seed=0).rvs() if dim > 1 else np.eye(1)
    weight = axes * np.sqrt(np.maximum(eigenvalues, 0)) @ frame[:outputs]
    white = math.sqrt(samples) * left @ right
    return weight, math.sqrt(weight_decay / feature_decay) * weight.T @ white, mean, residual


@settings(derandomize=True, max_examples=100, deadline=None)
@given(data_problems(), st.integers(0, 3))
def test_the_constructed_optimum_is_stationary_with_the_stated_values(problem, spare):
    targets, decays, bias = problem
    outputs, samples = targets.shape
    covariance = moment(targets, bias)
    found = predict(target_covariance=covariance, bias=bias, **decays)
    dim = outputs + spare
    weight, features, mean, residual = optimum(found["gram"], targets, dim, bias=bias, **decays)
    full = FullProblem(targets, dim, bias=bias, **decays)
    point = np.concatenate([weight.ravel(), features.ravel(), mean])
    scale = max(1, np.abs(targets).max() ** 2)
    assert np.abs(full(point)[1]).max() < 1e-7 * scale
    measured = full.measured(point)
    for key in ("loss", "mse_sum", "weight_norm_squared", "feature_norm_squared_mean"):
        assert found[key] == pytest.approx(measured[key], rel=1e-7, abs=1e-12 * scale), key
    if np.trace(covariance) > 1e-20:
        assert found["r2"] == pytest.approx(measured["r2"], abs=1e-10)
    # The principal components of the features, and the residual covariance.
    if found["rank"]:
        spread = np.cov(features, ddof=0) if bias else features @ features.T / samples
        variances = np.sort(np.linalg.eigvalsh(np.atleast_2d(spread)))[::-1][:outputs]
        expected = variances / variances.sum()
        assert found["explained_variance_ratio"] == pytest.approx(expected, abs=1e-7)
    error = full.unpack(point)[2]
    assert error @ error.T / samples == pytest.approx(residual, abs=1e-8 * scale)
    if bias:
        assert features.mean(axis=1) == pytest.approx(0, abs=1e-8 * scale)


# The objective at the best features for a given W is convex in the Gram matrix G = W W^T:
# tr(Sigma (I + G/feature_decay)^-1)/2 + weight_decay/2 tr G. Its optimality conditions decide.


@st.composite
def problems(draw):
    """A covariance of any rank, and decays off the ties."""
    outputs = draw(st.integers(1, 6))
    directions = draw(st.integers(1, outputs))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    root = rng.normal(size=(outputs, directions)) * 10 ** rng.uniform(-1, 1, size=directions)
    covariance = root @ root.T * 10 ** draw(st.floats(-4, 4))
    spread = deviations(covariance)
    level = spread[0] * 10 ** draw(st.floats(-2.5, 0.3))
    assume(np.all(np.abs(spread / level - 1) > 1e-6))
    share = 10 ** draw(st.floats(-2, 2))
    return {
        "target_covariance": covariance.tolist(),
        "weight_decay": level * share,
        "feature_decay": level / share,
    }


def given_problem(examples=80):
    def decorate(test):
        return settings(derandomize=True, max_examples=examples, deadline=None)(
            given(problems())(test)
        )

    return decorate


def unpacked(problem):
    return np.array(problem["target_covariance"]), problem["weight_decay"], problem["feature_decay"]


def cost(weights, covariance, weight_decay, feature_decay):
    """The objective at a Gram matrix of W, at the best features and bias."""
    shrunk = np.linalg.inv(np.eye(len(weights)) + weights / feature_decay)
    return (np.trace(covariance @ shrunk) + weight_decay * np.trace(weights)) / 2


@given_problem()
def test_the_gram_matrix_meets_the_conditions_of_the_global_minimum(problem):
    covariance, weight_decay, feature_decay = unpacked(problem)
    found = predict(**problem)
    weights = np.array(found["gram"])
    assert found["loss"] == pytest.approx(cost(weights, *unpacked(problem)), rel=1e-9)
    shrunk = np.linalg.inv(np.eye(len(weights)) + weights / feature_decay)
    slope = weight_decay * np.eye(len(weights)) - shrunk @ covariance @ shrunk / feature_decay
    assert np.linalg.eigvalsh(weights)[0] >= -1e-12 * found["weight_norm_squared"]
    assert np.linalg.eigvalsh(slope)[0] >= -1e-7 * weight_decay
    assert np.abs(slope @ weights).max() <= 1e-7 * weight_decay * found["weight_norm_squared"]


@given_problem()
def test_the_values_agree_with_one_another(problem):
    covariance, weight_decay, feature_decay = unpacked(problem)
    found = predict(**problem)
    weights, spread = np.array(found["gram"]), deviations(covariance)
    close = {"rel": 1e-9, "abs": 1e-12 * spread[0] ** 2}
    assert weights.tolist() == weights.T.tolist()
    assert np.trace(weights) == pytest.approx(found["weight_norm_squared"], rel=1e-12)
    penalty = weight_decay * found["weight_norm_squared"]
    assert feature_decay * found["feature_norm_squared_mean"] == pytest.approx(penalty, rel=1e-12)
    assert 2 * found["loss"] == pytest.approx(found["mse_sum"] + 2 * penalty, **close)
    assert found["gamma"] == weight_decay * feature_decay
    assert found["mse_sum"] == pytest.approx(np.minimum(spread**2, found["gamma"]).sum(), **close)
    assert (1 - found["r2"]) * np.trace(covariance) == pytest.approx(found["mse_sum"], **close)
    assert found["rank"] == np.sum(spread**2 > found["gamma"])
    shares = found["explained_variance_ratio"]
    assert (shares is None) == (found["rank"] == 0) == (not weights.any())
    if shares:
        expected = np.linalg.eigvalsh(weights)[::-1] / np.trace(weights)
        assert shares == pytest.approx(expected, abs=1e-9)
        assert np.count_nonzero(shares) == found["rank"]
    if found["rank"] == len(weights):
        root = sqrtm(covariance) - math.sqrt(found["gamma"]) * np.eye(len(weights))
        expected = math.sqrt(feature_decay / weight_decay) * root
        assert weights == pytest.approx(expected, abs=1e-9 * np.trace(weights))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems(), st.floats(-3, 3), st.floats(-3, 3))
def test_units_of_targets_and_of_features(problem, log_targets, log_features):
    base, scale, shift = predict(**problem), 10**log_targets, 10**log_features
    covariance, weight_decay, feature_decay = unpacked(problem)
    scaled = {
        "target_covariance": covariance * scale**2,
        "weight_decay": weight_decay * scale * shift,
        "feature_decay": feature_decay * scale / shift,
    }
    powers = {
        "gram": scale / shift,
        "loss": scale**2,
        "mse_sum": scale**2,
        "r2": 1,
        "explained_variance_ratio": 1,
        "weight_norm_squared": scale / shift,
        "feature_norm_squared_mean": scale * shift,
        "rank": 1,
        "gamma": scale**2,
    }
    found = predict(**scaled)
    assert found.keys() == powers.keys()
    for key, power in powers.items():
        if base[key] is None:
            assert found[key] is None
        else:
            expected = np.array(base[key]) * power
            tolerance = 1e-9 * np.abs(expected).max()
            assert np.array(found[key]) == pytest.approx(expected, rel=1e-9, abs=tolerance), key


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems(), st.integers(0, 100))
def test_turning_the_targets_turns_the_gram_matrix(problem, seed):
    covariance, *decays = unpacked(problem)
    size = len(covariance)
    turn = ortho_group(size, seed=seed).rvs() if size > 1 else -np.eye(1)
    base, found = gram(covariance, *decays), gram(turn @ covariance @ turn.T, *decays)
    close = 1e-7 * max(np.trace(base), 1e-300)
    assert found == pytest.approx(turn @ base @ turn.T, abs=close)
    assert base @ covariance == pytest.approx(
        covariance @ base, abs=1e-9 * np.trace(base) * np.trace(covariance)
    )
    assert base.tolist() == predict(**problem)["gram"]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems(), st.floats(0.01, 1))
def test_more_decay_costs_more_and_fits_less(problem, step):
    base = predict(**problem)
    for key in ("weight_decay", "feature_decay"):
        more = predict(**problem | {key: problem[key] * (1 + step)})
        assert more["loss"] >= base["loss"] and more["mse_sum"] >= base["mse_sum"]
        assert more["r2"] <= base["r2"] and more["rank"] <= base["rank"]
        assert (more["loss"] > base["loss"]) == (base["rank"] > 0)


@given_problem(60)
def test_the_loss_rises_with_a_decay_as_half_the_norm_it_penalises(problem):
    base = predict(**problem)
    for key, norm in (
        ("weight_decay", "weight_norm_squared"),
        ("feature_decay", "feature_norm_squared_mean"),
    ):
        step = 1e-8 * problem[key]
        ends = [predict(**problem | {key: problem[key] + side * step}) for side in (1, -1)]
        slope = (ends[0]["loss"] - ends[1]["loss"]) / (2 * step)
        assert slope == pytest.approx(
            base[norm] / 2, rel=1e-4, abs=1e-6 * base["loss"] / problem[key]
        )


# Particular cases.


@pytest.mark.parametrize("deviation", [0.3, 40.0])
def test_the_weight_of_one_target_is_longest_at_half_its_deviation(deviation):
    weight_decay = 0.02

    def length(root):
        found = predict(
            target_covariance=[[deviation**2]],
            weight_decay=weight_decay,
            feature_decay=root**2 / weight_decay,
        )
        return found["weight_norm_squared"]

    peak = minimize_scalar(lambda x: -length(x), (0.1 * deviation, 0.3 * deviation), tol=1e-12).x
    assert peak == pytest.approx(deviation / 2, rel=1e-5)
    assert length(deviation / 2) == pytest.approx(deviation**2 / (4 * weight_decay), rel=1e-12)
    roots = np.linspace(0.01, 0.99, 50) * deviation
    rising = np.diff([length(root) for root in roots]) > 0
    assert rising.tolist() == (roots[1:] < deviation / 2 * 1.01).tolist()
    assert length(deviation * (1 - 1e-6)) > 0
    assert length(deviation) == length(2 * deviation) == 0


def test_constant_targets_leave_nothing():
    found = predict(target_covariance=[[0, 0], [0, 0]], weight_decay=1e-3, feature_decay=2e-3)
    assert found == {
        "gram": [[0, 0], [0, 0]],
        "loss": 0,
        "mse_sum": 0,
        "r2": None,
        "explained_variance_ratio": None,
        "weight_norm_squared": 0,
        "feature_norm_squared_mean": 0,
        "rank": 0,
        "gamma": 2e-6,
    }


def test_targets_that_do_not_interact_add_up():
    blocks = [np.array([[1.0, 0.3], [0.3, 0.5]]), np.array([[0.2]])]
    decays = {"weight_decay": 0.3, "feature_decay": 0.9}
    whole = predict(target_covariance=block_diag(*blocks), **decays)
    parts = [predict(target_covariance=block, **decays) for block in blocks]
    assert np.array(whole["gram"]) == pytest.approx(
        block_diag(*(part["gram"] for part in parts)), abs=1e-12
    )
    for key in ("loss", "mse_sum", "weight_norm_squared", "feature_norm_squared_mean", "rank"):
        assert whole[key] == pytest.approx(sum(part[key] for part in parts), rel=1e-12), key


def test_a_bias_changes_no_formula():
    assert predict(**EXAMPLE) == predict(**EXAMPLE, bias=True) == predict(**EXAMPLE, bias=False)


@pytest.mark.parametrize("level", [0.2, 0.3, 1e-3, 7.0])
def test_an_eigenvalue_at_the_threshold_is_collapsed(level):
    for share in (1.0, 3.0, 0.7):
        at = {"weight_decay": level * share, "feature_decay": level / share}
        found = predict(target_covariance=np.diag([4 * level**2, level**2]), **at)
        assert found["rank"] == 1 and found["explained_variance_ratio"] == [1, 0]
        above = predict(target_covariance=[[level**2 * (1 + 1e-9)]], **at)
        assert above["rank"] == 1 and above["weight_norm_squared"] > 0


@pytest.mark.parametrize("decay", [1e-3, 1e-9, 1e-30])
def test_a_singular_covariance_keeps_its_rank_at_any_decay(decay):
    direction = np.array([[3.0, 1, 2, -1]]) / math.sqrt(15)
    for directions in (direction, np.vstack([direction, [[1, -1, 0, 2]]])):
        covariance = directions.T @ directions
        found = predict(target_covariance=covariance, weight_decay=decay, feature_decay=decay)
        assert found["rank"] == len(directions)
        assert found["mse_sum"] == pytest.approx(len(directions) * decay**2, rel=1e-9)
        expected = sum(
            np.outer(each, each) * (1 - decay / np.linalg.norm(each)) / np.linalg.norm(each)
            for each in directions
        )
        assert np.array(found["gram"]) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(
    ("variances", "weight_decay", "feature_decay"),
    [
        ([2.0, 3e-5], 1e-20, 3e-17),
        ([2.0, 3e-5], 1e-3, 3e-2),
        ([2.0, 3e-5], 1e9, 1e7),
        ([5.0], 1e-200, 1e-100),
        ([1e300, 1e292], 1e-150, 1e3),
        ([3e-300], 1e-160, 1e-160),
        ([7.0], 1e-170, 1e150),
    ],
)
def test_no_digit_is_lost_at_extreme_decays(variances, weight_decay, feature_decay):
    found = predict(
        target_covariance=np.diag(variances), weight_decay=weight_decay, feature_decay=feature_decay
    )
    with localcontext() as context:
        context.prec = 600
        weight, feature = Decimal(weight_decay), Decimal(feature_decay)
        level = weight * feature
        spread = [Decimal(variance) for variance in variances]
        left = [min(level, variance) for variance in spread]
        signal = [(a.sqrt() - b.sqrt()) for a, b in zip(spread, left, strict=True)]
        loss = sum((a * b).sqrt() - b / 2 for a, b in zip(spread, left, strict=True))
        expected = {
            "loss": loss,
            "mse_sum": sum(left),
            "r2": 1 - sum(left) / sum(spread),
            "weight_norm_squared": (feature / weight).sqrt() * sum(signal),
            "feature_norm_squared_mean": (weight / feature).sqrt() * sum(signal),
        }
        expected = {key: float(value) for key, value in expected.items()}
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-14, abs=0), key


def test_entries_near_the_largest_number():
    entry = 1.7e308
    found = predict(
        target_covariance=[[entry, entry], [entry, entry]], weight_decay=1, feature_decay=1
    )
    deviation = math.sqrt(2) * math.sqrt(entry)
    assert found["rank"] == 1 and found["mse_sum"] == 1 and found["r2"] == 1
    assert found["loss"] == pytest.approx(deviation, rel=1e-14)
    assert np.array(found["gram"]) == pytest.approx(np.full((2, 2), deviation / 2), rel=1e-14)
    decay = math.sqrt(1e307)
    found = predict(target_covariance=1e308 * np.eye(2), weight_decay=decay, feature_decay=decay)
    assert found["r2"] == pytest.approx(0.9, rel=1e-14)


@pytest.mark.parametrize("decay", [0.2, 0.7])
def test_of_a_run_without_a_bias_metrics_are_about_the_mean(decay):
    targets = np.random.default_rng(4).normal(size=(2, 7)) * [[1.0], [0.6]] + [[1.5], [-0.5]]
    problem = FullProblem(targets, 3, decay, decay, bias=False)
    weight, features, error = problem.unpack(problem.descend(1))
    told = {"target_covariance": moment(targets), "target_mean": targets.mean(axis=1)}
    config = {"problem": told | {"bias": False}, "weight_decay": decay, "feature_decay": decay}
    found = of_run(config, {})
    assert np.array(found["gram"]) == pytest.approx(weight @ weight.T, abs=1e-6)
    fit = 1 - np.sum(error**2) / 7 / np.trace(moment(targets))
    variances = np.linalg.eigvalsh(moment(features))[:0:-1]
    assert found["r2"] == pytest.approx(fit, rel=1e-6)
    shares = variances / variances.sum()
    assert found["explained_variance_ratio"] == pytest.approx(shares, abs=1e-6)
    # About zero both are others, and W W^T has not the shape that NRC3 compares it with.
    about_zero = predict(
        target_covariance=moment(targets, bias=False), weight_decay=decay, feature_decay=decay
    )
    assert abs(about_zero["r2"] - fit) > 0.02 and found["gamma"] is None


def test_of_a_run_gamma_is_there_where_nrc3_vanishes():
    for bias, mean in ((True, None), (True, [3.0, 1.0]), (False, None), (False, [1e-16, -1e-17])):
        covariance = {"target_covariance": [[1.0, 0.0], [0.0, 0.25]], "target_mean": mean}
        for decay, gamma_there in ((0.4, 0.16), (0.5, None), (0.6, None)):
            config = {"problem": covariance | {"bias": bias}, "weight_decay": decay}
            found = of_run(config | {"feature_decay": decay}, {})
            assert found["gamma"] == (gamma_there and pytest.approx(gamma_there))


def test_rounding_in_the_covariance_is_forgiven():
    base = predict(**EXAMPLE)
    matrix = np.array([[1, 0.3], [0.3 + 1e-12, 0.5]])
    skewed = predict(**EXAMPLE | {"target_covariance": matrix})
    assert skewed == predict(**EXAMPLE | {"target_covariance": matrix.T})
    assert skewed["gram"][0][1] == skewed["gram"][1][0]
    assert skewed["loss"] == pytest.approx(base["loss"], rel=1e-10)
    negative = predict(**EXAMPLE | {"target_covariance": [[1, 0], [0, -1e-12]]})
    assert negative == predict(**EXAMPLE | {"target_covariance": [[1, 0], [0, 0]]})


MATRIX = "a symmetric positive semidefinite matrix, as a list of n lists of n finite numbers"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_covariance": 2}, f"target_covariance: found 2, allowed: {MATRIX}"),
        ({"target_covariance": "wide"}, f'target_covariance: found "wide", allowed: {MATRIX}'),
        ({"target_covariance": []}, "target_covariance: found [], allowed: a sym"),
        ({"target_covariance": [[]]}, "target_covariance: found [[]], allowed: a sym"),
        ({"target_covariance": [1, 2]}, "target_covariance: found [1, 2], allowed: a sym"),
        ({"target_covariance": [[1, [2]]]}, "target_covariance: found [[1, [2]]], allowed: a sym"),
        ({"target_covariance": [[math.nan]]}, "target_covariance: found [[NaN]], allowed: a sym"),
        ({"target_covariance": [[math.inf]]}, "target_covariance: found [[Infinity]], allowed"),
        ({"target_covariance": [[True]]}, "target_covariance: found [[true]], allowed"),
        ({"target_covariance": [["1"]]}, 'target_covariance: found [["1"]], allowed'),
        ({"target_covariance": [[None]]}, "target_covariance: found [[null]], allowed"),
        ({"target_covariance": np.zeros((0, 0))}, "target_covariance: found "),
        ({"target_covariance": np.ones(3)}, "target_covariance: found "),
        (
            {"target_covariance": [[1, 2, 3], [4, 5, 6]]},
            "target_covariance: found 3 numbers in row 0 of 2 rows, allowed: a square matrix",
        ),
        (
            {"target_covariance": [[1, 0], [0]]},
            "target_covariance: found 1 numbers in row 1 of 2 rows, allowed: a square matrix",
        ),
        (
            {"target_covariance": [[1, 0.3], [0.2, 1]]},
            "target_covariance: found 0.3 at [0][1] but 0.2 at [1][0], allowed: a symmetric matrix",
        ),
        (
            {"target_covariance": [[1e12, 0.3], [0.31, 1e-6]]},
            "target_covariance: found 0.3 at [0][1] but 0.31 at [1][0], allowed: a symmetric",
        ),
        ({"target_covariance": [[0, 1e300], [-1e300, 0]]}, "target_covariance: found 1e+300 at"),
        (
            {"target_covariance": [[1, 2], [2, 1]]},
            "target_covariance: found the smallest eigenvalue -1, allowed: at least 0 (a positive",
        ),
        ({"target_covariance": [[-300]]}, "target_covariance: found the smallest eigenvalue -300,"),
        (
            {"target_covariance": [[1, 0], [0, -1e-6]]},
            "target_covariance: found the smallest eigenvalue -1e-06, allowed: at least 0",
        ),
        ({"weight_decay": 0}, "weight_decay: found 0, allowed: a finite number in (0, inf)"),
        ({"weight_decay": -0.1}, "weight_decay: found -0.1, allowed"),
        ({"weight_decay": [0.1]}, "weight_decay: found [0.1], allowed"),
        ({"feature_decay": 0.0}, "feature_decay: found 0.0, allowed"),
        ({"feature_decay": math.nan}, "feature_decay: found NaN, allowed"),
        ({"feature_decay": "a"}, 'feature_decay: found "a", allowed'),
        ({"bias": 1}, "bias: found 1, allowed: true or false"),
        (
            {"featur_decay": 1},
            'unknown hyperparameter "featur_decay" (did you mean feature_decay?)',
        ),
        ({"weight_decay": 1e200, "feature_decay": 1e200}, "weight_decay, feature_decay: found"),
        ({"weight_decay": 1e-320, "feature_decay": 1e300}, "weight_decay, feature_decay: found"),
    ],
)
def test_bad_hyperparameters_are_refused_in_one_line(changes, message):
    with pytest.raises(InputError) as error:
        predict(**EXAMPLE | changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", EXAMPLE)
def test_what_is_required(name):
    with pytest.raises(InputError, match=f"^{name}: missing, allowed: "):
        predict(**{key: value for key, value in EXAMPLE.items() if key != name})


def test_gram_checks_its_arguments_too():
    with pytest.raises(InputError, match="^target_covariance: found the smallest eigenvalue -1"):
        gram([[1, 2], [2, 1]], 0.1, 0.1)
    with pytest.raises(InputError, match="^feature_decay: found -1"):
        gram([[1.0]], 0.1, -1)
    with pytest.raises(
        InputError, match="^weight_decay, feature_decay: found decays with which gram"
    ):
        gram([[1e300]], 1e-300, 1e300)


def command(*words):
    parser = argparse.ArgumentParser(prog="collapse predict")
    stage.add_arguments(parser)
    stage.run(parser.parse_args(words))


def test_the_command_line_prints_it(capsys):
    words = [f"{name}={json.dumps(value)}" for name, value in EXAMPLE.items()]
    command("regression", "--set", words[0], "--set", words[1], "--set", words[2])
    found = json.loads(capsys.readouterr().out)
    assert found == predict(**EXAMPLE)
    # Sigma^(1/2) = (Sigma + sqrt(det) I)/sqrt(tr + 2 sqrt(det)), and sqrt(c) = 0.02.
    det = math.sqrt(0.41)
    norm = math.sqrt(1.5 + 2 * det)
    expected = 2 * (np.array([[1 + det, 0.3], [0.3, 0.5 + det]]) / norm - 0.02 * np.eye(2))
    assert np.array(found["gram"]) == pytest.approx(expected, rel=1e-12)
    assert found["loss"] == pytest.approx(0.02 * norm - 4e-4, rel=1e-12)
    assert found["mse_sum"] == pytest.approx(8e-4, rel=1e-12)
    assert found["r2"] == pytest.approx(1 - 8e-4 / 1.5, rel=1e-12)
    assert (found["rank"], found["gamma"]) == (2, pytest.approx(4e-4))


def test_the_command_line_writes_null_and_refuses_bad_input(capsys):
    command("regression", "--set", "target_covariance=[[0.5]]", "weight_decay=1", "feature_decay=1")
    found = json.loads(capsys.readouterr().out)
    assert found["explained_variance_ratio"] is None and found["r2"] == 0 and found["rank"] == 0
    for setting in ("target_covariance=[[NaN]]", "target_covariance=[[1,2],[2,1]]", "bias=maybe"):
        others = ["weight_decay=1", "feature_decay=1"]
        if not setting.startswith("target"):
            others.append("target_covariance=[[1]]")
        with pytest.raises(InputError, match=f"^{setting.split('=')[0]}: found"):
            command("regression", "--set", setting, *others)
    assert capsys.readouterr().out == ""


def test_help_states_the_units_and_that_a_bias_is_the_default(capsys):
    with pytest.raises(SystemExit):
        command("regression", "--help")
    text = capsys.readouterr().out
    assert "1/(2M) ||W H + bias - Y||_F^2 + feature_decay/(2M) ||H||_F^2" in text
    assert "bias (default true)" in text and "target_covariance (required)" in text
    assert f"allowed: {MATRIX}" in text
