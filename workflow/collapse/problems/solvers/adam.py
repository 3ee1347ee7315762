"""Adam on all samples, for objectives whose variables differ in scale; problems side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters, flat_copy
from collapse.problems.solvers import Report, silent
from collapse.problems.trajectory import Recorder, Trajectory, core_settings, sound
from collapse.schedule import log_spaced

# Kingma & Ba 2015, and PyTorch's.
DECAYS = (0.9, 0.999)
EPSILON = 1e-8
# A run is checked for divergence at every record and at least this often.
CHECK_EVERY = 100


def solve(
    problem: Problem,
    start: Parameters,
    settings: Sequence[Mapping[str, Any]],
    report: Report,
    threads: int = 1,
) -> Trajectory:
    """Run `adam` as the config's section ``optimiser`` says, one for each problem.

    `settings` give ``learning_rate``, and the same for all: ``steps`` and ``record``, how many
    log-spaced steps are kept. `threads` is not used.
    """
    shared = settings[0]
    rates = start.first.new_tensor([section["learning_rate"] for section in settings])
    record = log_spaced(shared["steps"], shared["record"])
    return adam(problem, start, rates, shared["steps"], record, report)


def adam(
    problem: Problem,
    start: Parameters,
    learning_rate: Tensor,
    steps: int,
    record: Sequence[int],
    report: Report = silent,
) -> Trajectory:
    """Minimise B problems by Adam with the usual decays of its averages, 0.9 and 0.999.

    Parameters
    ----------
    start : Parameters
        Step 0, with all N sample columns; left as it is.
    learning_rate : Tensor
        One per problem, (B,).
    steps
        How many to take.
    record : sequence of int
        Which states to keep, increasing, from 0 (the start) to `steps`.
    report
        Called now and then, with the mean objective at the last recorded step.

    Returns
    -------
    Trajectory
        One record per element of `record`. A divergence is noted at the next check, at most a
        hundred steps later.
    """
    problem, start, basis = problem.reduced(start)
    states = Recorder(problem, start, record)
    places = {step: number for number, step in enumerate(record)}
    every, begun = slice(0, problem.batch), problem.objective(start)
    with core_settings():
        position, gradient = flat_copy(start), flat_copy(start.map(torch.zeros_like))
        # With a scale of 1 and no momentum what is accumulated is the gradient.
        accumulate = problem.accumulator(position, gradient, torch.ones_like(learning_rate), 0.0)
        rates = [_shaped(learning_rate, tensor) for tensor in position.parameters.tensors()]
        means, squares = (torch.zeros_like(gradient.rows) for _ in range(2))
        move = flat_copy(start.map(torch.zeros_like))
        for step in range(steps + 1):
            if step:
                accumulate()
                _average(gradient.rows, means, squares)
                _direction(means, squares, step, move.rows)
                moves = move.parameters.tensors()
                for tensor, change, rate in zip(
                    position.parameters.tensors(), moves, rates, strict=True
                ):
                    tensor.addcmul_(change, rate, value=-1)
            if step in places or step % CHECK_EVERY == 0:
                good = sound(problem.objective(position.parameters), begun)
                states.diverged[~good & (states.diverged < 0)] = step
            if step in places:
                states.write(places[step], every, problem, position.parameters)
                loss = states.objective[:, places[step]].nanmean().item()
                report(step, steps, "step", loss=loss)
    return states.trajectory(basis)


def _average(gradient: Tensor, means: Tensor, squares: Tensor) -> None:
    """Update both running averages, in place."""
    first, second = DECAYS
    means.lerp_(gradient, 1 - first)
    squares.mul_(second).addcmul_(gradient, gradient, value=1 - second)


def _direction(means: Tensor, squares: Tensor, step: int, move: Tensor) -> None:
    """Write what a step of rate 1 subtracts, both averages freed of their start at 0."""
    first, second = (1 - decay**step for decay in DECAYS)
    denominator = (squares / second).sqrt_().add_(EPSILON)
    torch.div(means / first, denominator, out=move)


def _shaped(rates: Tensor, tensor: Tensor) -> Tensor:
    return rates.view(-1, *[1] * (tensor.ndim - 1))
