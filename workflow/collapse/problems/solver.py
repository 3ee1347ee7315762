"""Gradient descent, L-BFGS and continuation for batches of problems.

The solver knows a problem by its `Problem` protocol only. All problems of a batch advance
together; the result of one does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from heapq import merge
from itertools import chain, groupby, pairwise
from typing import Protocol

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from collapse.capture import can_compile, captured
from collapse.errors import InputError
from collapse.problems.chunks import chunks
from collapse.problems.parameters import Flat, Parameters, add_decay, flat_copy

# A run is checked for divergence at every record and at least this often.
CHECK_EVERY = 500
# Steps in one CUDA graph: the GPU waits between two graphs.
GRAPH_STEPS = 10
# Compiled, `_descend_pass` reads position and velocity once instead of twice. torch.compile takes
# some 20 s, in which a GPU reads this many bytes at 3 TB/s.
COMPILE_BYTES = 60e12
# A perturbation must not repeat the numbers that a start drew from the same seed.
PERTURBATION_STREAM = 0x9E3779B9


class Problem(Protocol):
    """What the solver needs of a batch of problems; `DeepLinear` documents each member."""

    @property
    def batch(self) -> int:
        """The number of problems, B."""

    def objective(self, parameters: Parameters) -> Tensor:
        """Return the objective of each problem, (B,)."""

    def gradient(self, parameters: Parameters) -> Parameters:
        """Return the gradient, shapes as `parameters`."""

    def accumulator(
        self,
        position: Flat,
        velocity: Flat,
        scale: Tensor,
        momentum: float,
        update: Callable[[Tensor, Tensor, Tensor], None] = ...,
    ) -> Callable[[], None]:
        """Return the in-place velocity = momentum * velocity + scale * gradient."""

    def select(self, index: slice) -> Problem:
        """Return the problems of a slice of the batch."""

    def with_decay(self, weight_decay: Tensor, feature_decay: Tensor) -> Problem:
        """Return the same problems under other penalties."""

    def reduced(self, start: Parameters) -> tuple[Problem, Parameters, Tensor | None]:
        """Return an exactly equivalent smaller problem, its start and the basis of its columns."""


@dataclass(frozen=True)
class Trajectory:
    """Recorded states of a batch of problems.

    Attributes
    ----------
    steps : tuple of int
        The S recorded steps; 0 is the start.
    parameters : Parameters
        Tensors (B, S, ...). The features are in the solver's columns, (B, S, d_1, C).
    objective, gradient_norm : Tensor
        Objective and Euclidean norm of its full gradient, (B, S).
    diverged_step : Tensor
        First step at which a problem's objective is not finite, (B,) int64; -1 for none. From
        that step on its records are NaN throughout: there is no state to show.
    basis : Tensor or None
        (B, C, N) with H_1 = features @ basis; None when the columns are the samples.
    """

    steps: tuple[int, ...]
    parameters: Parameters
    objective: Tensor
    gradient_norm: Tensor
    diverged_step: Tensor
    basis: Tensor | None = None

    @property
    def valid(self) -> Tensor:
        """Which records lie before a divergence, (B, S) bool."""
        steps = torch.tensor(self.steps, device=self.diverged_step.device)
        diverged = self.diverged_step.unsqueeze(1)
        return (diverged < 0) | (steps < diverged)

    def state(self, record: int) -> Parameters:
        """Return the parameters of one record with a feature column per sample, (B, ...)."""
        state = self.parameters.map(lambda tensor: tensor[:, record])
        if self.basis is None:
            return state
        return replace(state, features=state.features @ self.basis)


def gradient_descent(
    problem: Problem,
    start: Parameters,
    learning_rate: Tensor,
    momentum: float,
    steps: int,
    record: Sequence[int],
    on_progress: Callable[[int], None] | None = None,
    threads: int = 1,
) -> Trajectory:
    """Run full-batch gradient descent with momentum at a constant learning rate.

    One step, in the convention of `torch.optim.SGD`::

        velocity = momentum * velocity + gradient
        parameters = parameters - learning_rate * velocity

    from velocity 0. The problem is first replaced by its exact reduction, where it has one.

    Parameters
    ----------
    problem : Problem
        B problems.
    start : Parameters
        Step 0, with all N sample columns; left as it is.
    learning_rate : Tensor
        One per problem, (B,).
    momentum : float
        In [0, 1), the same for all.
    steps : int
        How many steps to run; fewer if all problems have diverged.
    record : sequence of int
        Which states to keep, increasing, from 0 (the start) to `steps`.
    on_progress : callable, optional
        Called with the step at each recorded step.
    threads : int
        CPU cores to use at most, one per chunk of problems. The result does not depend on it.

    Returns
    -------
    Trajectory
        One record per element of `record`.

    Raises
    ------
    InputError
        If `record` is not increasing within 0..steps, the learning rates do not fit or there is
        no thread.
    """
    if list(record) != sorted({*record}) or not all(0 <= step <= steps for step in record):
        raise InputError(f"record: {list(record)}; need increasing steps from 0 to {steps}")
    problem, start, basis = problem.reduced(start)
    states = _Recorder(problem, start, record)
    update = _update_pass(start, steps)
    _descend(problem, start, learning_rate, momentum, steps, states, update, threads, on_progress)
    return states.trajectory(basis)


def sweep(
    problem: Problem,
    start: Parameters,
    weight_decay: Tensor,
    feature_decay: Tensor,
    learning_rate: Tensor,
    momentum: float,
    steps: int,
    perturbation: float,
    seeds: Sequence[int],
    on_progress: Callable[[int], None] | None = None,
    threads: int = 1,
) -> Trajectory:
    """Follow a branch of solutions along a path of penalties.

    Each stage runs gradient descent under its own penalties from the end of the stage before plus
    Gaussian noise, which lets the run leave a stationary point that has become unstable; the
    velocity starts at 0 in every stage. Each problem has its own path: an upward and a downward
    sweep fit in one batch.

    Parameters
    ----------
    problem : Problem
        B problems; their own penalties are not used.
    start : Parameters
        With all N sample columns. The first stage starts from it plus noise.
    weight_decay, feature_decay : Tensor
        The S stages, (S, B, M) and (S, B).
    learning_rate, momentum, steps
        As in `gradient_descent`, for each stage.
    perturbation : float
        Standard deviation of the noise in each variable, drawn in the solver's columns: where the
        problem was reduced, noise outside the span of the reduction would only decay.
    seeds : sequence of int
        One per problem, of a generator of its own that serves all stages.
    on_progress : callable, optional
        Called with the step, counted through all stages, at each stage's end.
    threads : int
        As in `gradient_descent`.

    Returns
    -------
    Trajectory
        One record per stage, its end; `objective` and `gradient_norm` under that stage's
        penalties; steps counted through all stages.
    """
    problem, state, basis = problem.reduced(start)
    ends = [steps * (stage + 1) for stage in range(len(weight_decay))]
    states = _Recorder(problem, state, ends)
    update = _update_pass(state, steps * len(ends))
    generators = [torch.Generator().manual_seed(seed ^ PERTURBATION_STREAM) for seed in seeds]
    for stage, end in enumerate(ends):
        here = problem.with_decay(weight_decay[stage], feature_decay[stage])
        state = state.map(lambda tensor: tensor + perturbation * _noise(tensor, generators))
        stage_states = _Recorder(here, state, [steps])
        _descend(here, state, learning_rate, momentum, steps, stage_states, update, threads)
        state = stage_states.parameters.map(lambda tensor: tensor[:, 0])
        states.adopt(stage, stage_states, end - steps)
        if on_progress is not None:
            on_progress(end)
    return states.trajectory(basis)


def lbfgs(problem: Problem, start: Parameters, tolerance: float, max_iterations: int) -> Trajectory:
    """Minimise each problem by L-BFGS with a strong-Wolfe line search.

    Meant to check closed forms, not to replace the trajectory of gradient descent. The search is
    restarted without memory where the line search stalls before the tolerance is met, until a
    restart gains nothing any more.

    Parameters
    ----------
    problem : Problem
        B problems, solved one after the other.
    start : Parameters
        With all N sample columns.
    tolerance : float
        Largest allowed entry of the gradient.
    max_iterations : int
        Limit of iterations for each problem, all restarts together.

    Returns
    -------
    Trajectory
        A single record, the end; its step is the largest number of iterations that a problem took.
    """
    problem, start, basis = problem.reduced(start)
    states = _Recorder(problem, start, [0])
    taken = 0
    with _core_settings():
        for index in range(problem.batch):
            one = slice(index, index + 1)
            chosen = problem.select(one)
            end, iterations = _minimise(
                chosen, start.map(lambda tensor, one=one: tensor[one]), tolerance, max_iterations
            )
            states.write(0, one, chosen, end)
            taken = max(taken, iterations)
    states.steps = (taken,)
    return states.trajectory(basis)


class _Recorder:
    """The trajectory while it is being filled; NaN where nothing was recorded."""

    def __init__(self, problem: Problem, start: Parameters, steps: Sequence[int]):
        batch, count = problem.batch, len(steps)
        self.steps = tuple(steps)
        self.parameters = start.map(
            lambda tensor: tensor.new_full((batch, count, *tensor.shape[1:]), torch.nan)
        )
        self.objective = start.features.new_full((batch, count), torch.nan)
        self.gradient_norm = self.objective.clone()
        self.diverged = torch.full((batch,), -1, device=self.objective.device)

    def write(self, record: int, index: slice, problem: Problem, parameters: Parameters) -> None:
        """Store a state of the problems at `index`, NaN for those that have diverged."""
        values = (*parameters.tensors(), problem.objective(parameters))
        places = (*self.parameters.tensors(), self.objective)
        gone = self.diverged[index] >= 0
        norm = problem.gradient(parameters).norm()
        for place, value in zip((*places, self.gradient_norm), (*values, norm), strict=True):
            masked = gone.view(-1, *[1] * (value.ndim - 1))
            place[index, record] = value.masked_fill(masked, torch.nan)

    def adopt(self, record: int, other: _Recorder, offset: int) -> None:
        """Take over the only record of `other`, whose steps start at `offset`."""
        for place, value in zip(self._tensors(), other._tensors(), strict=True):
            place[:, record] = value[:, 0]
        new = (self.diverged < 0) & (other.diverged >= 0)
        self.diverged[new] = other.diverged[new] + offset

    def _tensors(self) -> tuple[Tensor, ...]:
        return (*self.parameters.tensors(), self.objective, self.gradient_norm)

    def trajectory(self, basis: Tensor | None) -> Trajectory:
        return Trajectory(
            steps=self.steps,
            parameters=self.parameters,
            objective=self.objective,
            gradient_norm=self.gradient_norm,
            diverged_step=self.diverged,
            basis=basis,
        )


def _descend_pass(position: Tensor, velocity: Tensor, decay: Tensor) -> None:
    """End a step: give the velocity its decay and move the position."""
    add_decay(position, velocity, decay)
    position.sub_(velocity)


def _update_pass(start: Parameters, steps: int) -> Callable[[Tensor, Tensor, Tensor], None]:
    """Return `_descend_pass`, compiled where that repays itself.

    The choice depends on the problem's size and the number of steps alone: a compiler may round
    otherwise, and the same run must give the same bytes.
    """
    if _repays_compiling(start, steps) and can_compile():
        return torch.compile(_descend_pass, dynamic=False)
    return _descend_pass


def _repays_compiling(start: Parameters, steps: int) -> bool:
    saved = 2 * sum(tensor.nbytes for tensor in start.tensors())
    return start.features.is_cuda and saved * steps > COMPILE_BYTES


class _Descent:
    """A chunk of problems under gradient descent."""

    def __init__(
        self,
        problem: Problem,
        start: Parameters,
        learning_rate: Tensor,
        momentum: float,
        update: Callable[[Tensor, Tensor, Tensor], None],
    ):
        self.problem = problem
        self.position = flat_copy(start)
        self.velocity = flat_copy(start.map(torch.zeros_like))
        # The velocity is kept as learning_rate * (SGD's velocity), which saves a factor per pass.
        step = problem.accumulator(self.position, self.velocity, learning_rate, momentum, update)
        # How many steps each call takes, most first.
        self.calls: dict[int, Callable[[], None]] = {1: step}
        if start.features.is_cuda:
            state = (self.position.rows, self.velocity.rows)
            self.calls = {count: captured(step, state, count) for count in (GRAPH_STEPS, 1)}

    def _state(self) -> tuple[Tensor, Tensor]:
        return self.position.rows.clone(), self.velocity.rows.clone()

    def _restore(self, saved: tuple[Tensor, Tensor]) -> None:
        self.position.rows.copy_(saved[0])
        self.velocity.rows.copy_(saved[1])

    def _run(self, steps: int) -> None:
        for count, call in self.calls.items():
            for _ in range(steps // count):
                call()
            steps %= count

    def advance(self, step: int, until: int, diverged: Tensor) -> None:
        """Go from `step` to `until` and note in `diverged` where an objective stops being finite.

        A non-finite state stays so. It is therefore enough to look at the end, and to repeat the
        interval step by step only when a problem was lost in it.
        """
        saved = self._state()
        self._run(until - step)
        if not bool((self._lost() & (diverged < 0)).any()):
            return
        self._restore(saved)
        for now in range(step + 1, until + 1):
            self._run(1)
            diverged[self._lost() & (diverged < 0)] = now

    def _lost(self) -> Tensor:
        return ~self.problem.objective(self.position.parameters).isfinite()


def _descend(
    problem: Problem,
    start: Parameters,
    learning_rate: Tensor,
    momentum: float,
    steps: int,
    states: _Recorder,
    update: Callable[[Tensor, Tensor, Tensor], None],
    threads: int,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Run gradient descent on a (reduced) problem and fill `states`."""
    if (learning_rate.shape, learning_rate.dtype) != ((problem.batch,), start.features.dtype):
        found = f"{learning_rate.dtype} {tuple(learning_rate.shape)}"
        raise InputError(f"learning_rate: {found}; need {start.features.dtype} ({problem.batch},)")
    if threads < 1:
        raise InputError(f"threads: {threads}; need at least 1")
    descents = [
        (
            index,
            _Descent(
                problem.select(index),
                start.map(lambda tensor, index=index: tensor[index]),
                learning_rate[index],
                momentum,
                update,
            ),
        )
        for index in _chunks(start)
    ]
    states.diverged[~problem.objective(start).isfinite()] = 0
    record = {step: number for number, step in enumerate(states.steps)}
    stops = merge(states.steps, range(0, steps, CHECK_EVERY), [steps])

    def advance(step: int, until: int, chunk: tuple[slice, _Descent]) -> None:
        index, descent = chunk
        descent.advance(step, until, states.diverged[index])
        if until in record:
            states.write(record[until], index, descent.problem, descent.position.parameters)

    with _mapping(min(threads, len(descents))) as each:
        for step, until in pairwise(chain([0], (stop for stop, _ in groupby(stops)))):
            if bool((states.diverged >= 0).all()):
                return
            list(each(partial(advance, step, until), descents))
            if until in record and on_progress is not None:
                on_progress(until)


def _chunks(start: Parameters) -> list[slice]:
    """Cut the batch into chunks for a CPU core; a GPU takes it whole."""
    batch = len(start.features)
    if start.features.is_cuda:
        return [slice(0, batch)]
    return chunks(batch, 2 * sum(tensor[0].nbytes for tensor in start.tensors()))


@contextmanager
def _mapping(threads: int) -> Iterator[Callable]:
    """Give a `map` that spreads its calls over threads, each at home on one core."""
    with _core_settings():
        if threads == 1:
            yield map
            return
        # Threads take over the number of PyTorch's threads, but not the mode of the processor.
        with ThreadPoolExecutor(threads, "solver", torch.set_flush_denormal, (True,)) as pool:
            yield pool.map


def _noise(tensor: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Return standard normal numbers in the shape of `tensor`, one generator per problem."""
    rows = [
        torch.randn(tensor.shape[1:], generator=generator, dtype=tensor.dtype)
        for generator in generators
    ]
    return torch.stack(rows).to(tensor.device)


def _minimise(
    problem: Problem, start: Parameters, tolerance: float, max_iterations: int
) -> tuple[Parameters, int]:
    """Minimise one problem; return its end and the number of iterations."""
    position, gradient = flat_copy(start), flat_copy(start.map(torch.zeros_like))
    buffer, slopes = position.rows.view(-1), gradient.rows.view(-1)
    accumulate = problem.accumulator(position, gradient, buffer.new_ones(1), 0.0)

    def value_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
        buffer.copy_(torch.from_numpy(point))
        accumulate()
        return problem.objective(position.parameters).item(), slopes.cpu().numpy().copy()

    point, taken = buffer.cpu().numpy().copy(), 0
    value, slope = value_and_gradient(point)
    while taken < max_iterations and np.abs(slope).max() > tolerance:
        result = scipy.optimize.minimize(
            value_and_gradient,
            point,
            jac=True,
            method="L-BFGS-B",
            options={
                "ftol": 0.0,
                "gtol": tolerance,
                "maxiter": max_iterations - taken,
                "maxfun": 20 * max_iterations,
                "maxls": 50,
            },
        )
        taken += result.nit
        if not result.fun < value:
            break
        point, value, slope = result.x, result.fun, result.jac
    buffer.copy_(torch.from_numpy(point))
    return position.parameters, taken


@contextmanager
def _core_settings() -> Iterator[None]:
    """Use one thread, and treat denormal numbers as 0, on a CPU.

    How a sum is split over threads changes its last bits. Variables that decay to 0 would slow a
    CPU down 100-fold.
    """
    threads = torch.get_num_threads()
    tiny = torch.finfo(torch.float64).tiny
    flushed = torch.tensor(tiny, dtype=torch.float64).div(2).item() == 0
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(threads)
