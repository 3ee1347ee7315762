"""Gradient flow by SciPy's adaptive Runge-Kutta method of order 8, each problem by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.integrate import DOP853

from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters, flat_copy
from collapse.problems.solvers import Report, silent
from collapse.problems.trajectory import Recorder, Trajectory, core_settings

# A flow no faster than this, relative to where it is, moves by rounding only.
AT_REST = 1e-15


def solve(
    problem: Problem,
    start: Parameters,
    settings: Sequence[Mapping[str, Any]],
    report: Report,
    threads: int = 1,
) -> Trajectory:
    """Run `gradient_flow` as the config's section ``optimiser`` says, on one core.

    Parameters
    ----------
    problem, start
        As in `gradient_flow`.
    settings
        ``first``, ``last``, ``record`` and ``tolerance``, the same for all problems.
    report
        As of every solver.
    threads
        Not used: the problems take turns.
    """
    first = settings[0]
    times = np.geomspace(first["first"], first["last"], first["record"])
    return gradient_flow(problem, start, times, first["tolerance"], report)


def gradient_flow(
    problem: Problem,
    start: Parameters,
    times: Sequence[float],
    tolerance: float,
    report: Report = silent,
) -> Trajectory:
    """Integrate d parameters/dt = -speed * gradient from time 0.

    The error of every step is controlled for each flow, whose result depends on no other. No step
    is longer than the inverse of the problem's stiffness: at the limit of stability, where the
    error estimate alone would let it go, what decays would come back. A flow that has come to rest
    stays where it is. One whose start has no finite objective diverges at once.

    Parameters
    ----------
    problem : Problem
        B problems.
    start : Parameters
        The states at time 0.
    times : sequence of float
        Increasing times > 0 at which the states are kept.
    tolerance : float
        Largest local error, relative and absolute.
    report
        Called after each flow.

    Returns
    -------
    Trajectory
        Record 0 is the start, record j the j-th of `times`; its steps are these numbers.

    Raises
    ------
    InputError
        If the integrator gives up.
    """
    states = Recorder(problem, start, range(len(times) + 1))
    with core_settings():
        for index in range(problem.batch):
            one = slice(index, index + 1)
            single = problem.select(one)
            begin = start.map(lambda tensor, one=one: tensor[one])
            if not bool(single.objective(begin).isfinite()):
                states.diverged[one] = 0
                continue
            states.write(0, one, single, begin)
            for record, position in enumerate(_flow(single, begin, times, tolerance), 1):
                states.write(record, one, single, position)
            report(index + 1, problem.batch, "flow")
    trajectory = states.trajectory(None)
    return trajectory.timed(torch.tensor([0.0, *times], dtype=torch.float64))


def _flow(problem: Problem, start: Parameters, times: Sequence[float], tolerance: float):
    """Yield the state of one problem at each time."""
    position = flat_copy(start)
    buffer = position.rows.view(-1)

    def velocity(_: float, point: np.ndarray) -> np.ndarray:
        buffer.copy_(torch.from_numpy(point))
        slopes = problem.gradient(position.parameters).tensors()
        return -problem.speed * torch.cat([slope.flatten() for slope in slopes]).cpu().numpy()

    def longest(point: np.ndarray) -> float:
        buffer.copy_(torch.from_numpy(point))
        rate = problem.stiffness(position.parameters)
        return np.inf if rate is None else 1 / max(rate.item(), 1 / times[-1])

    begin = buffer.cpu().numpy().copy()
    solver = DOP853(velocity, 0.0, begin, times[-1], rtol=tolerance, atol=tolerance)
    waiting = iter(times)
    wanted = next(waiting)
    while True:
        if np.abs(solver.f).max() <= AT_REST * np.abs(solver.y).max():
            buffer.copy_(torch.from_numpy(solver.y))
            while wanted is not None:
                yield position.parameters
                wanted = next(waiting, None)
            return
        solver.max_step = longest(solver.y)
        message = solver.step()
        if solver.status == "failed":
            raise InputError(f"optimiser: the flow stops at t = {solver.t:g} ({message})")
        state = solver.dense_output()
        while wanted is not None and wanted <= solver.t:
            buffer.copy_(torch.from_numpy(state(wanted)))
            yield position.parameters
            wanted = next(waiting, None)
        if wanted is None:
            return
