"""Gradient descent with momentum on all samples, and continuation along a path of penalties.

All problems of a batch advance together; the result of one does not depend on the others.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.descent import descend, update_pass
from collapse.problems.parameters import Parameters
from collapse.problems.solvers import Report, silent
from collapse.problems.trajectory import Recorder, Trajectory
from collapse.schedule import log_spaced

# A perturbation must not repeat the numbers that a start drew from the same seed. The constant,
# 2^32 over the golden ratio, takes small seeds far from all others.
PERTURBATION_STREAM = 0x9E3779B9


def solve(
    problem: Problem,
    start: Parameters,
    settings: Sequence[Mapping[str, Any]],
    report: Report,
    threads: int = 1,
) -> Trajectory:
    """Run gradient descent as the config's section ``optimiser`` says, one for each problem.

    `settings` give ``learning_rate``, and the same for all: ``momentum``, ``steps`` and ``record``,
    how many log-spaced steps are kept. The rest is as in `gradient_descent`.
    """
    shared = settings[0]
    record = log_spaced(shared["steps"], shared["record"])
    return gradient_descent(
        problem, start, _rates(settings, start), shared["momentum"], shared["steps"], record,
        report, threads,
    )  # fmt: skip


def follow(
    problem: Problem,
    start: Parameters,
    settings: Sequence[Mapping[str, Any]],
    decays: tuple[Tensor, Tensor],
    perturbation: float,
    seeds: Sequence[int],
    report: Report,
    threads: int = 1,
) -> Trajectory:
    """Run `sweep` as the config's section ``optimiser`` says.

    `settings` and `report` are as in `solve`, `decays` weight decays (S, B, M) and feature decays
    (S, B), the rest is as in `sweep`.
    """
    shared = settings[0]
    return sweep(
        problem, start, *decays, _rates(settings, start), shared["momentum"], shared["steps"],
        perturbation, seeds, report, threads,
    )  # fmt: skip


def _rates(settings: Sequence[Mapping[str, Any]], start: Parameters) -> Tensor:
    return start.first.new_tensor([section["learning_rate"] for section in settings])


def gradient_descent(
    problem: Problem,
    start: Parameters,
    learning_rate: Tensor,
    momentum: float,
    steps: int,
    record: Sequence[int],
    report: Report = silent,
    threads: int = 1,
) -> Trajectory:
    """Run full-batch gradient descent with momentum at a constant learning rate.

    One step, in the convention of `torch.optim.SGD`::

        velocity = momentum * velocity + gradient
        parameters = parameters - learning_rate * velocity

    from velocity 0. The problem is first replaced by its exact reduction, where it has one.

    Parameters
    ----------
    start : Parameters
        Step 0, with all N sample columns; left as it is.
    learning_rate : Tensor
        One per problem, (B,).
    momentum, steps
        In [0, 1), and how many steps to run (fewer if all problems have diverged): the same for
        all.
    record : sequence of int
        Which states to keep, increasing, from 0 (the start) to `steps`.
    report
        Called now and then, with the mean objective at the last recorded step.
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
    update = update_pass(start, steps)

    def on_stop(step: int) -> None:
        report(step, steps, "step", **_loss(states.objective[:, : bisect_right(record, step)]))

    descend(problem, start, learning_rate, momentum, steps, states, update, threads, on_stop)
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
    report: Report = silent,
    threads: int = 1,
) -> Trajectory:
    """Follow a branch of solutions along a path of penalties.

    Each stage runs gradient descent under its own penalties from the end of the stage before plus
    Gaussian noise, which lets the run leave a stationary point that has become unstable; the
    velocity starts at 0 in every stage. Each problem has its own path: an upward and a downward
    sweep fit in one batch.

    Parameters
    ----------
    problem, start
        B problems, whose own penalties are not used, and what the first stage starts from, plus
        noise: all N sample columns.
    weight_decay, feature_decay : Tensor
        The S stages, (S, B, M) and (S, B).
    learning_rate, momentum, steps, threads
        As in `gradient_descent`, for each stage.
    perturbation : float
        Standard deviation of the noise in each variable, drawn in the solver's columns: where the
        problem was reduced, noise outside the span of the reduction would only decay.
    seeds : sequence of int
        One per problem, of a generator of its own that serves all stages.
    report
        Called now and then, with steps counted through all stages and the mean objective at the
        last stage's end.

    Returns
    -------
    Trajectory
        One record per stage, its end; `objective` and `gradient_norm` under that stage's
        penalties; steps counted through all stages.
    """
    problem, state, basis = problem.reduced(start)
    ends = [steps * (stage + 1) for stage in range(len(weight_decay))]
    states = Recorder(problem, state, ends)
    # Compiled, if at all, once for all stages.
    update = update_pass(state, steps * len(ends))
    # On the CPU and one per problem, as the starts: no batch or device changes the noise.
    generators = [torch.Generator().manual_seed(seed ^ PERTURBATION_STREAM) for seed in seeds]
    for stage, end in enumerate(ends):
        stage_problem = problem.with_decay(weight_decay[stage], feature_decay[stage])
        state = state.map(lambda tensor: tensor + perturbation * _noise(tensor, generators))
        stage_states = Recorder(stage_problem, state, [steps])

        def on_stop(step: int, stage: int = stage, before: int = end - steps) -> None:
            report(before + step, ends[-1], "step", **_loss(states.objective[:, :stage]))

        descend(
            stage_problem, state, learning_rate, momentum, steps, stage_states, update, threads,
            on_stop,
        )  # fmt: skip
        # In the solver's columns, where the next stage continues.
        state = stage_states.parameters.map(lambda tensor: tensor[:, 0])
        states.adopt(stage, stage_states, end - steps)
    return states.trajectory(basis)


def _loss(recorded: Tensor) -> dict[str, float]:
    """Return the mean objective at the last record, of those so far, (B, ...), if there is one.

    One of its own, of where the problems are, would take time from the steps.
    """
    return {"loss": recorded[:, -1].nanmean().item()} if recorded.shape[1] else {}


def _noise(tensor: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Return standard normal numbers in the shape of `tensor`, one generator per problem."""
    rows = [
        torch.randn(tensor.shape[1:], generator=generator, dtype=tensor.dtype)
        for generator in generators
    ]
    return torch.stack(rows).to(tensor.device)
