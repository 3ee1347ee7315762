"""The regression problem over free features: targets, objective, minimum and size."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collapse.config.sections.procedure import problem as problem_procedure
from collapse.problems import regression
from collapse.problems.chunks import chunks
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.sgd import gradient_descent
from collapse.theory.regression import predict
from conftest import FEW, regression_objective, regression_problem


@st.composite
def covariances(draw, most=4, singular=True):
    """Draw an n x n covariance Q diag(lambda) Q^T; singular ones have variances of zero."""
    n = draw(st.integers(1, most))
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    least = -1 if singular else 0
    powers = draw(st.lists(st.integers(least, 3), min_size=n, max_size=n))
    variances = np.array([0.0 if power < 0 else 0.1 * 3.0**power for power in powers])
    axes = np.linalg.qr(generator.standard_normal((n, n))).Q
    matrix = (axes * variances) @ axes.T
    return (matrix + matrix.T) / 2


def built(problem, decays):
    """A batch of problems, one for each (weight_decay, feature_decay)."""
    configs = [
        {"problem": problem, "weight_decay": weight, "feature_decay": feature}
        for weight, feature in decays
    ]
    return regression.build(configs)


@FEW
@given(covariances(), st.integers(1, 30), st.booleans())
def test_targets_have_exactly_the_mean_and_covariance(covariance, more, centred):
    n = len(covariance)
    mean = None if centred else np.linspace(-3, 2, n).tolist()
    targets = regression.draw_targets(regression_problem(covariance, n + more, mean=mean)).numpy()
    assert targets.shape == (n, n + more) and targets.dtype == np.float64
    tolerance = 1e-13 * (1 + np.trace(covariance))
    np.testing.assert_allclose(targets.mean(1), mean or [0.0] * n, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        np.atleast_2d(np.cov(targets, ddof=0)), covariance, rtol=0, atol=tolerance
    )


def test_targets_are_the_same_for_every_seed_and_are_the_answers():
    problem = regression_problem([[1.0, 0.3], [0.3, 0.5]], mean=[1.0, -1.0])
    batch = built(problem, [(0.1, 0.2), (0.3, 0.4)])
    answers = regression.answers({"problem": problem})
    assert answers.shape == (20, 2) and answers.is_contiguous()
    assert torch.equal(answers.T, batch.targets)
    starts = batch.initial([0, 1], 0.3)
    assert not torch.equal(starts.features[0], starts.features[1])


@FEW
@given(
    covariances(), st.integers(1, 30), st.integers(0, 4), st.booleans(), st.integers(0, 2**31 - 9)
)
def test_objective_is_the_formula_before_and_after_reduction(covariance, more, wider, bias, seed):
    n, decays = len(covariance), [(0.3, 0.7), (0.0, 0.05)]
    mean = np.linspace(1, 2, n).tolist()
    problem = built(regression_problem(covariance, n + more, n + wider, mean, bias), decays)
    start = problem.initial([seed, seed + 1], 0.8)
    assert (start.bias is None) == (not bias)
    smaller, inside, basis = problem.reduced(start)
    # The reduction's own columns hold at most Y, 1 and H, in units of sqrt(M).
    assert smaller.targets.shape[1] <= min(n + more, 2 * n + wider + 1)
    torch.testing.assert_close(inside.features @ basis, start.features, rtol=1e-11, atol=1e-11)
    generator = torch.Generator().manual_seed(seed)
    random = inside.map(lambda t: torch.randn(t.shape, generator=generator, dtype=t.dtype))
    y = problem.targets.numpy()
    for point in (inside, random):
        full = point.replaced(H=point.features @ basis)
        found, small = problem.objective(full), smaller.objective(point)
        for index, decay in enumerate(decays):
            b = full.bias[index].numpy() if bias else None
            w, h = full.weights[0][index].numpy(), full.features[index].numpy()
            expected = regression_objective(w, h, b, y, *decay)
            assert found[index].item() == pytest.approx(expected, rel=1e-12)
            assert small[index].item() == pytest.approx(expected, rel=1e-11)


@settings(FEW, max_examples=15)
@given(
    covariances(),
    st.sampled_from(["bias", "mean", "centred"]),
    st.sampled_from([1, 0.2, 9]),
    st.floats(0.05, 1.3),
    st.integers(0, 2**31),
)
def test_lbfgs_reaches_the_closed_form(covariance, kind, balance, share, seed):
    n, bias = len(covariance), kind == "bias"
    assume(covariance.any())
    mean = None if kind == "centred" else np.linspace(-1, 0.5, n).tolist()
    moment = covariance if bias or mean is None else covariance + np.outer(mean, mean)
    variances = np.linalg.eigvalsh(moment)
    c = share * variances[-1]
    # At a threshold the optimum is degenerate and W W^T settles slowly.
    assume((np.abs(variances - c) > 0.05 * c).all())
    decays = np.sqrt(c * balance), np.sqrt(c / balance)
    problem = built(regression_problem(covariance, 25, n + 2, mean, bias), [decays])
    found = lbfgs(problem, problem.initial([seed], 0.3), 1e-11, 5000)
    expected = predict(
        target_covariance=moment.tolist(),
        weight_decay=decays[0],
        feature_decay=decays[1],
        bias=bias,
    )
    assert found.objective[0, -1].item() == pytest.approx(expected["loss"], rel=1e-10)
    state = found.state(len(found.steps) - 1)
    w, h = state.weights[0][0].numpy(), state.features[0].numpy()
    scale = np.sqrt(variances[-1] * decays[1] / decays[0])
    np.testing.assert_allclose(w @ w.T, expected["gram"], rtol=0, atol=1e-6 * scale)
    b = state.bias[0].numpy() if bias else None
    if bias and mean is not None:
        np.testing.assert_allclose(b + w @ h.mean(1), mean, rtol=0, atol=1e-7)
    value = regression_objective(w, h, b, problem.targets.numpy(), *decays)
    assert value == pytest.approx(expected["loss"], rel=1e-10)


def drift(rate, decay):
    """How far gradient descent over one time carries W^T W - H H^T/M from where it began."""
    problem = built(regression_problem([[1.0, 0.3], [0.3, 0.5]], 30, 5), [(decay, 0.0)])
    start = problem.initial([4], 0.5)
    steps = round(2 / rate)
    path = gradient_descent(problem, start, torch.tensor([rate]).double(), 0.0, steps, [0, steps])
    conserved, moved = [], []
    for state in (path.state(0), path.state(1)):
        w, h = state.weights[0][0], state.features[0]
        conserved.append(w.T @ w - h @ h.T / 30)
        moved.append(w.T @ w)
    return [(after - before).norm().item() for before, after in (conserved, moved)]


def test_without_decay_small_steps_conserve_the_imbalance():
    (coarse, moved), (fine, _), (finest, _) = (drift(rate, 0.0) for rate in (0.02, 0.01, 0.005))
    assert 0 < finest < fine < coarse < 0.02 * moved
    # An error of first order in the step.
    assert coarse / fine == pytest.approx(2, rel=0.1)
    assert fine / finest == pytest.approx(2, rel=0.1)
    assert drift(0.005, 0.1)[0] > 20 * finest


def cores_of(problem, runs, **optimiser):
    """What a job of so many runs asks for."""
    asked = problem_procedure.Section(
        problem=problem, optimiser=optimiser, weight_decay=0.1, feature_decay=0.1, seeds=1
    )
    return asked.resources([asked] * runs, None).cores


@pytest.mark.parametrize(
    ("samples", "dim", "runs", "cores"),
    [(12, 10, 100, 1), (5000, 10, 1600, 1), (5000, 10, 1650, 2), (5000, 200, 20, 3)],
)
def test_cores_of_a_regression_are_the_chunks_of_its_reduction(samples, dim, runs, cores):
    problem = regression_problem(np.eye(4), samples, dim)
    batch = built(problem, [(0.1, 0.1)] * runs)
    _, start, _ = batch.select(slice(0, 1)).reduced(batch.select(slice(0, 1)).initial([0], 0.1))
    each = 2 * sum(tensor.nbytes for tensor in start.tensors())
    assert len(chunks(runs, each)) == cores
    assert cores_of(problem, runs, kind="sgd", learning_rate=0.1, steps=9) == cores
    assert cores_of(problem, runs, kind="lbfgs", steps=9) == 1
