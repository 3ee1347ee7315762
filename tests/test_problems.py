import math
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from collapse import config, jobs
from collapse.artifacts import read_table, read_tensors
from collapse.cli import main
from collapse.config.sections.procedure import problem as problem_procedure
from collapse.errors import InputError
from collapse.problems import chunks, descent
from collapse.problems.base import Problem
from collapse.problems.deep_linear import DeepLinear, build, class_targets
from collapse.problems.parameters import Parameters, flat_copy
from collapse.problems.solvers import lbfgs as lbfgs_solver
from collapse.problems.solvers import sgd
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.sgd import gradient_descent, sweep
from collapse.schedule import log_spaced
from collapse.theory.deep_linear import predict
from collapse.theory.frame import lengths

FEW = settings(max_examples=25, deadline=None)


class Unreduced(DeepLinear):
    def reduced(self, start):
        return self, start, None


def f64(values):
    return torch.as_tensor(values, dtype=torch.float64)


def equal_decays(batch, depth, decay):
    return {
        "weight_decay": torch.full((batch, depth), decay, dtype=torch.float64),
        "feature_decay": torch.full((batch,), decay, dtype=torch.float64),
    }


def random_decays(batch, depth, generator):
    draw = torch.rand(batch, depth + 1, generator=generator, dtype=torch.float64) * 0.05 + 1e-3
    return {"weight_decay": draw[:, :depth], "feature_decay": draw[:, depth]}


def small(batch=3, depth=2, width=5, sizes=(7, 4, 4), decay=5e-3, kind=DeepLinear, **options):
    decays = equal_decays(batch, depth, decay)
    return kind(class_targets(sizes), (width,) * depth, **decays, **options)


def one(parameters, index):
    return parameters.map(lambda tensor: tensor[index : index + 1])


def assert_same(found, expected, tolerance):
    for left, right in zip(found.tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


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


@pytest.mark.parametrize("loss", ["mse", "ce"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_gradient_descent_equals_torch_sgd(loss, bias, depth):
    problem = small(depth=depth, loss=loss, bias=bias)
    start, rates = problem.initial([0, 1, 2], 0.3), [0.05, 0.1, 0.2]
    trajectory = gradient_descent(problem, start, f64(rates), 0.9, 200, [1, 200])
    for index, rate in enumerate(rates):
        alone = problem.select(slice(index, index + 1))
        point = one(start, index).map(lambda tensor: tensor.clone().requires_grad_())
        optimiser = torch.optim.SGD(point.tensors(), lr=rate, momentum=0.9)
        for _ in range(200):
            optimiser.zero_grad()
            alone.objective(point).backward()
            optimiser.step()
        assert_same(one(trajectory.state(1), index), point.map(torch.Tensor.detach), 1e-12)


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
        assert_same(runs[0].state(record), runs[1].state(record), 1e-12)
    for name in ("objective", "gradient_norm"):
        torch.testing.assert_close(getattr(runs[0], name), getattr(runs[1], name))
    ends = [lbfgs(which, start, 1e-9, 2000).objective for which in (problem, brute)]
    torch.testing.assert_close(*ends, rtol=1e-12, atol=0)


def test_reduction_survives_a_start_without_full_rank():
    problem = small(batch=1)
    start = problem.initial([0], 0.3)
    start.features[:, 1:] = 0
    _, reduced, basis = problem.reduced(start)
    identity = torch.eye(basis.shape[1], dtype=torch.float64)
    torch.testing.assert_close(basis[0] @ basis[0].T, identity, rtol=0, atol=1e-14)
    torch.testing.assert_close(reduced.features @ basis, start.features)


@pytest.mark.parametrize("options", [{"loss": "ce"}, {"width": 13}])
def test_problem_is_left_alone_where_reducing_is_wrong_or_useless(options):
    problem = small(**options)
    assert problem.reduced(problem.initial([0, 1, 2], 0.1))[2] is None


@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_result_does_not_depend_on_the_batch(loss, monkeypatch):
    problem = small(batch=5, depth=3, loss=loss, bias=True)
    rates = f64([0.05, 0.1, 0.2, 0.1, 0.1])
    start = problem.initial(range(5), f64([0.1, 0.2, 0.3, 0.4, 0.5]))
    together = gradient_descent(problem, start, rates, 0.9, 700, [3, 700])
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 5000)
    assert len(descent.split(start)) > 1
    chunked = gradient_descent(problem, start, rates, 0.9, 700, [3, 700])
    assert_same(chunked.parameters, together.parameters, 1e-13)
    alone = problem.select(slice(2, 3))
    assert_same(alone.initial([2], 0.3), one(start, 2), 0)
    single = gradient_descent(alone, one(start, 2), rates[2:3], 0.9, 700, [3, 700])
    assert_same(single.parameters, one(together.parameters, 2), 1e-13)


@pytest.mark.parametrize("route", ["gradient_descent", "sweep"])
def test_result_does_not_depend_on_the_threads(route, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    monkeypatch.setattr(DeepLinear, "objective", noting(DeepLinear.objective, seen := set()))
    problem = small(batch=4, depth=3, width=16, sizes=(20, 20), bias=True)
    start, rates = problem.initial(range(4), 0.3), f64([0.1, 5.0, 0.2, 0.1])
    decay = torch.full((2, 4), 5e-3, dtype=torch.float64)
    paths = [decay.unsqueeze(2).expand(-1, -1, 3), decay]

    def run(threads):
        if route == "sweep":
            noise = [1e-3, range(4)]
            found = sweep(problem, start, *paths, rates, 0.9, 700, *noise, threads=threads)
        else:
            record = [0, 1, 700]
            found = gradient_descent(problem, start, rates, 0.9, 700, record, threads=threads)
        tensors = (*found.parameters.tensors(), found.gradient_norm, found.diverged_step)
        return [tensor.numpy().tobytes() for tensor in tensors]

    before = torch.get_num_threads()
    alone = run(1)
    assert {name for name, *_ in seen} == {"MainThread"}
    seen.clear()
    assert run(2) == alone
    workers = {state for state in seen if state[0] != "MainThread"}
    assert len(workers) == 2 and {state[1:] for state in workers} == {(1, 0.0)}
    assert torch.get_num_threads() == before


def noting(method, seen):
    """Note the thread, its number of PyTorch threads and half of the least normal number."""

    def wrapped(*arguments):
        half = f64([torch.finfo(torch.float64).tiny]).div(2).item()
        seen.add((threading.current_thread().name, torch.get_num_threads(), half))
        return method(*arguments)

    return wrapped


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_result_does_not_depend_on_compiling(monkeypatch):
    problem = small(depth=3, bias=True)
    start, rates = problem.initial([0, 1, 2], 0.3), f64([0.05, 0.1, 0.2])

    def run():
        return gradient_descent(problem, start, rates, 0.9, 700, [3, 700]).parameters

    expected = run()
    monkeypatch.setattr(descent, "_repays_compiling", lambda *_: True)
    assert_same(run(), expected, 1e-13)


def test_nothing_is_compiled_without_a_compiler(monkeypatch, capsys):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(descent, "_repays_compiling", lambda *_: True)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(torch, "compile", None)
    diverging_run(10)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "no C compiler" in lines[0]


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
    assert asked.resources(runs).cores == cores
    if "sgd" in options.get("optimisers", ["sgd"]):
        problem = build([config.plain(asked)] * runs)
        _, start, _ = problem.reduced(problem.initial(range(runs), 0.1))
        assert len(descent.split(start)) == cores
        assert sum(tensor[0].numel() for tensor in start.tensors()) == asked.problem.entries


def test_planning_imports_no_torch():
    code = "import sys, collapse.jobs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_same_bytes_twice():
    def run():
        problem = small(depth=3, bias=True)
        start = problem.initial([0, 1, 2], 0.3)
        trajectory = gradient_descent(problem, start, f64([0.1] * 3), 0.9, 300, [0, 300])
        found = lbfgs(problem, start, 1e-8, 300)
        tensors = (*trajectory.parameters.tensors(), *found.parameters.tensors())
        return [tensor.numpy().tobytes() for tensor in tensors]

    assert run() == run()


def test_start_depends_on_seed_and_shape_only():
    with_bias, without = small(bias=True), small(bias=False)
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


def diverging_run(last=3000):
    problem = small(depth=2)
    start = problem.initial([0, 1, 2], 0.5)
    rates = f64([0.1, 3.0, 0.1])
    seen = []
    record = [0, 1, last // 2, last]
    trajectory = gradient_descent(problem, start, rates, 0.9, last, record, seen.append)
    return problem, start, rates, trajectory, seen


def test_divergence_is_reported_at_the_exact_step():
    problem, start, rates, trajectory, _ = diverging_run()
    alone, point = problem.select(slice(1, 2)), one(start, 1)
    velocity, step = point.map(torch.zeros_like), 0
    while alone.objective(point).isfinite():
        slopes = zip(velocity.tensors(), alone.gradient(point).tensors(), strict=True)
        moves = iter([0.9 * speed + rates[1] * slope for speed, slope in slopes])
        velocity = velocity.map(lambda _, moves=moves: next(moves))
        moves = iter(velocity.tensors())
        point = point.map(lambda tensor, moves=moves: tensor - next(moves))
        step += 1
    assert trajectory.diverged_step.tolist() == [-1, step, -1]
    assert 1 < step < 1500
    assert trajectory.valid.tolist() == [[True] * 4, [True, True, False, False], [True] * 4]
    assert torch.equal(trajectory.objective.isnan(), ~trajectory.valid)
    assert torch.equal(trajectory.parameters.features.isnan().all((2, 3)), ~trajectory.valid)


def test_divergence_harms_no_other_problem():
    problem, start, rates, trajectory, _ = diverging_run()
    for index in (0, 2):
        alone = problem.select(slice(index, index + 1))
        chosen = rates[index : index + 1]
        single = gradient_descent(alone, one(start, index), chosen, 0.9, 3000, [3000])
        assert_same(one(trajectory.state(3), index), single.state(0), 1e-13)


def test_run_stops_when_all_have_diverged():
    problem = small(depth=2, batch=1)
    start, seen = problem.initial([0], 0.5), []
    run = gradient_descent(problem, start, f64([50.0]), 0.9, 10**9, [0, 10**9], seen.append)
    assert run.diverged_step.item() > 0 and seen == [0]
    start.features[0, 0, 0] = math.inf
    run = gradient_descent(small(1, loss="ce"), start, f64([0.1]), 0.9, 10, [0, 10])
    assert run.diverged_step.item() == 0 and not run.valid.any()


def decay_at(ratio, depth, sizes):
    """Return the equal decay at which b / n_k, the reduced penalty of spec, is `ratio`."""
    samples, size = sum(sizes), sizes[0]
    return ((ratio * size / (depth * samples)) ** depth / samples) ** (1 / (depth + 1))


def swept(depth, paths, sizes=(3, 3), perturbation=1e-4):
    """Return the singular values of Z over sqrt(n) at the end of each stage, (B, S, K)."""
    decay = f64(
        [[decay_at(ratio, depth, sizes) for ratio in stage] for stage in zip(*paths, strict=True)]
    )
    weight_decay = decay.unsqueeze(2).expand(-1, -1, depth)
    problem = small(len(paths), depth, 4, sizes)
    start = problem.initial(range(len(paths)), 0.5)
    rates = torch.full((len(paths),), 0.2, dtype=torch.float64)
    arguments = (
        problem,
        start,
        weight_decay,
        decay,
        rates,
        0.9,
        1500,
        perturbation,
        [7] * len(paths),
    )
    trajectory = sweep(*arguments)
    assert trajectory.steps == tuple(range(1500, 1500 * len(decay) + 1, 1500))
    outputs = [problem.output(trajectory.state(stage)) for stage in range(len(decay))]
    return torch.linalg.svdvals(torch.stack(outputs, 1))[..., :2] / math.sqrt(sizes[0])


def test_sweep_shows_the_hysteresis_of_two_layers():
    up = [0.3, 0.45, 0.52, 0.6, 0.72, 0.8]
    values = swept(2, [up, up[::-1]])
    assert (values[0, :4] > 0.3).all(), "follows the metastable branch beyond tau = 0.5"
    assert (values[0, 4:] < 1e-2).all(), "gone beyond tau_loc = 0.6495"
    assert (values[1] < 1e-2).all(), "zero is a local minimum at every decay"
    at_start = brentq(lambda x: 0.3 - 2 * x / (x**2 + 1) ** 2, 1, 50)
    torch.testing.assert_close(
        values[0, 0], f64([at_start**2 / (1 + at_start**2)] * 2), rtol=0, atol=1e-2
    )


def test_sweep_is_continuous_for_one_layer():
    up = [0.3, 0.6, 0.9, 1.2]
    values = swept(1, [up, up[::-1]])
    expected = (1 - f64(up).sqrt()).clamp(min=0).unsqueeze(1).expand(-1, 2)
    torch.testing.assert_close(values[0], expected, rtol=0, atol=2e-2)
    torch.testing.assert_close(values[1].flip(0), expected, rtol=0, atol=2e-2)


def test_sweep_keeps_the_step_of_a_divergence():
    problem = small(2, 2)
    paths = torch.full((3, 2), 5e-3, dtype=torch.float64)
    paths[1:, 1] = 60.0
    weight_decay = paths.unsqueeze(2).expand(-1, -1, 2)
    start, rates = problem.initial([0, 1], 0.3), f64([0.1, 0.1])
    run = sweep(problem, start, weight_decay, paths, rates, 0.9, 400, 1e-5, [0, 1])
    assert run.diverged_step[0] == -1 and 400 < run.diverged_step[1] <= 800
    assert run.valid.tolist() == [[True] * 3, [True, False, False]]
    assert torch.equal(run.objective.isnan(), ~run.valid)


def test_denormal_mode_is_restored():
    problem = small()
    start = problem.initial([0, 1, 2], 0.1)
    gradient_descent(problem, start, f64([0.1] * 3), 0.9, 2, [2])
    assert torch.tensor(1e-310, dtype=torch.float64).mul(1).item() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_cuda_equals_cpu(loss):
    runs = []
    for device in ("cpu", "cuda"):
        decays = equal_decays(3, 2, 5e-3)
        decays = {name: decay.to(device) for name, decay in decays.items()}
        targets = class_targets((7, 4, 4), device)
        problem = DeepLinear(targets, (5, 5), **decays, loss=loss, bias=True)
        rates = f64([0.1, 0.2, 300.0 if loss == "ce" else 3.0]).to(device)
        start = problem.initial([0, 1, 2], 0.5)
        runs.append(gradient_descent(problem, start, rates, 0.9, 1000, [0, 10, 1000]))
    host, device = runs
    assert host.diverged_step.tolist() == device.diverged_step.tolist()
    for record in range(3):
        found = device.state(record).map(torch.Tensor.cpu)
        assert_same(found.map(lambda t: t[:2]), host.state(record).map(lambda t: t[:2]), 1e-10)


@given(st.integers(1, 10**6), st.integers(1, 200), st.integers(1, 1000))
def test_log_spaced(last, count, first):
    first = min(first, last)
    steps = log_spaced(last, count, first)
    assert steps[0] == 0 and steps[-1] == last
    assert all(before < after for before, after in zip(steps, steps[1:], strict=False))
    assert len(steps) - 1 == min(count, last - first + 1)
    assert count == 1 or steps[1] == first


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


@pytest.mark.parametrize("record", [[-1], [3, 2], [2, 2], [11]])
def test_bad_records_are_refused(record):
    problem = small(1)
    with pytest.raises(InputError, match="record"):
        gradient_descent(problem, problem.initial([0], 0.1), f64([0.1]), 0.9, 10, record)


def test_learning_rate_in_single_precision_is_refused():
    problem = small(1)
    with pytest.raises(InputError, match="learning_rate"):
        gradient_descent(problem, problem.initial([0], 0.1), torch.ones(1), 0.9, 10, [10])


def test_empty_class_and_bad_schedule_are_refused():
    with pytest.raises(InputError, match="class_sizes"):
        class_targets((3, 0))
    with pytest.raises(InputError, match="log_spaced"):
        log_spaced(0, 5)
    with pytest.raises(InputError, match="log_spaced"):
        log_spaced(5, 0)


def test_flat_copy_shares_its_buffer():
    start = Parameters.of_head(torch.ones(2, 4, 5), [torch.ones(2, 3, 4)], torch.ones(2, 3))
    flat = flat_copy(start)
    assert flat.rows.shape == (18, 4) and flat.rows.sum() == 2 * (20 + 12 + 3)
    flat.rows.zero_()
    assert all((tensor == 0).all() for tensor in flat.parameters.tensors())
    assert all((tensor == 1).all() for tensor in start.tensors())


def test_a_column_holds_a_factor_per_row():
    start = Parameters.of_head(torch.ones(2, 4, 5), [torch.ones(2, 3, 4)], torch.ones(2, 3))
    flat = flat_copy(start)
    flat.rows.mul_(flat.column(torch.tensor([[1.0, 2.0], [3.0, 4.0]])))
    for tensor, factors in zip(flat.parameters.tensors(), [(1, 3), (2, 4), (0, 0)], strict=True):
        assert (tensor[0] == factors[0]).all() and (tensor[1] == factors[1]).all()


def test_equal_variables_stack_without_a_copy():
    weights = (torch.full((2, 3, 3), 1.0), torch.full((2, 3, 3), 2.0), torch.ones(2, 4, 3))
    flat = flat_copy(Parameters.of_head(torch.zeros(2, 3, 5), weights))
    stack = flat.stacked(1, 3)
    torch.testing.assert_close(stack, torch.cat(weights[:2]))
    stack.zero_()
    assert all((weight == 0).all() for weight in flat.parameters.weights[:2])
    assert (flat.parameters.weights[2] == 1).all()


def test_the_variables_of_a_head_are_found_by_name():
    weights = [torch.full((2, 4, 5), 1.0), torch.full((2, 3, 4), 2.0)]
    head = Parameters.of_head(torch.zeros(2, 5, 6), weights, torch.full((2, 3), 3.0))
    assert list(head.named) == ["H", "W1", "W2", "bias"]
    assert all(map(torch.equal, head.tensors(), (head.features, *head.weights, head.bias)))
    assert list(Parameters.of_head(torch.zeros(2, 5, 6), weights).named) == ["H", "W1", "W2"]
    # Read back from a file they are sorted by name, W10 before W2.
    layers = [torch.full((1, 1, 1), float(number)) for number in range(1, 13)]
    many = Parameters.of_head(torch.zeros(1, 1, 1), layers)
    for found in (many, Parameters(**dict(sorted(many.named.items())))):
        assert [weight.item() for weight in found.weights] == list(range(1, 13))


def test_a_problem_names_its_variables_as_it_likes():
    drawn = {"Wide": torch.randn(2, 3, 4), "maps": torch.randn(2, 3, 4), "shift": torch.randn(2, 5)}
    found = Parameters(**drawn)
    assert found.features is None and found.weights == () and found.bias is None
    assert found.first is drawn["Wide"]
    doubled = found.map(lambda tensor: 2 * tensor)
    assert list(doubled.named) == list(drawn)
    assert all(torch.equal(doubled.named[name], 2 * tensor) for name, tensor in drawn.items())
    changed = found.replaced(maps=torch.zeros(2, 3, 4))
    assert list(changed.named) == list(drawn) and not changed.named["maps"].any()
    assert changed.named["shift"] is drawn["shift"] and found.named["maps"] is drawn["maps"]
    squares = sum(tensor.square().flatten(1).sum(1) for tensor in drawn.values())
    torch.testing.assert_close(found.norm(), squares.sqrt())


# A problem of another kind, and solvers one after the other


@dataclass(frozen=True, eq=False)
class Robust(Problem):
    """mean log cosh(A x + v - y) + decay/2 ||A||^2: convex, not quadratic, no linear head."""

    inputs: torch.Tensor
    targets: torch.Tensor
    decay: torch.Tensor

    shapes = {"A": (2, 3), "v": (2,)}

    @property
    def batch(self):
        return len(self.decay)

    @property
    def device(self):
        return self.targets.device

    def objective(self, parameters):
        maps, shifts = (parameters.named[name] for name in self.shapes)
        error = maps @ self.inputs + shifts.unsqueeze(2) - self.targets
        penalty = self.decay / 2 * maps.square().sum((1, 2))
        return error.cosh().log().sum(1).mean(1) + penalty

    def select(self, index):
        return replace(self, decay=self.decay[index])


def robust(decay=(0.1, 0.2, 0.3, 0.2), device="cpu"):
    generator = torch.Generator().manual_seed(3)
    inputs, noise = (
        torch.randn(rows, 9, generator=generator, dtype=torch.float64) for rows in (3, 2)
    )
    targets = inputs[:2] - inputs[1:] + 1 + 2 * noise
    return Robust(*(tensor.to(device) for tensor in (inputs, targets, f64(decay))))


def descended(problem, start, rate, steps, momentum=0.9):
    """Gradient descent of one problem by PyTorch's own means."""
    point = start.map(lambda tensor: tensor.clone().requires_grad_())
    optimiser = torch.optim.SGD(point.tensors(), lr=rate, momentum=momentum)
    for _ in range(steps):
        optimiser.zero_grad()
        problem.objective(point).sum().backward()
        optimiser.step()
    return point.map(torch.Tensor.detach)


SGD = {"kind": "sgd", "momentum": 0.9, "steps": 60, "record": 4}


def solve_by_sgd(problem, start, rates, threads=1, **changes):
    asked = [SGD | {"learning_rate": rate} | changes for rate in rates]
    return sgd.solve(problem, start, asked, lambda _: None, threads)


def solve_by_lbfgs(problem, start, steps=500, tolerance=1e-10):
    asked = [{"kind": "lbfgs", "tolerance": tolerance, "steps": steps}] * problem.batch
    return lbfgs_solver.solve(problem, start, asked, lambda _: None)


def test_a_problem_that_says_only_its_objective_descends_as_a_loop_written_out():
    problem, rates = robust(), [0.02, 0.1, 0.3, 0.3]
    start = problem.initial(range(4), 0.5)
    trajectory = solve_by_sgd(problem, start, rates)
    assert trajectory.steps == log_spaced(60, 4) and trajectory.basis is None
    for record, steps in enumerate(trajectory.steps):
        state = trajectory.state(record)
        torch.testing.assert_close(trajectory.objective[:, record], problem.objective(state))
        for index, rate in enumerate(rates):
            alone = problem.select(slice(index, index + 1))
            expected = descended(alone, one(start, index), rate, steps)
            assert_same(one(state, index), expected, 1e-13)
            point = expected.map(torch.Tensor.requires_grad_)
            slopes = torch.autograd.grad(alone.objective(point).sum(), point.tensors())
            norm = torch.cat([slope.flatten() for slope in slopes]).norm()
            torch.testing.assert_close(trajectory.gradient_norm[index, record], norm)


def test_a_problem_that_says_only_its_objective_is_minimised_by_lbfgs():
    problem = robust()
    start = problem.initial(range(4), 0.5)
    found = solve_by_lbfgs(problem, start)
    assert (found.gradient_norm < 1e-8).all() and found.steps[0] > 0
    for index in range(4):
        alone = problem.select(slice(index, index + 1))
        assert_same(
            one(found.state(0), index), descended(alone, one(start, index), 0.5, 1000), 1e-8
        )
    assert found.objective.unique().numel() == 3


def test_problems_of_any_kind_start_from_their_own_seeds_and_go_their_own_way(monkeypatch):
    problem, rates = robust(), [0.02, 0.1, 1e3, 0.3]
    scales = f64([0.1, 0.5, 0.5, 0.5])
    start = problem.initial([5, 1, 7, 5], scales)
    assert_same(problem.select(slice(1, 3)).initial([1, 7], 0.5), start.map(lambda t: t[1:3]), 0)
    assert_same(one(start, 0).map(lambda tensor: 5 * tensor), one(start, 3), 1e-15)
    together = solve_by_sgd(problem, start, rates, steps=600)
    assert together.diverged_step[2] > 0 and (together.diverged_step < 0).sum() == 3
    for index in (0, 1, 3):
        alone = problem.select(slice(index, index + 1))
        single = solve_by_sgd(alone, one(start, index), rates[index : index + 1], steps=600)
        assert_same(one(together.parameters, index), single.parameters, 1e-13)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    assert len(descent.split(start)) == 4
    runs = [solve_by_sgd(problem, start, rates, threads, steps=600) for threads in (1, 2)]
    for found in runs:
        assert found.diverged_step.tolist() == together.diverged_step.tolist()
    same, other = (run.parameters.map(torch.Tensor.nan_to_num).tensors() for run in runs)
    assert all(map(torch.equal, same, other))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_optimisers_one_after_the_other_on_a_gpu_do_as_on_a_cpu():
    runs = []
    for problems_on in (robust, small_on):
        for device in ("cpu", "cuda"):
            problem = problems_on(device=device)
            start = problem.initial(range(problem.batch), 0.5)
            rates = [0.1, 0.2, 1e3, 0.3][: problem.batch]
            first = solve_by_sgd(problem, start, rates, steps=200)
            runs.append(first.then(solve_by_lbfgs(problem, first.state(-1))))
    for host, device in (runs[:2], runs[2:]):
        assert host.diverged_step.tolist() == device.diverged_step.tolist()
        assert host.diverged_step[2] > 0 and host.steps[:-1] == device.steps[:-1]
        for record in range(len(host.steps)):
            found = device.state(record).map(torch.Tensor.cpu)
            assert_same(found.map(lambda t: t[:2]), host.state(record).map(lambda t: t[:2]), 1e-7)


def small_on(device):
    problem = small(bias=True, loss="ce")
    moved = {name: getattr(problem, name).to(device) for name in ("weight_decay", "feature_decay")}
    return replace(problem, targets=problem.targets.to(device), ones=None, **moved)


@pytest.mark.parametrize("kind", [DeepLinear, Unreduced])
def test_optimisers_one_after_the_other_end_at_the_closed_form(kind):
    sizes, decay = (9, 6, 5), 5e-3
    problem = small(batch=2, depth=2, width=5, sizes=sizes, decay=decay, kind=kind)
    start = problem.initial([0, 1], 0.5)
    first = solve_by_sgd(problem, start, [0.2, 0.3], steps=200)
    then = solve_by_lbfgs(problem, first.state(-1), 5000)
    both = first.then(then)
    assert both.steps == (*first.steps, 200 + then.steps[0]) and then.steps[0] > 0
    best = predict(class_sizes=list(sizes), weight_decay=[decay] * 2, feature_decay=decay)["loss"]
    torch.testing.assert_close(both.objective[:, -1], f64([best] * 2), rtol=1e-10, atol=0)
    for record in range(len(first.steps)):
        assert_same(both.state(record), first.state(record), 0)
    assert_same(both.state(-1), then.state(0), 0)
    for name in ("objective", "gradient_norm"):
        joined = torch.cat([getattr(first, name), getattr(then, name)], 1)
        assert torch.equal(getattr(both, name), joined)
    torch.testing.assert_close(problem.objective(both.state(2)), both.objective[:, 2])
    assert both.valid.all()


@pytest.mark.parametrize("kind", [DeepLinear, Unreduced])
def test_two_descents_without_memory_are_one(kind):
    problem = small(batch=2, kind=kind, bias=True)
    start, rates = problem.initial([0, 1], 0.5), [0.1, 0.2]
    first = solve_by_sgd(problem, start, rates, momentum=0.0)
    both = first.then(solve_by_sgd(problem, first.state(-1), rates, momentum=0.0, steps=30))
    # The end of the first, which is the start of the second, is recorded once.
    assert both.steps == (*log_spaced(60, 4), *(60 + step for step in log_spaced(30, 4)[1:]))
    whole = gradient_descent(problem, start, f64(rates), 0.0, 90, both.steps)
    for record in range(len(both.steps)):
        assert_same(both.state(record), whole.state(record), 1e-13)
    torch.testing.assert_close(both.objective, whole.objective, rtol=1e-12, atol=0)


def test_a_divergence_is_kept_whichever_optimiser_it_befalls():
    problem = small(batch=3)
    start = problem.initial([0, 1, 2], 0.5)
    first = solve_by_sgd(problem, start, [0.1, 3.0, 0.1], steps=900)
    lost = first.diverged_step[1].item()
    assert 0 < lost < 900 and first.diverged_step.tolist() == [-1, lost, -1]
    second = solve_by_sgd(problem, first.state(-1), [0.1, 0.1, 30.0], steps=900)
    later = second.diverged_step[2].item()
    assert second.diverged_step.tolist() == [-1, 0, later] and later > 0
    for end, expected in (
        (second, [-1, lost, 900 + later]),
        (solve_by_lbfgs(problem, first.state(-1), 5), [-1, lost, -1]),
    ):
        both = first.then(end)
        assert both.diverged_step.tolist() == expected
        assert torch.equal(both.objective.isnan(), ~both.valid)
        assert not both.valid[1, both.steps.index(900) :].any() and both.valid[0].all()


def test_an_optimiser_that_finds_nothing_to_do_adds_no_record():
    problem = small(batch=1)
    end = solve_by_lbfgs(problem, problem.initial([0], 0.5), 5000)
    again = solve_by_lbfgs(problem, end.state(-1), tolerance=1e-6)
    both = end.then(again)
    assert again.steps == (0,) and both.steps == end.steps
    assert torch.equal(both.objective, end.objective)


# The stages


CONFIG = Path(__file__).resolve().parents[1] / "config"
WRITES = {
    "compute": {"states": "states.safetensors", "history": "history.parquet"},
    "predictions": {"predictions": "predictions.parquet", "frames": "frames.parquet"},
    "measure_runs": {"metrics": "metrics.parquet", "samples": "samples.parquet"},
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
        words += [f"--{option}", str(place / name)]
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
    scalars = rows[rows["metric"].isin(["objective", "gradient_norm"]) & (rows["layer"] == "all")]
    for name in ("objective", "gradient_norm"):
        found = scalars.loc[scalars["metric"] == name, "value"]
        assert found.tolist() == history[name].tolist()
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
    objective = rows[rows["metric"] == "objective"].set_index(["learning_rate", "step"])["value"]
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


def test_a_null_in_a_grid_is_measured_like_any_value(tmp_path):
    mine = {
        "problem": REGRESSION,
        "optimiser": {"kind": "lbfgs", "steps": 5000},
        "weight_decay": 0.1,
        "feature_decay": 0.2,
        "grid": {"problem.target_mean": [None, [1.0, 2.0]], "problem.bias": [True, False]},
        "seeds": 1,
    }
    rows = measured(tmp_path, atlas_of("regression", mine=mine), "regression")
    predicted = read_table(tmp_path / "regression/mine/predictions.parquet")
    losses = []
    for table, metric in ((rows, "objective"), (predicted, "loss")):
        own = table[table["metric"] == metric]
        assert own["target_mean"].isna().tolist() == [True, True, False, False]
        losses.append(own["value"].tolist())
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    # Only without a bias a mean makes a difference.
    assert losses[1][0] == pytest.approx(losses[1][1]) == pytest.approx(losses[1][2])
    assert losses[1][3] > 1.1 * losses[1][2]


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


@pytest.mark.parametrize(
    ("optimisers", "words"),
    [
        ([], ["optimiser: [] found, allowed is an optimiser, or a list of them"]),
        ([DESCENT, {"kind": "lbfgs"}], ["optimiser.1.steps: is missing"]),
        ([DESCENT | {"tolerance": 1e-3}], ["optimiser.0.tolerance: unknown key", "momentum"]),
        ([DESCENT, {"kind": "newton", "steps": 3}], ["optimiser.1", "newton", "lbfgs"]),
    ],
)
def test_a_wrong_list_of_optimisers_is_refused_in_one_line(optimisers, words):
    with pytest.raises(InputError) as caught:
        atlas_of(mine=block(optimiser=optimisers))
    message = str(caught.value)
    assert message.startswith("my.yaml: imbalanced.mine.") and "\n" not in message
    assert all(word in message for word in words), message


# A start that is the end of another run


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


@pytest.mark.parametrize("spelt", ["1e-2", 0.01])
def test_a_run_is_named_by_the_values_of_its_keys_as_yaml_reads_them(spelt):
    grid = {"weight_decay": [4e-3, 1e-2], "problem.widths": [[5, 6], [6, 5]]}
    first = block(depth=2, grid=grid)
    start = states_as_start(weight_decay=spelt, widths="5-6")
    atlas = atlas_of(first=first, second=block(depth=2, start=start))
    (run,) = atlas.runs("imbalanced", "second")
    (read,) = atlas.reads(run).values()
    assert (read.group, read.run) == ("widths=5-6", "weight_decay=0.01+widths=5-6+seed=1")


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (
            {},
            "2 runs of imbalanced.first with seed=1, allowed is one (its keys: weight_",
        ),
        ({"run": {"weight_decay": 3}}, "no run of imbalanced.first with weight_decay=3, seed=1"),
        ({"run": {"depth": 1}}, "no run of imbalanced.first with depth=1, seed=1"),
        ({"run": {"weight_decay": 0.1}, "seed": 7}, "no run of imbalanced.first with weight_decay"),
        ({"run": {"seed": 2}}, "second.start.of.run: a seed found among its keys, allowed is"),
        ({"experiment": "fist"}, "did you mean 'first'?"),
        ({"study": "imbalance"}, "did you mean 'imbalanced'?"),
        ({"experiment": "second", "run": {}}, "imbalanced.second reads imbalanced.second"),
    ],
)
def test_a_start_that_leads_to_no_run_is_refused_in_one_line(of, words):
    start = states_as_start()
    start["of"] |= of
    first = block(grid={"weight_decay": [0.1, 0.2]})
    with pytest.raises(InputError) as caught:
        atlas_of(first=first, second=block(start=start))
    message = str(caught.value)
    assert words in message and "\n" not in message


def test_a_start_is_the_last_state_before_a_divergence(tmp_path):
    lost = block(2, optimiser=DESCENT | {"steps": 900, "learning_rate": 9.0})
    second = block(2, optimiser=DESCENT | {"steps": 5}, start=states_as_start())
    measured(tmp_path, atlas_of(first=lost, second=second), name="second")
    _, (told,), _ = states_of(tmp_path, "first")
    assert told["status"] == "diverged"
    begun = state(tmp_path, "second", "seed=1", 0)
    for name, array in state(tmp_path, "first", "seed=1", told["steps"][-1]).items():
        np.testing.assert_allclose(begun[name], array, rtol=1e-12, atol=1e-14)
