"""The deep linear problem: gradient, reduction, starts, size and closed forms."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from collapse import config
from collapse.config.sections.procedure import problem as problem_procedure
from collapse.errors import InputError
from collapse.problems import descent
from collapse.problems.deep_linear import DeepLinear, build, class_targets
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.sgd import gradient_descent
from conftest import FEW, Unreduced, assert_same_variables, equal_decays, f64, one, small_problem


def random_decays(batch, depth, generator):
    draw = torch.rand(batch, depth + 1, generator=generator, dtype=torch.float64) * 0.05 + 1e-3
    return {"weight_decay": draw[:, :depth], "feature_decay": draw[:, depth]}


@st.composite
def problems(draw):
    depth = draw(st.integers(1, 5))
    widths = tuple(draw(st.lists(st.sampled_from([1, 4, 6]), min_size=depth, max_size=depth)))
    classes, samples, batch = (
        draw(st.integers(low, high)) for low, high in ((1, 5), (1, 9), (1, 3))
    )
    loss, bias = draw(st.sampled_from(["mse", "ce"])), draw(st.booleans())
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    targets = torch.randn(classes, samples, generator=generator, dtype=torch.float64)
    targets = targets.softmax(0) if loss == "ce" else targets
    decays = random_decays(batch, depth, generator)
    return DeepLinear(targets, widths, **decays, loss=loss, bias=bias)


@FEW
@given(problems(), st.integers(0, 2**31))
def test_gradient_equals_autograd(problem, seed):
    point = problem.initial(range(seed, seed + problem.batch), 0.8)
    point.map(lambda tensor: tensor.requires_grad_())
    expected = torch.autograd.grad(problem.objective(point).sum(), point.tensors())
    with torch.no_grad():
        found = problem.gradient(point)
    for left, right in zip(found.tensors(), expected, strict=True):
        scale = 1 + right.abs().max().item()
        torch.testing.assert_close(left, right, rtol=0, atol=1e-12 * scale)


def test_paper_settings_equal_plain_autograd():
    """K = 4 classes of 100, d = 64, M = 3, 2,000 steps; the solver works on a reduced problem."""
    problem = DeepLinear(class_targets([100] * 4), (64,) * 3, **equal_decays(1, 3, 5e-4))
    start = problem.initial([0], 0.1)
    trajectory = gradient_descent(problem, start, f64([0.1]), 0.9, 2000, [2000])
    assert trajectory.basis is not None
    point = start.map(lambda tensor: tensor[0].clone().requires_grad_())
    optimiser = torch.optim.SGD(point.tensors(), lr=0.1, momentum=0.9)
    for _ in range(2000):
        optimiser.zero_grad()
        output = point.features
        for weight in point.weights:
            output = weight @ output
        penalty = sum(tensor.square().sum() for tensor in point.tensors())
        ((output - problem.targets).square().sum() / 800 + 2.5e-4 * penalty).backward()
        optimiser.step()
    found = one(trajectory.state(0), 0).map(lambda tensor: tensor[0])
    for left, right in zip(found.tensors(), point.tensors(), strict=True):
        assert (left - right).abs().max() < 1e-13 * right.abs().max()


@pytest.mark.parametrize("depth, bias", [(1, False), (1, True), (3, False), (3, True)])
@pytest.mark.parametrize("targets", ["classes", "real"])
def test_reduction_is_exact(depth, bias, targets):
    values = class_targets((9, 6, 3))
    if targets == "real":
        values = torch.randn(2, 18, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    decays = random_decays(2, depth, torch.Generator().manual_seed(1))
    arguments = {"widths": (4,) * depth, **decays, "bias": bias}
    problem, brute = DeepLinear(values, **arguments), Unreduced(values, **arguments)
    start = problem.initial([0, 1], 0.4)
    runs = [
        gradient_descent(which, start, f64([0.1, 0.2]), 0.9, 2000, [0, 7, 300, 2000])
        for which in (problem, brute)
    ]
    assert runs[0].basis is not None and runs[1].basis is None
    assert runs[0].parameters.features.shape[-1] == 3 + 4
    for record in range(4):
        assert_same_variables(runs[0].state(record), runs[1].state(record), 1e-12)
    for name in ("objective", "gradient_norm"):
        torch.testing.assert_close(getattr(runs[0], name), getattr(runs[1], name))
    ends = [lbfgs(which, start, 1e-9, 2000).objective for which in (problem, brute)]
    torch.testing.assert_close(*ends, rtol=1e-12, atol=0)


def test_reduction_survives_a_start_without_full_rank():
    problem = small_problem(batch=1)
    start = problem.initial([0], 0.3)
    start.features[:, 1:] = 0
    _, reduced, basis = problem.reduced(start)
    identity = torch.eye(basis.shape[1], dtype=torch.float64)
    torch.testing.assert_close(basis[0] @ basis[0].T, identity, rtol=0, atol=1e-14)
    torch.testing.assert_close(reduced.features @ basis, start.features)


@pytest.mark.parametrize("options", [{"loss": "ce"}, {"width": 13}])
def test_problem_is_left_alone_where_reducing_is_wrong_or_useless(options):
    problem = small_problem(**options)
    assert problem.reduced(problem.initial([0, 1, 2], 0.1))[2] is None


def experiment(widths=64, sizes=(100,) * 4, depth=3, loss="mse", optimisers=("sgd",)):
    """The config of problems under optimisers of these kinds, each where the one before ended."""
    shape = {"widths": widths, "class_sizes": list(sizes), "depth": depth, "loss": loss}
    settings_of = {"sgd": {"learning_rate": 0.1, "steps": 5}, "lbfgs": {"steps": 5}}
    return problem_procedure.Section(
        problem={"kind": "deep_linear", "bias": True, **shape},
        optimiser=[{"kind": kind, **settings_of[kind]} for kind in optimisers],
        weight_decay=1e-3,
        feature_decay=1e-3,
        seeds=1,
    )


@pytest.mark.parametrize(
    "options, runs, cores",
    [
        ({}, 10, 1),
        ({"widths": 512, "sizes": (300,) * 4}, 10, 10),
        ({"widths": 512, "optimisers": ["lbfgs"]}, 10, 1),
        ({"widths": 512, "sizes": (300,) * 4, "optimisers": ["sgd", "lbfgs"]}, 10, 10),
        ({"widths": [512, 512], "depth": 2}, 12, 12),
        ({"sizes": (5000,) * 4, "loss": "ce"}, 10, 10),
        ({"sizes": (5000,) * 4}, 10, 1),
    ],
)
def test_cores_follow_from_the_size_of_a_problem(options, runs, cores):
    asked = experiment(**options)
    assert asked.resources([asked] * runs, None).cores == min(cores, 8)
    if "sgd" in options.get("optimisers", ["sgd"]):
        problem = build([config.plain(asked)] * runs)
        _, start, _ = problem.reduced(problem.initial(range(runs), 0.1))
        assert len(descent.split(start)) == cores
        assert sum(tensor[0].numel() for tensor in start.tensors()) == asked.problem.entries


def test_start_depends_on_seed_and_shape_only():
    with_bias, without = small_problem(bias=True), small_problem(bias=False)
    first, second = with_bias.initial([4, 5, 4], 0.1), without.initial([4, 5, 6], 0.1)
    assert torch.equal(first.features[0], first.features[2])
    assert torch.equal(first.features[:2], second.features[:2])
    assert not torch.equal(first.features[0], first.features[1])
    assert first.bias.abs().max() <= 5**-0.5
    large = DeepLinear(class_targets((500, 500)), (20,), **equal_decays(1, 1, 1e-3))
    assert abs(large.initial([0], 0.1).features.std().item() - 0.1) < 2e-3


@FEW
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
    st.integers(4, 7),
    st.floats(-3.5, -1),
    st.floats(-3.5, -1),
)
def test_lbfgs_reaches_the_closed_form_of_one_layer(sizes, width, log_weight, log_feature):
    decays = [10**log_weight, 10**log_feature]
    samples, root = sum(sizes), math.sqrt(decays[0] * decays[1])
    z = np.maximum(np.sqrt(sizes) - samples * root, 0)
    best = (np.square(z - np.sqrt(sizes)) / (2 * samples) + root * z).sum()
    problem = DeepLinear(class_targets(sizes), (width,), f64([decays[:1]]), f64(decays[1:]))
    found = lbfgs(problem, problem.initial([0], 0.3), 1e-10, 5000)
    assert abs(found.objective.item() / best - 1) < 1e-12
    assert found.gradient_norm.item() < 1e-8


def test_lbfgs_reaches_the_closed_form_of_two_layers_with_unequal_decays():
    sizes, decays = (9, 6, 5), f64([[2e-3, 8e-3, 4e-3]])
    root = decays.prod().item() ** (1 / 3)
    best = 0.0

    def stationary(z, n):
        return (math.sqrt(n) - z) * z ** (1 / 3) - 20 * root

    for size in sizes:
        z = brentq(partial(stationary, n=size), math.sqrt(size) / 4, math.sqrt(size), xtol=1e-15)
        best += (z - math.sqrt(size)) ** 2 / 40 + 1.5 * root * z ** (2 / 3)
    problem = DeepLinear(class_targets(sizes), (6, 5), decays[:, :2], decays[:, 2])
    found = lbfgs(problem, problem.initial([1], 0.3), 1e-10, 5000)
    assert abs(found.objective.item() / best - 1) < 1e-12
    norms = torch.stack([tensor.square().sum() for tensor in found.state(0).tensors()])
    balance = norms * torch.cat([decays[0, 2:], decays[0, :2]])
    torch.testing.assert_close(balance, balance[:1].expand(3), rtol=1e-6, atol=0)


def test_lbfgs_reaches_the_closed_form_of_one_layer_with_ce():
    classes, size, decay = 4, 5, 5e-3
    tau = math.sqrt(size) * decay
    alpha = math.log(1 / tau - (classes - 1))
    best = math.log1p((classes - 1) * math.exp(-alpha)) + (classes - 1) * tau * alpha
    decays = equal_decays(2, 1, decay)
    problem = DeepLinear(class_targets([size] * classes), (8,), **decays, loss="ce", bias=True)
    found = lbfgs(problem, problem.initial([0, 1], 0.3), 1e-10, 5000)
    torch.testing.assert_close(found.objective[:, 0], f64([best] * 2), rtol=1e-12, atol=0)


def test_an_empty_class_is_refused():
    with pytest.raises(InputError, match="class_sizes"):
        class_targets((3, 0))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"loss": "hinge"}, "loss: 'hinge'; allowed are mse, ce"),
        ({"weight_decay": torch.ones(3, 4, dtype=torch.float64)}, "weight_decay: shape"),
        ({"feature_decay": torch.ones(2, dtype=torch.float64)}, "feature_decay: shape"),
        ({"feature_decay": torch.ones(3)}, "feature_decay: torch.float32"),
        ({"targets": 2 * class_targets((2, 2)), "loss": "ce"}, "targets: a column"),
    ],
)
def test_bad_problems_are_refused(change, words):
    arguments = {"targets": class_targets((2, 2)), "widths": (3, 3), **equal_decays(3, 2, 1e-3)}
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        DeepLinear(**{**arguments, **change})
