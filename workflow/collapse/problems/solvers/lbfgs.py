"""L-BFGS, for the optimum rather than the path to it: it checks closed forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.optimize
import torch

from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters, flat_copy
from collapse.problems.trajectory import Recorder, Trajectory, core_settings


def solve(
    problem: Problem,
    start: Parameters,
    settings: Sequence[Mapping[str, Any]],
    report: Callable[[str], None],
    threads: int = 1,
) -> Trajectory:
    """Run `lbfgs` as the config's section ``optimiser`` says, on one core.

    Parameters
    ----------
    problem, start
        As in `lbfgs`.
    settings
        ``tolerance`` and ``steps``, the same for all problems.
    report
        Called with how far it is, in words.
    threads
        Not used: the problems take turns.
    """
    first = settings[0]

    def on_progress(done: int) -> None:
        report(f"{done} of {problem.batch} minimised")

    return lbfgs(problem, start, first["tolerance"], first["steps"], on_progress)


def lbfgs(
    problem: Problem,
    start: Parameters,
    tolerance: float,
    max_iterations: int,
    on_progress: Callable[[int], None] | None = None,
) -> Trajectory:
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
    on_progress : callable, optional
        Called with the number of problems done after each.

    Returns
    -------
    Trajectory
        A single record, the end; its step is the largest number of iterations that a problem took.
    """
    problem, start, basis = problem.reduced(start)
    states = Recorder(problem, start, [0])
    taken = 0
    with core_settings():
        for index in range(problem.batch):
            one = slice(index, index + 1)
            chosen = problem.select(one)
            end, iterations = _minimise(
                chosen, start.map(lambda tensor, one=one: tensor[one]), tolerance, max_iterations
            )
            if not chosen.objective(end).isfinite():
                states.diverged[one] = iterations
            states.write(0, one, chosen, end)
            taken = max(taken, iterations)
            if on_progress is not None:
                on_progress(index + 1)
    states.steps = (taken,)
    return states.trajectory(basis)


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
