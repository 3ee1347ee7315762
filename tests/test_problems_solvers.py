"""The solvers: steps, batches, threads, divergences, sweeps, and one after the other."""

import math
import shutil
import threading
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from scipy.optimize import brentq

from collapse.errors import InputError
from collapse.problems import chunks, descent
from collapse.problems.base import Problem
from collapse.problems.deep_linear import DeepLinear
from collapse.problems.solvers import lbfgs as lbfgs_solver
from collapse.problems.solvers import sgd
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.sgd import gradient_descent, sweep
from collapse.schedule import log_spaced
from collapse.theory.deep_linear import predict
from conftest import Unreduced, assert_same_variables, f64, needs_gpu, one, small_problem

SGD = {"kind": "sgd", "momentum": 0.9, "steps": 60, "record": 4}


def solve_by_sgd(problem, start, rates, threads=1, **changes):
    asked = [SGD | {"learning_rate": rate} | changes for rate in rates]
    return sgd.solve(problem, start, asked, lambda *_, **__: None, threads)


def solve_by_lbfgs(problem, start, steps=500, tolerance=1e-10):
    asked = [{"kind": "lbfgs", "tolerance": tolerance, "steps": steps}] * problem.batch
    return lbfgs_solver.solve(problem, start, asked, lambda *_, **__: None)


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


@pytest.mark.parametrize("loss", ["mse", "ce"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_gradient_descent_equals_torch_sgd(loss, bias, depth):
    problem = small_problem(depth=depth, loss=loss, bias=bias)
    start, rates = problem.initial([0, 1, 2], 0.3), [0.05, 0.1, 0.2]
    trajectory = gradient_descent(problem, start, f64(rates), 0.9, 200, [1, 200])
    for index, rate in enumerate(rates):
        alone = problem.select(slice(index, index + 1))
        expected = descended(alone, one(start, index), rate, 200)
        assert_same_variables(one(trajectory.state(1), index), expected, 1e-12)


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
            assert_same_variables(one(state, index), expected, 1e-13)
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
        assert_same_variables(
            one(found.state(0), index), descended(alone, one(start, index), 0.5, 1000), 1e-8
        )
    assert found.objective.unique().numel() == 3


def test_problems_of_any_kind_start_from_their_own_seeds_and_go_their_own_way(monkeypatch):
    problem, rates = robust(), [0.02, 0.1, 1e3, 0.3]
    scales = f64([0.1, 0.5, 0.5, 0.5])
    start = problem.initial([5, 1, 7, 5], scales)
    assert_same_variables(
        problem.select(slice(1, 3)).initial([1, 7], 0.5), start.map(lambda t: t[1:3]), 0
    )
    assert_same_variables(one(start, 0).map(lambda tensor: 5 * tensor), one(start, 3), 1e-15)
    together = solve_by_sgd(problem, start, rates, steps=600)
    assert together.diverged_step[2] > 0 and (together.diverged_step < 0).sum() == 3
    for index in (0, 1, 3):
        alone = problem.select(slice(index, index + 1))
        single = solve_by_sgd(alone, one(start, index), rates[index : index + 1], steps=600)
        assert_same_variables(one(together.parameters, index), single.parameters, 1e-13)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    assert len(descent.split(start)) == 4
    runs = [solve_by_sgd(problem, start, rates, threads, steps=600) for threads in (1, 2)]
    for found in runs:
        assert found.diverged_step.tolist() == together.diverged_step.tolist()
    same, other = (run.parameters.map(torch.Tensor.nan_to_num).tensors() for run in runs)
    assert all(map(torch.equal, same, other))


@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_result_does_not_depend_on_the_batch(loss, monkeypatch):
    problem = small_problem(batch=5, depth=3, loss=loss, bias=True)
    rates = f64([0.05, 0.1, 0.2, 0.1, 0.1])
    start = problem.initial(range(5), f64([0.1, 0.2, 0.3, 0.4, 0.5]))
    together = gradient_descent(problem, start, rates, 0.9, 700, [3, 700])
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 5000)
    assert len(descent.split(start)) > 1
    chunked = gradient_descent(problem, start, rates, 0.9, 700, [3, 700])
    assert_same_variables(chunked.parameters, together.parameters, 1e-13)
    alone = problem.select(slice(2, 3))
    assert_same_variables(alone.initial([2], 0.3), one(start, 2), 0)
    single = gradient_descent(alone, one(start, 2), rates[2:3], 0.9, 700, [3, 700])
    assert_same_variables(single.parameters, one(together.parameters, 2), 1e-13)


@pytest.mark.parametrize("route", ["gradient_descent", "sweep"])
def test_result_does_not_depend_on_the_threads(route, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    monkeypatch.setattr(DeepLinear, "objective", noting(DeepLinear.objective, seen := set()))
    problem = small_problem(batch=4, depth=3, width=16, sizes=(20, 20), bias=True)
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
    problem = small_problem(depth=3, bias=True)
    start, rates = problem.initial([0, 1, 2], 0.3), f64([0.05, 0.1, 0.2])

    def run():
        return gradient_descent(problem, start, rates, 0.9, 700, [3, 700]).parameters

    expected = run()
    monkeypatch.setattr(descent, "_repays_compiling", lambda *_: True)
    assert_same_variables(run(), expected, 1e-13)


def test_nothing_is_compiled_without_a_compiler(monkeypatch, capsys):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(descent, "_repays_compiling", lambda *_: True)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(torch, "compile", None)
    # Not what an earlier call found.
    monkeypatch.setattr(descent, "can_compile", descent.can_compile.__wrapped__)
    diverging_run(10)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "no C compiler" in lines[0]


def test_two_runs_have_the_same_bytes():
    def run():
        problem = small_problem(depth=3, bias=True)
        start = problem.initial([0, 1, 2], 0.3)
        trajectory = gradient_descent(problem, start, f64([0.1] * 3), 0.9, 300, [0, 300])
        found = lbfgs(problem, start, 1e-8, 300)
        tensors = (*trajectory.parameters.tensors(), *found.parameters.tensors())
        return [tensor.numpy().tobytes() for tensor in tensors]

    assert run() == run()


def diverging_run(last=3000):
    problem = small_problem(depth=2)
    start = problem.initial([0, 1, 2], 0.5)
    rates = f64([0.1, 3.0, 0.1])
    seen = []
    record = [0, 1, last // 2, last]

    def report(step, *_, **__):
        seen.append(step)

    trajectory = gradient_descent(problem, start, rates, 0.9, last, record, report)
    return problem, start, rates, trajectory, seen


def test_divergence_is_reported_at_the_exact_step():
    problem, start, rates, trajectory, _ = diverging_run()
    alone, point = problem.select(slice(1, 2)), one(start, 1)
    velocity, step = point.map(torch.zeros_like), 0
    most = max(1, alone.objective(point).item()) * 2**52
    while alone.objective(point) <= most:
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


def test_run_stops_when_all_have_diverged():
    problem = small_problem(depth=2, batch=1)
    start, seen = problem.initial([0], 0.5), []

    def report(step, *_, **__):
        seen.append(step)

    run = gradient_descent(problem, start, f64([50.0]), 0.9, 10**9, [0, 10**9], report)
    assert run.diverged_step.item() > 0 and seen == [0, 500]
    start.features[0, 0, 0] = math.inf
    run = gradient_descent(small_problem(1, loss="ce"), start, f64([0.1]), 0.9, 10, [0, 10])
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
    problem = small_problem(len(paths), depth, 4, sizes)
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
    problem = small_problem(2, 2)
    paths = torch.full((3, 2), 5e-3, dtype=torch.float64)
    paths[1:, 1] = 60.0
    weight_decay = paths.unsqueeze(2).expand(-1, -1, 2)
    start, rates = problem.initial([0, 1], 0.3), f64([0.1, 0.1])
    run = sweep(problem, start, weight_decay, paths, rates, 0.9, 400, 1e-5, [0, 1])
    assert run.diverged_step[0] == -1 and 400 < run.diverged_step[1] <= 800
    assert run.valid.tolist() == [[True] * 3, [True, False, False]]
    assert torch.equal(run.objective.isnan(), ~run.valid)


def test_a_solver_leaves_the_denormal_mode_as_it_was():
    problem = small_problem()
    start = problem.initial([0, 1, 2], 0.1)
    gradient_descent(problem, start, f64([0.1] * 3), 0.9, 2, [2])
    assert torch.tensor(1e-310, dtype=torch.float64).mul(1).item() > 0


@pytest.mark.parametrize("record", [[-1], [3, 2], [2, 2], [11]])
def test_bad_records_are_refused(record):
    problem = small_problem(1)
    with pytest.raises(InputError, match="record"):
        gradient_descent(problem, problem.initial([0], 0.1), f64([0.1]), 0.9, 10, record)


def test_learning_rate_in_single_precision_is_refused():
    problem = small_problem(1)
    with pytest.raises(InputError, match="learning_rate"):
        gradient_descent(problem, problem.initial([0], 0.1), torch.ones(1), 0.9, 10, [10])


def three_problems(device, loss="mse"):
    """Three deep linear problems on a device."""
    problem = small_problem(bias=True, loss=loss)
    decays = {name: getattr(problem, name).to(device) for name in ("weight_decay", "feature_decay")}
    return replace(problem, targets=problem.targets.to(device), ones=None, **decays)


@needs_gpu
@pytest.mark.parametrize(
    "make",
    [robust, three_problems, partial(three_problems, loss="ce")],
    ids=["robust", "mse", "ce"],
)
def test_optimisers_one_after_the_other_on_a_gpu_do_as_on_a_cpu(make):
    runs = []
    for device in ("cpu", "cuda"):
        problem = make(device=device)
        start = problem.initial(range(problem.batch), 0.5)
        rates = [0.1, 0.2, 1e3, 0.3][: problem.batch]
        first = solve_by_sgd(problem, start, rates, steps=200)
        runs.append(first.then(solve_by_lbfgs(problem, first.state(-1))))
    host, device = runs
    assert host.diverged_step.tolist() == device.diverged_step.tolist()
    assert host.diverged_step[2] > 0 and host.steps[:-1] == device.steps[:-1]
    for record in range(len(host.steps)):
        left, right = (run.state(record).map(lambda tensor: tensor.cpu()[:2]) for run in runs)
        # L-BFGS, whose end is the last record, leaves more of the rounding than the descent.
        assert_same_variables(left, right, 1e-10 if record < len(host.steps) - 1 else 1e-6)


@pytest.mark.parametrize("kind", [DeepLinear, Unreduced])
def test_optimisers_one_after_the_other_end_at_the_closed_form(kind):
    sizes, decay = (9, 6, 5), 5e-3
    problem = small_problem(batch=2, depth=2, width=5, sizes=sizes, decay=decay, kind=kind)
    start = problem.initial([0, 1], 0.5)
    first = solve_by_sgd(problem, start, [0.2, 0.3], steps=200)
    then = solve_by_lbfgs(problem, first.state(-1), 5000)
    both = first.then(then)
    assert both.steps == (*first.steps, 200 + then.steps[0]) and then.steps[0] > 0
    best = predict(class_sizes=list(sizes), weight_decay=[decay] * 2, feature_decay=decay)["loss"]
    torch.testing.assert_close(both.objective[:, -1], f64([best] * 2), rtol=1e-10, atol=0)
    for record in range(len(first.steps)):
        assert_same_variables(both.state(record), first.state(record), 0)
    assert_same_variables(both.state(-1), then.state(0), 0)
    for name in ("objective", "gradient_norm"):
        joined = torch.cat([getattr(first, name), getattr(then, name)], 1)
        assert torch.equal(getattr(both, name), joined)
    torch.testing.assert_close(problem.objective(both.state(2)), both.objective[:, 2])
    assert both.valid.all()


@pytest.mark.parametrize("kind", [DeepLinear, Unreduced])
def test_two_descents_without_memory_are_one(kind):
    problem = small_problem(batch=2, kind=kind, bias=True)
    start, rates = problem.initial([0, 1], 0.5), [0.1, 0.2]
    first = solve_by_sgd(problem, start, rates, momentum=0.0)
    both = first.then(solve_by_sgd(problem, first.state(-1), rates, momentum=0.0, steps=30))
    # The end of the first, which is the start of the second, is recorded once.
    assert both.steps == (*log_spaced(60, 4), *(60 + step for step in log_spaced(30, 4)[1:]))
    whole = gradient_descent(problem, start, f64(rates), 0.0, 90, both.steps)
    for record in range(len(both.steps)):
        assert_same_variables(both.state(record), whole.state(record), 1e-13)
    torch.testing.assert_close(both.objective, whole.objective, rtol=1e-12, atol=0)


def test_a_divergence_is_kept_whichever_optimiser_it_befalls():
    problem = small_problem(batch=3)
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
    problem = small_problem(batch=1)
    end = solve_by_lbfgs(problem, problem.initial([0], 0.5), 5000)
    again = solve_by_lbfgs(problem, end.state(-1), tolerance=1e-6)
    both = end.then(again)
    assert again.steps == (0,) and both.steps == end.steps
    assert torch.equal(both.objective, end.objective)
