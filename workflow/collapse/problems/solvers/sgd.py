"""Gradient descent with momentum on all samples, and continuation along a path of penalties.

All problems of a batch advance together; the result of one does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from heapq import merge
from itertools import chain, groupby, pairwise
from typing import Any

import torch
from torch import Tensor

from collapse.capture import can_compile, captured
from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.chunks import chunks
from collapse.problems.parameters import Parameters, add_decay, flat_copy
from collapse.problems.trajectory import Recorder, Trajectory, core_settings
from collapse.schedule import log_spaced

# A run is checked for divergence at every record and at least this often.
CHECK_EVERY = 500
# Steps in one CUDA graph: the GPU waits between two graphs.
GRAPH_STEPS = 10
# Compiled, `_descend_pass` reads position and velocity once instead of twice. torch.compile takes
# some 20 s, in which a GPU reads this many bytes at 3 TB/s.
COMPILE_BYTES = 60e12
# A perturbation must not repeat the numbers that a start drew from the same seed.
PERTURBATION_STREAM = 0x9E3779B9


def solve(
    problem: Problem,
    start: Parameters,
    settings: Sequence[Mapping[str, Any]],
    report: Callable[[str], None],
    threads: int = 1,
) -> Trajectory:
    """Run gradient descent as the config's section ``optimiser`` says, one for each problem.

    Parameters
    ----------
    problem, start, threads
        As in `gradient_descent`.
    settings
        ``learning_rate``, and the same for all: ``momentum``, ``steps`` and ``record``, how many
        log-spaced steps are kept.
    report
        Called with how far it is, in words.
    """
    first = settings[0]
    record = log_spaced(first["steps"], first["record"])
    return gradient_descent(
        problem, start, _rates(settings, start), first["momentum"], first["steps"], record,
        _step_reporter(report), threads,
    )  # fmt: skip


def follow(
    problem: Problem,
    start: Parameters,
    settings: Sequence[Mapping[str, Any]],
    decays: tuple[Tensor, Tensor],
    perturbation: float,
    seeds: Sequence[int],
    report: Callable[[str], None],
    threads: int = 1,
) -> Trajectory:
    """Run `sweep` as the config's section ``optimiser`` says.

    Parameters
    ----------
    problem, start, perturbation, seeds, threads
        As in `sweep`.
    settings, report
        As in `solve`.
    decays
        Weight decays (S, B, M) and feature decays (S, B).
    """
    first = settings[0]
    return sweep(
        problem, start, *decays, _rates(settings, start), first["momentum"], first["steps"],
        perturbation, seeds, _step_reporter(report), threads,
    )  # fmt: skip


def _step_reporter(report: Callable[[str], None]) -> Callable[[int], None]:
    return lambda step: report(f"step {step}")


def _rates(settings: Sequence[Mapping[str, Any]], start: Parameters) -> Tensor:
    return start.first.new_tensor([each["learning_rate"] for each in settings])


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
    states = Recorder(problem, start, record)
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
    states = Recorder(problem, state, ends)
    update = _update_pass(state, steps * len(ends))
    generators = [torch.Generator().manual_seed(seed ^ PERTURBATION_STREAM) for seed in seeds]
    for stage, end in enumerate(ends):
        here = problem.with_decay(weight_decay[stage], feature_decay[stage])
        state = state.map(lambda tensor: tensor + perturbation * _noise(tensor, generators))
        stage_states = Recorder(here, state, [steps])
        _descend(here, state, learning_rate, momentum, steps, stage_states, update, threads)
        state = stage_states.parameters.map(lambda tensor: tensor[:, 0])
        states.adopt(stage, stage_states, end - steps)
        if on_progress is not None:
            on_progress(end)
    return states.trajectory(basis)


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
    return start.first.is_cuda and saved * steps > COMPILE_BYTES


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
        if start.first.is_cuda:
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
    states: Recorder,
    update: Callable[[Tensor, Tensor, Tensor], None],
    threads: int,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Run gradient descent on a (reduced) problem and fill `states`."""
    if (learning_rate.shape, learning_rate.dtype) != ((problem.batch,), start.first.dtype):
        found = f"{learning_rate.dtype} {tuple(learning_rate.shape)}"
        raise InputError(f"learning_rate: {found}; need {start.first.dtype} ({problem.batch},)")
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
    batch = len(start.first)
    if start.first.is_cuda:
        return [slice(0, batch)]
    return chunks(batch, 2 * sum(tensor[0].nbytes for tensor in start.tensors()))


@contextmanager
def _mapping(threads: int) -> Iterator[Callable]:
    """Give a `map` that spreads its calls over threads, each at home on one core."""
    with core_settings():
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
