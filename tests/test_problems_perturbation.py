"""Features held near a matrix: the problem, its minimiser and its flow, against NumPy and SciPy."""

import math
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import minimize

from collapse import config, jobs
from collapse.artifacts import read_table
from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters
from collapse.problems.perturbation import Perturbation, answers, build
from collapse.problems.solvers.flow import gradient_flow
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.newton import newton
from collapse.theory.perturbation import log_rates, predict
from conftest import FEW, f64, small_problem
from test_procedures_problem import measured, states_of

# The objective over W and H, written here.


def joint(weight, features, classes, weight_decay, feature_decay, beta=0.0, anchor=0.0):
    total = features.shape[1]
    targets = np.repeat(np.eye(classes), total // classes, axis=1)
    return (
        np.sum((weight @ features - targets) ** 2) / (2 * total)
        + weight_decay / (2 * classes) * np.sum(weight**2)
        + feature_decay / (2 * total) * np.sum(features**2)
        + beta / (2 * total) * np.sum((features - anchor) ** 2)
    )


def best_weight(features, classes, weight_decay):
    """Ridge regression on the targets, as least squares of a longer system."""
    dim, total = features.shape
    targets = np.repeat(np.eye(classes), total // classes, axis=1)
    ridge = math.sqrt(total / classes * weight_decay) * np.eye(dim)
    system = np.vstack([features.T, ridge])
    padded = np.vstack([targets.T, np.zeros((dim, classes))])
    return np.linalg.lstsq(system, padded, rcond=None)[0].T


def eliminated(features, classes, weight_decay, *others):
    weight = best_weight(features, classes, weight_decay)
    return joint(weight, features, classes, weight_decay, *others)


def problem_of(decays, betas, classes=3, samples=2, dim=4):
    """A batch with these (weight_decay, feature_decay) and beta, not yet held anywhere."""
    shape = {"classes": classes, "samples_per_class": samples, "dim": dim}
    return build(
        [
            {"problem": shape | {"beta": beta}, "weight_decay": weight, "feature_decay": feature}
            for (weight, feature), beta in zip(decays, betas, strict=True)
        ]
    )


def held(decays, betas, seeds=None, scale=1.0, **shape):
    """The batch held at random starts, and the starts."""
    problem = problem_of(decays, betas, **shape)
    start = problem.initial(seeds or range(problem.batch), scale)
    return problem.posed_at(start), start


def arrays(parameters):
    return parameters.features.numpy()


@st.composite
def batches(draw):
    """Problems of any shape, also with fewer features than classes, one sample, or no beta."""
    shape = {
        "classes": draw(st.integers(2, 4)),
        "samples": draw(st.integers(1, 3)),
        "dim": draw(st.integers(1, 5)),
    }
    size = draw(st.integers(1, 3))
    weights = draw(st.lists(st.floats(-3, 1), min_size=size, max_size=size))
    features = draw(st.lists(st.sampled_from([0.0, 0.02, 2.0]), min_size=size, max_size=size))
    betas = draw(st.lists(st.floats(-2, 2), min_size=size, max_size=size))
    betas = [10**beta for beta in betas] if draw(st.booleans()) else [None] * size
    decays = list(zip([10**weight for weight in weights], features, strict=True))
    seed = draw(st.integers(0, 10**6))
    problem, _ = held(decays, betas, [seed + place for place in range(size)], **shape)
    return problem, problem.initial([seed + 100 + place for place in range(size)], 1.0)


def entries(problem):
    """What the objective written here takes, problem by problem."""
    for index in range(problem.batch):
        decays = problem.weight_decay[index].item(), problem.feature_decay[index].item()
        held_by = (
            ()
            if problem.beta is None
            else (problem.beta[index].item(), problem.anchor[index].numpy())
        )
        yield index, (problem.classes, *decays, *held_by)


@FEW
@given(batches())
def test_the_objective_is_the_least_over_the_weights(batch):
    problem, point = batch
    value = problem.objective(point)
    assert value.shape == (problem.batch,)
    rng = np.random.default_rng(0)
    for index, options in entries(problem):
        features = arrays(point)[index]
        classes, weight_decay, *others = options
        weight = best_weight(features, classes, weight_decay)
        assert value[index].item() == pytest.approx(joint(weight, features, *options), rel=1e-11)
        means, weights = problem.weights(point.features)
        assert weights[index].numpy() == pytest.approx(weight, abs=1e-9)
        groups = features.reshape(len(features), classes, -1)
        assert means[index].numpy() == pytest.approx(groups.mean(2), abs=1e-12)
        other = weight + 1e-2 * rng.normal(size=weight.shape)
        assert value[index].item() < joint(other, features, classes, weight_decay, *others)


@FEW
@given(batches())
def test_the_gradient_is_that_of_finite_differences(batch):
    problem, point = batch
    slopes, step = problem.gradient(point).features.numpy(), 1e-5
    for index, options in entries(problem):
        features, expected = arrays(point)[index], np.zeros(slopes.shape[1:])
        for place in np.ndindex(features.shape):
            shift = np.zeros(features.shape)
            shift[place] = step
            near, far = (
                eliminated(features + s * shift, *options)
                - eliminated(features - s * shift, *options)
                for s in (1, 2)
            )
            expected[place] = (8 * near - far) / (12 * step)
        assert slopes[index] == pytest.approx(expected, abs=1e-8 * (1 + np.abs(expected).max()))


@FEW
@given(batches())
def test_the_second_derivatives_are_those_of_the_gradient(batch):
    problem, point = batch
    curvature = problem.hessian(point)
    size = point.features[0].numel()
    assert curvature.shape == (problem.batch, size, size)
    assert curvature.numpy() == pytest.approx(curvature.mT.numpy(), abs=1e-11)
    step = 1e-4
    for column in range(size):
        shift = torch.zeros(size, dtype=torch.float64)
        shift[column] = step
        ends = [
            problem.gradient(Parameters(H=point.features + s * shift.view(point.features[0].shape)))
            for s in (1, -1, 2, -2)
        ]
        near, far = (ends[i].features - ends[i + 1].features for i in (0, 2))
        expected = ((8 * near - far) / (12 * step)).flatten(1).numpy()
        assert curvature[:, :, column].numpy() == pytest.approx(expected, abs=1e-6)
    # The general way, through the objective.
    general = Problem.hessian(problem, point)
    assert curvature.numpy() == pytest.approx(general.numpy(), abs=1e-9)


def test_second_derivatives_of_any_problem_are_those_of_finite_differences():
    for loss in ("mse", "ce"):
        problem = small_problem(2, width=2, sizes=(2, 1), bias=True, loss=loss)
        point = problem.initial([0, 1], 0.7)
        curvature, step, column = problem.hessian(point), 1e-5, 0
        for name, tensor in point.named.items():
            for place in np.ndindex(tensor.shape[1:]):
                shift = torch.zeros(tensor.shape, dtype=torch.float64)
                shift[(slice(None), *place)] = step
                ends = [
                    problem.gradient(point.replaced(**{name: tensor + s * shift})).tensors()
                    for s in (1, -1)
                ]
                flat = [torch.cat([slope.flatten(1) for slope in end], 1) for end in ends]
                expected = (flat[0] - flat[1]) / (2 * step)
                torch.testing.assert_close(curvature[:, :, column], expected, rtol=0, atol=1e-9)
                column += 1
        assert column == curvature.shape[1]


def test_classes_are_grouped():
    section = {"problem": {"classes": 3, "samples_per_class": 2}}
    assert answers(section).tolist() == [0, 0, 1, 1, 2, 2]


# Starts: a collapsed optimum


OPTIMA = [((0.3, 0.2), 3), ((0.01, 1.0), 2), ((3.0, 0.1), 4), ((0.5, 1.9), 3)]


@pytest.mark.parametrize(("decays", "classes"), OPTIMA)
@pytest.mark.parametrize("beta", [1e-2, 1.0, 1e3])
def test_the_optimum_is_the_one_minimiser_at_every_beta(decays, classes, beta):
    problem = problem_of([decays] * 2, [beta] * 2, classes=classes, dim=4, samples=2)
    start = problem.optimum([3, 4])
    for index in (0, 1):
        means = arrays(start)[index][:, ::2]
        c, q = math.sqrt(decays[0] * decays[1]), math.sqrt(decays[1] / decays[0])
        assert means.T @ means == pytest.approx((1 - c) / q * np.eye(classes), abs=1e-12)
        assert (arrays(start)[index][:, 1::2] == means).all()
    assert not torch.allclose(*start.features)
    posed = problem.posed_at(start)
    assert posed.gradient(start).norm().max() < 1e-15
    assert np.linalg.eigvalsh(posed.hessian(start).numpy()).min() > 0
    # Without beta it is a minimiser, too, and rotations of it cost nothing.
    free = replace(problem, beta=None)
    assert free.gradient(start).norm().max() < 1e-15
    flat = np.linalg.eigvalsh(free.hessian(start).numpy())
    assert flat.min() > -1e-12
    rotations = classes * (classes - 1) // 2 + (4 - classes) * classes
    assert (np.abs(flat) < 1e-12).sum(1).tolist() == [rotations] * 2
    # Cor. 2.2: from elsewhere nothing lower is reached.
    least = posed.objective(start)
    for seed in range(3):
        other = problem.initial([seed, seed + 10], 1.0)
        end = newton(posed, other, 1e-14, 300).state(-1)
        assert (posed.objective(end) >= least - 1e-14).all()


def test_each_seed_turns_the_optimum_of_its_run_whatever_its_neighbours():
    decays = [(0.3, 0.2), (0.1, 0.5), (0.3, 0.2)]
    whole = problem_of(decays, [1.0] * 3).optimum([5, 6, 7])
    for index, seed in enumerate((5, 6, 7)):
        alone = problem_of(decays[index : index + 1], [1.0]).optimum([seed])
        assert torch.equal(alone.features[0], whole.features[index])
    assert not torch.allclose(whole.features[0], whole.features[2])


def test_an_anchor_of_zero_is_more_feature_decay():
    problem = problem_of([(0.1, 0.05), (0.3, 0.0)], [0.7, 2.0])
    nowhere = replace(problem, anchor=problem.initial([0, 0], 0.0).features)
    decayed = replace(problem, beta=None, feature_decay=problem.feature_decay + problem.beta)
    point = problem.initial([1, 2], 1.0)
    for at in (point, problem.initial([3, 4], 3.0)):
        torch.testing.assert_close(nowhere.objective(at), decayed.objective(at))
        assert arrays(nowhere.gradient(at)) == pytest.approx(arrays(decayed.gradient(at)))
        assert nowhere.hessian(at).numpy() == pytest.approx(decayed.hessian(at).numpy(), abs=1e-14)


def test_a_problem_without_a_beta_is_held_nowhere():
    problem = problem_of([(0.1, 0.05)], [None])
    start = problem.initial([0], 1.0)
    assert problem.posed_at(start).anchor is None
    assert [stage.beta for stage in problem.homotopy(start)] == [None]


def test_an_anchor_without_a_spread_of_classes_or_a_number_is_told():
    start = problem_of([(0.1, 0.05)] * 2, [1.0] * 2, classes=2, samples=2).initial([0, 1], 1e200)
    alike, lost = start.features.clone(), start.features.clone()
    alike[1] = 0.1 + f64([1e200, -1e200, 1e200, -1e200])
    lost[0, 2, 1] = math.nan
    zero = start.features * f64([1.0, 0.0]).view(2, 1, 1)
    for beta in (1.0, None):
        problem = problem_of([(0.1, 0.05)] * 2, [beta] * 2, classes=2, samples=2)
        # Numbers whose squares are none are numbers.
        assert problem.start_fault(start) is None
        for features, fault in (
            (alike, (1, "H_0 has class means that do not differ")),
            (zero, (1, "H_0 has class means that do not differ")),
            (lost, (0, "H_0 is not finite")),
        ):
            assert problem.start_fault(Parameters(H=features)) == fault


def test_a_dead_unit_comes_to_life_where_zero_is_no_minimum():
    """The gradient in a row of zeros is zero; a saddle all the same, if the residual is large."""
    weight_decay, feature_decay = 0.02, 0.05
    problem = problem_of([(weight_decay, feature_decay)] * 2, [0.1, 300.0], classes=4, dim=3)
    start = problem.initial([0, 0], 1.0)
    start.features[:, 1:] = 0
    problem = problem.posed_at(start)
    # A line search ends where the objective's digits do, at gradients of the root of its rounding.
    for solve, rounding in (
        (lambda: newton(problem, start, 1e-13, 200), 1e-12),
        (lambda: lbfgs(problem, start, 1e-11, 5000), 1e-8),
    ):
        point = solve().state(-1)
        assert problem.gradient(point).features.abs().max() < rounding
        assert np.linalg.eigvalsh(problem.hessian(point).numpy()).min() > -1e-9
        # Held fast it stays dead.
        assert point.features[1, 1:].abs().max() < 1e-8 < 1e-2 < point.features[0, 1:].abs().max()


def test_a_problem_without_a_known_optimum_says_so():
    with pytest.raises(InputError, match="no optimum of a DeepLinear is known"):
        small_problem(1).optimum([0])


# Newton's method


def scipy_minimum(features, options, start):
    """BFGS on the objective written here, with the gradient of the envelope theorem."""
    classes, weight_decay, feature_decay, beta, anchor = options
    total = features.shape[1]
    targets = np.repeat(np.eye(classes), total // classes, axis=1)

    def value(flat):
        point = flat.reshape(features.shape)
        weight = best_weight(point, classes, weight_decay)
        slope = weight.T @ (weight @ point - targets) + feature_decay * point
        slope += beta * (point - anchor)
        return eliminated(point, *options), slope.ravel() / total

    result = minimize(
        value, start.ravel(), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000}
    )
    return result.x.reshape(features.shape)


@pytest.mark.parametrize("beta", [0.3, 3.0, 100.0])
def test_newton_ends_where_scipy_and_lbfgs_end(beta):
    decays = [(0.1, 0.05), (0.3, 0.2), (2.0, 0.0)]
    problem, start = held(decays, [beta] * 3, scale=0.8)
    end = newton(problem, start, 1e-14, 100)
    assert end.steps == (0, 1) and end.diverged_step.tolist() == [-1] * 3
    assert torch.equal(end.state(0).features, start.features)
    point = end.state(-1)
    assert problem.gradient(point).features.abs().max() <= 1e-12
    assert torch.equal(end.gradient_norm[:, 1], problem.gradient(point).norm())
    assert torch.equal(end.objective[:, 1], problem.objective(point))
    other = lbfgs(problem, start, 1e-11, 5000).state(-1)
    assert arrays(point) == pytest.approx(arrays(other), abs=1e-6)
    for index, options in entries(problem):
        expected = scipy_minimum(arrays(point)[index], options, arrays(start)[index])
        assert arrays(point)[index] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("weight_decay", [1e-3, 0.1, 4.0])
def test_the_gradient_at_the_end_is_rounding(weight_decay):
    betas = [1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3]
    problem, start = held([(weight_decay, 0.05)] * 7, betas)
    end = newton(problem, start, 1e-14, 100)
    assert problem.gradient(end.state(-1)).features.abs().max() <= 1e-12
    # A minimum, from which every eigenvalue leads up.
    assert np.linalg.eigvalsh(problem.hessian(end.state(-1)).numpy()).min() > 0
    assert (end.objective[:, 1] <= end.objective[:, 0]).all()


@pytest.mark.parametrize("beta", [1e-8, 1e-4, 1e4, 1e8])
@pytest.mark.parametrize("shape", [(2, 1, 1), (3, 2, 4)])
@pytest.mark.parametrize("weight_decay", [1e-8, 0.1])
def test_extreme_penalties_reach_a_minimum_too(beta, shape, weight_decay):
    classes, samples, dim = shape
    problem, start = held([(weight_decay, 0.05)], [beta], classes=classes, samples=samples, dim=dim)
    end = newton(problem, start, 1e-14, 100)
    assert end.diverged_step.tolist() == [-1]
    slope = problem.gradient(end.state(-1)).features.abs().max()
    # The smallest curvature is that of the decays: digits lost to cancellation leave 1e-8 here.
    assert slope <= 1e-12 * max(1, beta)
    assert end.objective[0, 1] <= end.objective[0, 0]


def test_many_dimensions_are_solved_in_seconds():
    problem, start = held([(0.1, 0.05)], [1.0], classes=2, samples=1, dim=300)
    end = newton(problem, start, 1e-14, 100)
    assert problem.gradient(end.state(-1)).features.abs().max() <= 1e-12


@settings(parent=FEW, max_examples=5)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1e-8, 0.02, 3.0]), st.sampled_from([0.0, 0.3]), st.floats(-6, 6)
        ),
        min_size=2,
        max_size=4,
    ),
    st.sampled_from([1e-14, 1e-18]),
)
def test_no_minimiser_depends_on_its_neighbours(runs, tolerance):
    """Also where rounding lets none reach the tolerance."""
    decays, betas = [run[:2] for run in runs], [10 ** run[2] for run in runs]
    problem, start = held(decays, betas, dim=3)
    whole = newton(problem, start, tolerance, 60)
    for index in range(problem.batch):
        alone, begin = held(decays[index : index + 1], betas[index : index + 1], [index], dim=3)
        assert torch.equal(begin.features[0], start.features[index])
        single = newton(alone, begin, tolerance, 60)
        for name in ("objective", "gradient_norm"):
            assert torch.equal(getattr(single, name)[0], getattr(whole, name)[index])
        assert torch.equal(single.parameters.features[0], whole.parameters.features[index])


def test_the_continuation_ends_at_each_problems_beta():
    betas = f64([1e-4, 1.0, 1e6])
    problem, start = held([(0.1, 0.05)] * 3, betas.tolist())
    stages = torch.stack([stage.beta for stage in problem.homotopy(start)])
    torch.testing.assert_close(stages[-1], betas, rtol=1e-14, atol=0)
    torch.testing.assert_close(stages[0], f64([100.0, 100.0, 1e6]), rtol=1e-12, atol=0)
    falls = stages[:-1] / stages[1:]
    assert falls.min() >= 1 - 1e-14 and falls.max() <= 4 + 1e-12
    assert all(torch.equal(s.anchor, problem.anchor) for s in problem.homotopy(start))
    # From elsewhere each goes straight to its own.
    moved = Parameters(H=start.features + f64([0.0, 1.0, 0.0]).view(3, 1, 1))
    betas_of = torch.stack([stage.beta for stage in problem.homotopy(moved)])
    assert torch.equal(betas_of[:, 1], betas[1].expand(len(betas_of))) and betas_of[0, 0] > 1


def test_the_continuation_follows_the_branch_that_starts_at_the_anchor():
    """From H_0 = 0 plus a little, straight at a small beta, another minimum would do too."""
    problem, start = held([(0.1, 0.05)] * 4, [0.01] * 4, seeds=range(4), scale=0.1)
    end = newton(problem, start, 1e-14, 100).state(-1)
    path, begin = problem, start
    for beta in np.geomspace(1e4, 0.01, 120):
        path = replace(problem, beta=torch.full((4,), float(beta), dtype=torch.float64))
        begin = newton(path, begin, 1e-14, 100).state(-1)
    assert arrays(end) == pytest.approx(arrays(begin), abs=1e-8)


def test_lbfgs_follows_the_same_branch():
    problem, start = held([(0.1, 0.05)] * 4, [0.01] * 4, seeds=range(4), scale=0.1)
    ends = newton(problem, start, 1e-14, 100), lbfgs(problem, start, 1e-11, 5000)
    first, second = (arrays(end.state(-1)) for end in ends)
    # Along its flattest directions L-BFGS stops earlier.
    assert first == pytest.approx(second, abs=1e-5)


@dataclass(frozen=True)
class Quadratic(Problem):
    """1/2 x^T A x - b^T x: one vector, A symmetric and positive definite."""

    matrix: torch.Tensor
    shift: torch.Tensor
    rate: float = 1.0

    @property
    def batch(self):
        return len(self.matrix)

    @property
    def shapes(self):
        return {"x": (self.matrix.shape[1],)}

    @property
    def speed(self):
        return self.rate

    def objective(self, parameters):
        (x,) = parameters.tensors()
        image = (self.matrix @ x.unsqueeze(2)).squeeze(2)
        return (x * image).sum(1) / 2 - (x * self.shift).sum(1)

    def select(self, index):
        return Quadratic(self.matrix[index], self.shift[index], self.rate)


def quadratic(batch=2, size=3, rate=1.0):
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(batch, size, size, generator=generator, dtype=torch.float64)
    shift = torch.randn(batch, size, generator=generator, dtype=torch.float64)
    return Quadratic(root @ root.mT + torch.eye(size, dtype=torch.float64), shift, rate)


def test_newton_solves_any_quadratic_at_once():
    problem = quadratic()
    end = newton(problem, problem.initial([0, 1], 10.0), 1e-12, 3).state(-1)
    expected = torch.linalg.solve(problem.matrix, problem.shift)
    torch.testing.assert_close(end.tensors()[0], expected, rtol=1e-12, atol=1e-12)


def test_the_second_derivatives_of_a_quadratic_are_its_matrix():
    problem = quadratic()
    point = problem.initial([0, 1], 1.0)
    torch.testing.assert_close(problem.hessian(point), problem.matrix, rtol=0, atol=1e-13)
    flat = replace(problem, matrix=0 * problem.matrix)
    assert not flat.hessian(point).any()


@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_newton_and_lbfgs_agree_on_a_deep_linear_problem(loss):
    problem = small_problem(2, depth=1, width=3, sizes=(2, 2, 1), decay=0.02, loss=loss)
    start = problem.initial([0, 1], 0.5)
    end = newton(problem, start, 1e-13, 300)
    assert end.gradient_norm[:, 1].max() < 1e-11
    other = lbfgs(problem, start, 1e-10, 5000)
    torch.testing.assert_close(end.objective[:, 1], other.objective[:, -1], rtol=1e-9, atol=0)


@pytest.mark.parametrize("value", [1e200, math.inf, math.nan])
def test_a_start_without_a_finite_objective_diverges_at_once_and_alone(value):
    problem, start = held([(0.1, 0.05)] * 3, [1.0] * 3)
    spoilt = Parameters(H=start.features.clone())
    spoilt.features[1] = value
    free = replace(problem, beta=None, anchor=None)
    for posed, run in (
        (problem, lambda p, s: newton(p, s, 1e-14, 50)),
        (free, lambda p, s: gradient_flow(p, s, [0.1, 1.0], 1e-10)),
    ):
        lost, whole = run(posed, spoilt), run(posed, start)
        assert lost.diverged_step.tolist() == [-1, 0, -1]
        assert not lost.valid[1].any() and lost.valid[[0, 2]].all()
        assert lost.objective[1].isnan().all() and lost.parameters.features[1].isnan().all()
        for index in (0, 2):
            assert torch.equal(lost.parameters.features[index], whole.parameters.features[index])


# The flow


@pytest.mark.parametrize("rate", [1.0, 7.0])
def test_the_flow_of_a_quadratic_is_an_exponential(rate):
    problem = quadratic(rate=rate)
    start = problem.initial([0, 1], 3.0)
    times = [0.01, 0.1, 0.5, 2.0]
    path = gradient_flow(problem, start, times, 1e-12)
    assert path.steps == (0, 1, 2, 3, 4) and path.times.tolist() == [0.0, *times]
    ends = torch.linalg.solve(problem.matrix, problem.shift).numpy()
    for record, time in enumerate([0.0, *times]):
        for index in range(2):
            matrix, x = problem.matrix[index].numpy(), start.tensors()[0][index].numpy()
            expected = ends[index] + expm(-rate * time * matrix) @ (x - ends[index])
            at = path.state(record).tensors()[0][index].numpy()
            assert at == pytest.approx(expected, abs=1e-10)
    torch.testing.assert_close(path.objective[:, 2], problem.objective(path.state(2)))


def velocity(features, classes, weight_decay, feature_decay):
    targets = np.repeat(np.eye(classes), features.shape[1] // classes, axis=1)
    weight = best_weight(features, classes, weight_decay)
    return -weight.T @ (weight @ features - targets) - feature_decay * features


@pytest.mark.parametrize("decays", [(0.1, 0.05), (0.02, 0.0), (4.0, 0.5)])
@pytest.mark.parametrize("dim", [2, 4])
def test_the_flow_of_a_problem_is_that_of_equation_4(decays, dim):
    problem, start = held([decays], [None], dim=dim)
    times = [0.05, 1.0, 6.0]
    path = gradient_flow(problem, start, times, 1e-11)
    shape = start.features[0].shape

    def slope(_, flat):
        return velocity(flat.reshape(shape), 3, *decays).ravel()

    solution = solve_ivp(
        slope, (0, 6), arrays(start)[0].ravel(), "LSODA", times, rtol=1e-11, atol=1e-13
    )
    for record, expected in enumerate(solution.y.T, 1):
        at = path.state(record).features[0].numpy()
        assert at == pytest.approx(expected.reshape(shape), abs=1e-8)


@settings(parent=FEW, max_examples=5)
@given(st.lists(st.tuples(st.floats(-3, 0.5), st.floats(0, 1)), min_size=2, max_size=3))
def test_no_flow_depends_on_its_neighbours(runs):
    decays = [(10**weight, feature) for weight, feature in runs]
    problem, start = held(decays, [None] * len(decays))
    whole = gradient_flow(problem, start, [0.1, 2.0], 1e-10)
    for index in range(problem.batch):
        alone, begin = held(decays[index : index + 1], [None], [index])
        single = gradient_flow(alone, begin, [0.1, 2.0], 1e-10)
        assert torch.equal(single.parameters.features[0], whole.parameters.features[index])
        assert torch.equal(single.objective[0], whole.objective[index])


def monotone(features, classes, feature_decay, times):
    """Logarithms of NC1_ratio and of both traces, freed of the feature decay, in time."""
    rows, growths = [], []
    for state, time in zip(features, times, strict=True):
        groups = state.reshape(len(state), classes, -1)
        means = groups.mean(2)
        within = np.sum((groups - means[:, :, None]) ** 2) / state.shape[1]
        between = np.sum((means - means.mean(1, keepdims=True)) ** 2) / classes
        growth = 2 * feature_decay * time
        rows.append([within / between, within, between])
        growths.append([0, growth, growth])
    # What is exactly 0 has the logarithm -inf.
    with np.errstate(divide="ignore"):
        return (np.log(rows) + growths).T


@pytest.mark.parametrize(
    ("decays", "last"),
    [
        ((0.1, 0.05), 200),
        ((0.3, 0.0), 60),
        ((0.01, 0.3), 100),
        ((0.03, 0.0), 500),
        ((4.0, 0.3), 40),
    ],
)
@pytest.mark.parametrize(("dim", "seed"), [(2, 0), (5, 1)])
def test_what_theorem_3_1_says_falls_falls_until_nc1_ratio_is_rounding(decays, last, dim, seed):
    problem, start = held([decays], [None], [seed], classes=3, samples=4, dim=dim)
    times = np.geomspace(1e-2, last, 60)
    path = gradient_flow(problem, start, times, 1e-10)
    states = [arrays(path.state(record))[0] for record in range(61)]
    ratio, within, between = monotone(states, 3, decays[1], [0.0, *times])
    kept = ratio > math.log(1e-12)
    # A ratio that has reached rounding stays there.
    assert kept[: kept.sum()].all()
    count = kept.sum()
    assert (np.diff(ratio[:count]) < 0).all()
    assert (np.diff(within[:count]) < 1e-9).all()
    assert (np.diff(between[:count]) > -1e-9).all()


def test_the_ratio_of_a_flow_goes_down_to_rounding():
    problem, start = held([(0.3, 0.05), (0.1, 0.3)], [None] * 2, classes=3, samples=4, dim=3)
    end = gradient_flow(problem, start, [1.0, 300.0], 1e-10)
    for index in (0, 1):
        features = arrays(end.state(-1))[index]
        ratio, *_ = monotone([features], 3, 0.0, [0.0])
        assert ratio[0] < math.log(1e-20)


def test_a_flow_that_has_come_to_rest_stays_there_at_no_cost():
    problem, start = held([(0.1, 0.05)], [None], dim=3)
    path = gradient_flow(problem, start, [1e3, 1e4, 1e9], 1e-10)
    states = [arrays(path.state(record))[0] for record in (1, 2, 3)]
    assert np.abs(velocity(states[0], 3, 0.1, 0.05)).max() < 1e-12
    assert states[1] == pytest.approx(states[0], abs=1e-10)
    assert states[2] == pytest.approx(states[0], abs=1e-10)
    assert path.times[-1] == 1e9


def test_a_flow_from_the_optimum_does_not_move():
    problem = problem_of([(0.1, 0.05)], [None])
    start = problem.optimum([0])
    path = gradient_flow(problem, start, [1.0, 50.0], 1e-10)
    for record in (1, 2):
        assert arrays(path.state(record)) == pytest.approx(arrays(start), abs=1e-12)


def test_the_stiffness_is_the_fastest_rate_of_what_lies_within_classes(atlas_of):
    problem, start = held([(0.1, 0.05), (0.4, 0.3)], [None] * 2)
    rates = problem.stiffness(start)
    for index, (weight_decay, feature_decay) in enumerate([(0.1, 0.05), (0.4, 0.3)]):
        weight = best_weight(arrays(start)[index], 3, weight_decay)
        fastest = np.linalg.eigvalsh(weight.T @ weight).max() + feature_decay
        assert rates[index].item() == pytest.approx(fastest, rel=1e-10)
    assert small_problem(1).stiffness(small_problem(1).initial([0], 1.0)) is None
    assert small_problem(1).speed == 1 and problem.speed == 6


# Configs


BLOCK = {
    "problem": {
        "kind": "perturbation",
        "classes": 3,
        "samples_per_class": 2,
        "dim": 4,
        "beta": 1.0,
    },
    "optimiser": {"kind": "newton"},
    "weight_decay": 0.1,
    "feature_decay": 0.05,
    "seeds": 1,
}
OPTIMUM = {"kind": "optimum"}
FLOW = {"kind": "flow", "first": 0.01, "last": 3.0, "record": 6}


def block(**changes):
    """A small experiment; keys of its problem begin with ``problem__``."""
    changes = dict(changes)
    shape = {k.removeprefix("problem__"): changes.pop(k) for k in list(changes) if "__" in k}
    return BLOCK | {"problem": BLOCK["problem"] | shape} | changes


@pytest.fixture(scope="module")
def atlas_of(tmp_path_factory):
    """The config with one experiment, whose first seed is 1; for speed without the project's."""
    folder = tmp_path_factory.mktemp("config")
    shutil.copy("config/config.yaml", folder)
    for part in ("studies", "scales/smoke"):
        (folder / part).mkdir(parents=True)
    (folder / "studies/perturbation.yaml").write_text(
        yaml.safe_dump({"perturbation": {"other": BLOCK}})
    )
    (folder / "scales/smoke/perturbation.yaml").write_text("perturbation: {}\n")

    def load(experiment):
        user = {"scale": "smoke", "first_seed": 1, "perturbation": {"mine": experiment}}
        return config.load(folder, user, "my.yaml")

    return load


def free_flow(**changes):
    return block(problem__beta=None, optimiser=FLOW, **changes)


LINEAR = {"kind": "deep_linear", "class_sizes": [2, 2], "widths": 3}
BAD = [
    (block(weight_decay=0), "weight_decay: 0.0 found, allowed are numbers above 0"),
    (block(weight_decay=-1), "weight_decay"),
    (block(weight_decay=None), "weight_decay: null found, allowed is a number"),
    (block(weight_decay=[0.1]), "weight_decay: [0.1] found, allowed is a number"),
    (block(weight_decay=[0.1], start=OPTIMUM), "weight_decay: [0.1] found, allowed is a number"),
    (block(grid={"weight_decay": [0.1, 0.0]}), "grid.weight_decay: 0.0 found"),
    (block(feature_decay=-0.1), "feature_decay"),
    (block(problem__beta=0), "problem.beta: input should be greater than 0, found 0"),
    (block(problem__beta=-1), "problem.beta: input should be greater than 0, found -1"),
    (block(problem__beta=math.nan), "problem.beta: input should be a finite number"),
    (block(problem__beta=math.inf), "problem.beta: input should be a finite number"),
    (block(problem__beta=True), "problem.beta: input should be a number, not a boolean"),
    (block(grid={"problem.beta": [1.0, 0]}), "grid.problem.beta"),
    (block(problem__classes=1), "problem.classes: input should be greater than or equal to 2"),
    (block(problem__dim=0), "problem.dim"),
    (block(problem__samples_per_class=0), "problem.samples_per_class"),
    (block(problem__init_scale=0), "problem.init_scale"),
    (
        block(start=OPTIMUM, weight_decay=4, feature_decay=0.5),
        "weight_decay: 4 * 0.5 found with start optimum, allowed is a product below 1",
    ),
    (
        block(start=OPTIMUM, weight_decay=1, feature_decay=None),
        "weight_decay: 1 * 1 found with start optimum",
    ),
    (
        block(start=OPTIMUM, grid={"feature_decay": [0.1, 10]}),
        "weight_decay: 0.1 * 10 found with start optimum, allowed is a product below 1",
    ),
    (block(start=OPTIMUM, feature_decay=0), "feature_decay: 0 found, allowed is more"),
    (
        block(start=OPTIMUM, problem__dim=2),
        "problem.dim: 2 found with start optimum, allowed is 3 or more",
    ),
    (block(start=OPTIMUM | {"noise": -1}), "start.noise"),
    (block(start={"kind": "optimun"}), "start.kind: no kind 'optimun', did you mean 'optimum'"),
    (
        {**BLOCK, "problem": LINEAR, "start": OPTIMUM},
        "start: optimum found, none of a deep_linear problem is known",
    ),
    (block(optimiser=FLOW | {"last": 0.01}), "optimiser.last: 0.01 found, allowed is more"),
    (block(optimiser=FLOW | {"last": 1e-3}), "optimiser.last: 0.001 found, allowed is more"),
    (block(optimiser=FLOW | {"first": 0}), "optimiser.first"),
    (block(optimiser=FLOW | {"record": 1}), "optimiser.record: 1 found, allowed is more"),
    (block(optimiser=FLOW | {"record": 0}), "optimiser.record"),
    (block(optimiser=FLOW | {"tolerance": 0}), "optimiser.tolerance"),
    (block(optimiser={"kind": "newton", "steps": 0}), "optimiser.steps"),
    (block(optimiser={"kind": "newton", "record": 3}), "optimiser.record: unknown key"),
    (block(probes=[{"kind": "response", "sizes": [0.1, 0]}]), "probes.0.sizes.1"),
    (block(probes=[{"kind": "flow_gap", "tolerance": 0}]), "probes.0.tolerance"),
    (block(sweep={"scaled_decay": [0.1]}), "sweep: found with a perturbation problem"),
]


@pytest.mark.parametrize(("experiment", "words"), BAD)
def test_a_bad_config_is_refused_in_one_line(atlas_of, experiment, words):
    with pytest.raises(InputError) as caught:
        atlas_of(experiment)
    message = str(caught.value)
    assert message.startswith("my.yaml: perturbation.mine.") and "\n" not in message
    assert words in message, message


def test_the_problem_section_lists_what_it_needs(atlas_of):
    lacking = {key: value for key, value in BLOCK["problem"].items() if key != "beta"}
    with pytest.raises(InputError, match="mine.problem.beta: is missing"):
        atlas_of(BLOCK | {"problem": lacking})


@pytest.mark.parametrize(
    "changes",
    [
        {"feature_decay": 0},
        {"problem__dim": 2},
        {"weight_decay": 4.0, "feature_decay": 3.0},
        {"feature_decay": None},
        {"optimiser": FLOW | {"first": 1.0, "last": 1.0, "record": 1}},
    ],
)
def test_a_flow_may_be_where_no_optimum_is(atlas_of, changes):
    flow = free_flow()
    atlas_of(block(**{"problem__beta": None, "optimiser": FLOW} | changes))
    assert flow["problem"]["beta"] is None


def test_runs_with_and_without_beta_are_computed_apart(atlas_of, table):
    for values, groups in (
        ([1.0, 2.0], ["all"]),
        ([None, 1.0, 2.0], ["beta=None", "all"]),
    ):
        atlas = atlas_of(block(grid={"problem.beta": values}))
        files = jobs.measure(atlas, "perturbation", "mine").files("states")
        assert files == [f"perturbation/mine/{group}/states.safetensors" for group in groups]


# From the config to the tables


def test_runs_with_and_without_beta_are_solved_apart(tmp_path, table):
    """Each beta of a grid is that of its run, in a folder with no other run."""
    rows = table(tmp_path, block(grid={"problem.beta": [None, 0.5, 30.0]}))
    assert rows["beta"].isna().any() and set(rows["beta"].dropna()) == {0.5, 30.0}
    ratios = {}
    for folder, betas in (("beta=None", [None]), ("all", [0.5, 30.0])):
        _, runs, _ = states_of(tmp_path, study="perturbation", group=folder)
        assert [run["keys"]["beta"] for run in runs] == betas
        for beta in betas:
            mine = rows[rows["beta"].isna() if beta is None else rows["beta"] == beta]
            values = mine.set_index(["step", "metric"])["value"]
            assert values[1, "gradient_norm"] < 1e-12
            ratios[beta] = values[1, "NC1_ratio"] / values[0, "NC1_ratio"]
    assert ratios[None] < 1e-10 < 0.1 < ratios[0.5] < ratios[30.0] < 1


@pytest.mark.parametrize("solver", ["newton", "flow"])
def test_a_weight_decay_lost_in_rounding_diverges_and_leaves_its_neighbours(solver):
    """More dimensions than samples, in whole numbers: H H^T has no inverse by itself."""
    column = [f64(values) for values in ([0.1, 1e-20], [0.05] * 2, [1.0] * 2)]
    problem = Perturbation(3, 1, 9, *column)
    drawn = problem.initial([1, 2], 1.0).features
    begin = Parameters(H=torch.cat([drawn[:1], drawn[1:].round()]))
    problem = problem.posed_at(begin)

    def solve(problem, begin):
        if solver == "newton":
            return newton(problem, begin, 1e-14, 50)
        return gradient_flow(problem, begin, [1.0], 1e-9)

    both = solve(problem, begin)
    alone = solve(problem.select(slice(0, 1)), begin.map(lambda tensor: tensor[:1]))
    assert both.diverged_step.tolist() == [-1, 0]
    assert torch.equal(both.parameters.features[:1], alone.parameters.features)
    assert problem.hessian(begin)[0].isfinite().all()


@pytest.fixture
def table(atlas_of):
    """Compute, predict and measure an experiment; return its rows."""
    return lambda results, experiment: measured(results, atlas_of(experiment), "perturbation")


def at(rows, step, layer="H1", **keys):
    """The metrics of one state."""
    for key, value in keys.items():
        rows = rows[rows[key] == value]
    rows = rows[(rows["step"] == step) & (rows["layer"] == layer)]
    assert not rows["metric"].duplicated().any()
    return rows.set_index("metric")["value"]


def numbered(values, name):
    return np.array(
        [values[f"{name}[{i}]"] for i in range(sum(f"{name}[" in v for v in values.index))]
    )


def features_of(results, run, step, group="all", name="mine"):
    tensors, *_ = states_of(results, name, "perturbation", group)
    return tensors[f"{run}/{step:06d}/H"]


def ratio_and_traces(features, classes):
    groups = features.reshape(len(features), classes, -1)
    means = groups.mean(2)
    within = np.sum((groups - means[:, :, None]) ** 2) / features.shape[1]
    between = np.sum((means - means.mean(1, keepdims=True)) ** 2) / classes
    return within / between, within, between


def test_a_minimiser_and_its_response_go_from_the_config_to_the_tables(tmp_path, table):
    sizes = [1e-2, 1e-3]
    probes = [{"kind": "response", "sizes": sizes}, "flow_gap"]
    mine = block(start=OPTIMUM, probes=probes, grid={"problem.beta": [0.5, 100.0]}, seeds=2)
    rows = table(tmp_path, mine)
    assert set(rows["step"]) == {0, 1} and len(rows[rows["metric"] == "gradient_norm"]) == 8
    predicted = read_table(tmp_path / "perturbation/mine/predictions.parquet")
    assert len(predicted) == 4 * (4 + 3 + 1)
    for beta in (0.5, 100.0):
        closed = predict(
            classes=3,
            samples_per_class=2,
            dim=4,
            weight_decay=0.1,
            feature_decay=0.05,
            beta=beta,
        )
        factors = [[part["factor"]] * part["multiplicity"] for part in closed["factors"]]
        blocks = [[level["value"]] * level["multiplicity"] for level in closed["f_kk"]]
        for seed in (1, 2):
            begin, end = (at(rows, step, beta=beta, seed=seed) for step in (0, 1))
            assert not any("response" in name or "flow" in name for name in begin.index)
            assert numbered(end, "response_eigenvalue") == pytest.approx(
                np.sort(np.concatenate(factors)), abs=1e-11
            )
            assert numbered(end, "block_singular_value") == pytest.approx(
                np.concatenate(blocks), abs=1e-11
            )
            cross = np.array([closed["f_kl"], *[0.0] * 7])
            assert numbered(end, "cross_singular_value") == pytest.approx(cross, abs=1e-11)
            # H_0 is a minimiser: neither it nor the flow from it moves.
            assert end["flow_gap"] < 1e-10 and end["flow_gap_order"] < 1e-12
            assert end["NC1_ratio"] < 1e-25 and end["flow_NC1_ratio"] < 1e-20
            values = predicted[(predicted["beta"] == beta) & (predicted["seed"] == seed)]
            values = values.set_index("metric")["value"]
            assert values["nc1_ratio_response"] == closed["nc1_ratio_response"]
            assert values["f_kl"] == closed["f_kl"]
    points = read_table(tmp_path / "perturbation/mine/samples.parquet")
    assert len(points) == 4 * 2 and set(points["probe"]) == {"response"}
    assert points["size"].tolist() == 4 * sizes and set(points["step"]) == {1}
    assert (points["error"] < 10 * points["size"] ** 2).all()


def test_the_response_at_features_that_are_not_collapsed(tmp_path, table):
    """Of a problem solved again here at a moved H_0."""
    probes = [{"kind": "response", "sizes": [1e-3]}]
    rows = table(tmp_path, block(probes=probes, grid={"problem.beta": [0.5, 200.0]}))
    errors = {}
    for beta in (0.5, 200.0):
        begin, end = (features_of(tmp_path, f"beta={beta:g}+seed=1", step) for step in (0, 1))
        problem = problem_of([(0.1, 0.05)], [beta])
        columns, step = [], 1e-4
        for unit in np.eye(begin.size):
            shift = step * unit.reshape(begin.shape)
            ends = [
                newton(
                    problem.posed_at(Parameters(H=f64(begin + s * shift)[None])),
                    Parameters(H=f64(end)[None]),
                    1e-15,
                    50,
                ).state(-1)
                for s in (1, -1)
            ]
            columns.append((ends[0].features - ends[1].features).numpy().ravel() / (2 * step))
        response = np.array(columns).T
        values = at(rows, 1, beta=beta)
        expected = np.linalg.eigvalsh((response + response.T) / 2)
        assert numbered(values, "response_eigenvalue") == pytest.approx(expected, abs=1e-6)
        blocks = response.reshape(4, 3, 2, 4, 3, 2)
        for name, other in (("block", 0), ("cross", 1)):
            block_ = blocks[:, 0, :, :, other].reshape(8, 8)
            expected = np.linalg.svd(block_, compute_uv=False)
            assert numbered(values, f"{name}_singular_value") == pytest.approx(expected, abs=1e-6)
        errors[beta] = values["first_order_error"]
        # Eq. 5: I less the second derivatives without beta over beta.
        free = replace(problem, beta=None)
        bent = free.hessian(Parameters(H=f64(end)[None]))[0].numpy() * 6 / beta
        first = np.eye(len(bent)) - bent
        assert errors[beta] == pytest.approx(
            np.linalg.norm(response - first, 2), rel=1e-3, abs=1e-7
        )
    assert errors[200.0] < 1e-3 * errors[0.5]


def test_the_gap_of_a_minimiser_from_its_flow(tmp_path, table):
    rows = table(tmp_path, block(probes=["flow_gap"], grid={"problem.beta": [2.0, 1e3, 1e4]}))
    for beta in (2.0, 1e3, 1e4):
        begin, end = (features_of(tmp_path, f"beta={beta:g}+seed=1", step) for step in (0, 1))
        values = at(rows, 1, beta=beta)

        def slope(_, flat, shape=begin.shape):
            return velocity(flat.reshape(shape), 3, 0.1, 0.05).ravel()

        path = solve_ivp(slope, (0, 1 / beta), begin.ravel(), "LSODA", rtol=1e-12, atol=1e-14)
        flow = path.y[:, -1].reshape(begin.shape)
        assert values["flow_gap"] == pytest.approx(np.linalg.norm(end - flow), rel=1e-3)
        assert values["flow_NC1_ratio"] == pytest.approx(ratio_and_traces(flow, 3)[0], rel=1e-9)
        # 1/2 ||J V||, J V the change of the velocity along it.
        forward = slope(0, begin.ravel())
        step = 1e-4
        bend = (
            slope(0, begin.ravel() + step * forward) - slope(0, begin.ravel() - step * forward)
        ) / (2 * step)
        assert values["flow_gap_order"] == pytest.approx(np.linalg.norm(bend) / 2, rel=1e-6)
    assert values["flow_gap"] * 1e8 == pytest.approx(values["flow_gap_order"], rel=2e-3)


@pytest.mark.parametrize(
    "changes",
    [{}, {"problem__dim": 2}, {"feature_decay": 0.0}, {"weight_decay": 4.0, "feature_decay": 2.0}],
)
def test_a_flow_goes_from_the_config_to_the_tables(tmp_path, table, changes):
    mine = block(**{"problem__beta": None, "optimiser": FLOW, "probes": ["flow_rates"]} | changes)
    rows = table(tmp_path, mine)
    times = [0.0, *np.geomspace(0.01, 3.0, 6)]
    recorded = rows[rows["metric"] == "time"]
    assert recorded["value"].tolist() == pytest.approx(times, rel=1e-12)
    assert recorded["step"].tolist() == list(range(7)) and set(recorded["layer"]) == {"all"}
    for step in range(7):
        features, values = features_of(tmp_path, "seed=1", step), at(rows, step)
        ratio, within, between = ratio_and_traces(features, 3)
        assert values["trace_within"] == pytest.approx(within, rel=1e-12)
        assert values["trace_between"] == pytest.approx(between, rel=1e-12)
        assert values["NC1_ratio"] == pytest.approx(ratio, rel=1e-12)
        rates = log_rates(features, 3, mine["weight_decay"], mine["feature_decay"])
        falls = -2 * mine["feature_decay"] - 2 * values["within_logits"] / within
        assert rates["trace_within"] == pytest.approx(falls, rel=1e-10)
        grows = -2 * mine["feature_decay"] + 2 * values["between_growth"] / between
        assert rates["trace_between"] == pytest.approx(grows, rel=1e-9, abs=1e-12)
    assert read_table(tmp_path / "perturbation/mine/predictions.parquet").empty


@pytest.mark.parametrize(("classes", "samples", "dim"), [(3, 1, 4), (2, 1, 1), (2, 3, 1)], ids=str)
def test_the_smallest_problems_are_measured(tmp_path, table, classes, samples, dim):
    shape = {
        "problem__classes": classes,
        "problem__samples_per_class": samples,
        "problem__dim": dim,
    }
    rows = table(tmp_path, block(probes=["response", "flow_gap"], **shape))
    values = at(rows, 1)
    assert len(numbered(values, "response_eigenvalue")) == classes * samples * dim
    assert len(numbered(values, "block_singular_value")) == samples * dim
    flows = block(**shape | {"problem__beta": None, "optimiser": FLOW, "probes": ["flow_rates"]})
    other = table(tmp_path / "flow", flows)
    if samples == 1:
        assert at(other, 6)["within_logits"] == pytest.approx(0, abs=1e-28)
        assert at(other, 6)["trace_within"] == pytest.approx(0, abs=1e-28)


def test_collapsed_features_have_rates_of_rounding_only(tmp_path, table):
    mine = free_flow(start=OPTIMUM, probes=["flow_rates"], problem__samples_per_class=3)
    rows = table(tmp_path, mine)
    for step in range(7):
        values = at(rows, step)
        assert values["NC1_ratio"] < 1e-25 and abs(values["within_logits"]) < 1e-25
        # The traces of an optimum stay: what grows is what the decay takes.
        assert values["between_growth"] == pytest.approx(0.05 * values["trace_between"], rel=1e-9)


@pytest.mark.parametrize("optimiser", [{"kind": "newton"}, FLOW], ids=["newton", "flow"])
def test_a_run_that_starts_beyond_numbers_is_lost_alone(tmp_path, table, capsys, optimiser):
    beta = 1.0 if optimiser["kind"] == "newton" else None
    scales = {"problem.init_scale": [1.0, 1e200]}
    rows = table(tmp_path, block(optimiser=optimiser, problem__beta=beta, grid=scales))
    lost = rows[rows["init_scale"] > 1]
    assert lost[["step", "metric", "value"]].values.tolist() == [[0, "diverged", 1.0]]
    assert "init_scale=1e+200+seed=1: diverged at step 0" in capsys.readouterr().out
    assert len(rows) > 20 and not (rows.loc[rows["init_scale"] == 1, "metric"] == "diverged").any()


def test_a_flow_goes_on_from_another_optimiser(tmp_path, table):
    descent = {"kind": "sgd", "learning_rate": 0.5, "steps": 3, "record": 2}
    rows = table(tmp_path, block(problem__beta=None, optimiser=[descent, FLOW]))
    objective = rows[rows["metric"] == "loss"].sort_values("step")
    assert objective["step"].tolist()[-6:] == [4, 5, 6, 7, 8, 9]
    assert (np.diff(objective["value"]) < 0).all()


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        (block(problem__beta=None, probes=["response"]), "response found, problem.beta is null"),
        (block(problem__beta=None, probes=["flow_gap"]), "flow_gap found, problem.beta is null"),
        (
            {**BLOCK, "problem": LINEAR, "probes": ["flow_rates"]},
            "flow_rates found, it measures no",
        ),
        (
            {**BLOCK, "problem": LINEAR, "probes": ["response"]},
            "it measures no deep_linear problem",
        ),
        (block(probes=["posterior"]), "posterior found, it measures no perturbation problem"),
        (block(probes=["mixed_columns"]), "mixed_columns found, it measures no perturbation"),
        (block(probes=["classifier"]), "classifier found, it measures no perturbation"),
        (block(probes=["regression"]), "regression found, it measures no perturbation"),
        ({**BLOCK, "problem": LINEAR, "probes": ["feature_space"]}, "it measures no deep_linear"),
        ({**BLOCK, "problem": LINEAR, "probes": ["relu_head"]}, "it measures no deep_linear"),
        ({**BLOCK, "problem": LINEAR, "probes": ["residuals"]}, "it measures no deep_linear"),
    ],
)
def test_a_probe_of_other_problems_is_refused_at_planning(atlas_of, experiment, words):
    with pytest.raises(InputError, match=words) as caught:
        atlas_of(experiment)
    assert "perturbation.mine.probes.0.kind: " in str(caught.value)
