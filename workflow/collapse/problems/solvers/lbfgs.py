"""L-BFGS, for the optimum rather than the path to it: it checks closed forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.optimize
import torch

from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters, flat_copy
from collapse.problems.solvers import Report, silent
from collapse.problems.trajectory import Recorder, Trajectory, core_settings


def solve(
    problem: Problem,
    start: Parameters,
    settings: Sequence[Mapping[str, Any]],
    report: Report,
    threads: int = 1,
) -> Trajectory:
    """Run `lbfgs` as the config's section ``optimiser`` says, on one core.

    `settings` give ``tolerance`` and ``steps``, the same for all problems. `threads` is not
    used: the problems take turns.
    """
    shared = settings[0]
    return lbfgs(problem, start, shared["tolerance"], shared["steps"], report)


def lbfgs(
    problem: Problem,
    start: Parameters,
    tolerance: float,
    max_iterations: int,
    report: Report = silent,
) -> Trajectory:
    """Minimise each of B problems by L-BFGS with a strong-Wolfe line search, one after the other.

    Each follows its continuation, `Problem.homotopy`. Meant to check closed forms, not to replace
    the trajectory of gradient descent. The search is restarted without memory where the line search
    stalls before the tolerance is met, until a restart gains nothing any more.

    Parameters
    ----------
    start : Parameters
        With all N sample columns.
    tolerance : float
        Largest allowed entry of the gradient.
    max_iterations : int
        Limit of iterations for each stage of a problem's continuation, all restarts together.
    report
        Called after each problem.

    Returns
    -------
    Trajectory
        A single record, the end; its step is the largest number of iterations that a problem took.
    """
    problem, start, basis = problem.reduced(start)
    states = Recorder(problem, start, [0])
    most_iterations = 0
    with core_settings():
        for number in range(problem.batch):
            index = slice(number, number + 1)
            single = problem.select(index)
            end, iterations = start.map(lambda tensor, index=index: tensor[index]), 0
            for stage in single.homotopy(end):
                end, taken = _minimise(stage, single.unstuck(end), tolerance, max_iterations)
                iterations += taken
            if not single.objective(end).isfinite():
                states.diverged[index] = iterations
            states.write(0, index, single, end)
            most_iterations = max(most_iterations, iterations)
            report(number + 1, problem.batch, "problem", loss=states.objective[number, 0].item())
    states.steps = (most_iterations,)
    return states.trajectory(basis)


def _minimise(
    problem: Problem, start: Parameters, tolerance: float, max_iterations: int
) -> tuple[Parameters, int]:
    """Minimise one problem; return its end and the number of iterations."""
    position, gradient = flat_copy(start), flat_copy(start.map(torch.zeros_like))
    buffer, slopes = position.rows.view(-1), gradient.rows.view(-1)
    # With a scale of 1 and no momentum what is accumulated is the gradient.
    accumulate = problem.accumulator(position, gradient, buffer.new_ones(1), 0.0)

    def value_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
        buffer.copy_(torch.from_numpy(point))
        accumulate()
        # A copy: SciPy keeps gradients, and the buffer is written again.
        return problem.objective(position.parameters).item(), slopes.cpu().numpy().copy()

    point, iterations = buffer.cpu().numpy().copy(), 0
    value, slope = value_and_gradient(point)
    # SciPy returns where its line search stalls; another call begins without memory.
    while iterations < max_iterations and np.abs(slope).max() > tolerance:
        result = scipy.optimize.minimize(
            value_and_gradient,
            point,
            jac=True,
            method="L-BFGS-B",
            options={
                # The gradient alone decides, not how little the objective falls.
                "ftol": 0.0,
                "gtol": tolerance,
                "maxiter": max_iterations - iterations,
                # Out of the way: the iterations are what is limited.
                "maxfun": 20 * max_iterations,
                # More than SciPy's 20, so that a search stalls less often.
                "maxls": 50,
            },
        )
        iterations += result.nit
        # NaN too gains nothing.
        if not result.fun < value:
            break
        point, value, slope = result.x, result.fun, result.jac
    buffer.copy_(torch.from_numpy(point))
    return position.parameters, iterations
