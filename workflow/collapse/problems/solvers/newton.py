"""Newton's method with dense second derivatives: minimisers of small problems to rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters
from collapse.problems.solvers import Report, silent
from collapse.problems.trajectory import Recorder, Trajectory, core_settings

# Damping of a first failed step, relative to the largest second derivative, and its factors. In a
# curved valley, or beside a saddle, it is needed for long: it stays near what it has to be.
FIRST_DAMPING, MORE, LESS = 1e-3, 10.0, 0.3
# Damping below it changes no digit of a step.
SMALLEST_DAMPING = 1e-12


def solve(
    problem: Problem,
    start: Parameters,
    settings: Sequence[Mapping[str, Any]],
    report: Report,
    threads: int = 1,
) -> Trajectory:
    """Run `newton` as the config's section ``optimiser`` says, on one core.

    Parameters
    ----------
    problem, start
        As in `newton`.
    settings
        ``tolerance`` and ``steps``, the same for all problems.
    report
        As of every solver.
    threads
        Not used: small factorisations do not gain by it.
    """
    first = settings[0]
    return newton(problem, start, first["tolerance"], first["steps"], report)


def newton(
    problem: Problem,
    start: Parameters,
    tolerance: float,
    steps: int,
    report: Report = silent,
) -> Trajectory:
    """Minimise each problem by damped Newton steps along its continuation.

    A step solves (second derivatives + damping I) step = -gradient. It is taken where the matrix
    is positive definite and the objective does not rise; else the damping grows.

    Parameters
    ----------
    problem : Problem
        B problems; the result of one does not depend on the others.
    start : Parameters
        Where the first problem of the continuation begins.
    tolerance : float
        Largest allowed entry of the gradient; of a problem that decouples, of each of its parts.
    steps : int
        Limit for each stage of the continuation.
    report
        Called after each stage of the continuation.

    Returns
    -------
    Trajectory
        Two records: the start and the end.
    """
    states = Recorder(problem, start, [0, 1])
    everything = slice(0, problem.batch)
    with core_settings():
        states.diverged[~problem.objective(start).isfinite()] = 0
        states.write(0, everything, problem, start)
        position = start
        stages = list(problem.homotopy(start))
        for number, stage in enumerate(stages, 1):
            parts, begin, joined = stage.decoupled(problem.unstuck(position))
            position = joined(_minimise(parts, begin, tolerance, steps))
            loss = problem.objective(position).nanmean().item()
            report(number, len(stages), "stage", loss=loss)
        lost = ~problem.objective(position).isfinite() & (states.diverged < 0)
        states.diverged[lost] = 1
        states.write(1, everything, problem, position)
    return states.trajectory(None)


def _minimise(problem: Problem, start: Parameters, tolerance: float, steps: int) -> Parameters:
    """Minimise the problems of one stage; those that are done stay where they are."""
    position, objective = start, problem.objective(start)
    damping = torch.zeros_like(objective)
    for _ in range(steps):
        slopes = _flat(problem.gradient(position))
        running = slopes.abs().amax(1) > tolerance
        if not bool(running.any()):
            break
        curvature = problem.hessian(position)
        scale = curvature.diagonal(dim1=1, dim2=2).abs().amax(1)
        identity = torch.eye(slopes.shape[1]).to(slopes)
        factor, failed = torch.linalg.cholesky_ex(
            curvature + (damping * scale).view(-1, 1, 1) * identity
        )
        definite = failed == 0
        # An indefinite matrix has no factor: any other keeps the solver from numbers out of range.
        factor = torch.where(definite.view(-1, 1, 1), factor, identity)
        step = -torch.cholesky_solve(slopes.unsqueeze(2), factor).squeeze(2)
        tried = _moved(position, step)
        reached = problem.objective(tried)
        # Near the minimum the objective's digits are used up, and only the gradient still falls.
        nearer = _flat(problem.gradient(tried)).norm(dim=1) < slopes.norm(dim=1)
        falls = (reached < objective) | ((reached <= objective + _rounding(objective)) & nearer)
        taken = running & definite & falls
        stuck = running & definite & ~falls & (damping > 1 / SMALLEST_DAMPING)
        position = _chosen(taken, tried, position)
        objective = torch.where(taken, reached, objective)
        damping = torch.where(
            taken,
            torch.where(damping * LESS > SMALLEST_DAMPING, damping * LESS, 0.0),
            torch.where(running, torch.where(damping > 0, damping * MORE, FIRST_DAMPING), damping),
        )
        if bool((stuck | ~running).all()):
            break
    return position


def _flat(parameters: Parameters) -> Tensor:
    return torch.cat([tensor.flatten(1) for tensor in parameters.tensors()], 1)


def _moved(position: Parameters, step: Tensor) -> Parameters:
    parts = iter(step.split([tensor[0].numel() for tensor in position.tensors()], 1))
    return position.map(lambda tensor: tensor + next(parts).view(tensor.shape))


def _chosen(mask: Tensor, yes: Parameters, no: Parameters) -> Parameters:
    pairs = zip(yes.named.items(), no.tensors(), strict=True)
    return Parameters(
        **{n: torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b) for (n, a), b in pairs}
    )


def _rounding(objective: Tensor) -> Tensor:
    return 1e-14 * objective.abs()
