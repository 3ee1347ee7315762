"""Recorded states of a batch of problems, and how a solver fills them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters


@dataclass(frozen=True)
class Trajectory:
    """Recorded states of a batch of problems.

    Attributes
    ----------
    steps : tuple of int
        The S recorded steps; 0 is the start.
    parameters : Parameters
        Tensors (B, S, ...). Free features are in the solver's columns, (B, S, d_1, C).
    objective, gradient_norm : Tensor
        Objective and Euclidean norm of its full gradient, (B, S).
    diverged_step : Tensor
        First step at which a problem's objective is not finite, (B,) int64; -1 for none. From
        that step on its records are NaN throughout: there is no state to show.
    basis : Tensor or None
        (B, C, N) with H_1 = features @ basis; None when the columns are the samples.
    times : Tensor or None
        (S,), where steps are records of a flow: the time of each.
    """

    steps: tuple[int, ...]
    parameters: Parameters
    objective: Tensor
    gradient_norm: Tensor
    diverged_step: Tensor
    basis: Tensor | None = None
    times: Tensor | None = None

    @property
    def valid(self) -> Tensor:
        """Which records lie before a divergence, (B, S) bool."""
        steps = torch.tensor(self.steps, device=self.diverged_step.device)
        diverged = self.diverged_step.unsqueeze(1)
        return (diverged < 0) | (steps < diverged)

    def state(self, record: int) -> Parameters:
        """Return the parameters of one record with a feature column per sample, (B, ...)."""
        return with_samples(self.parameters.map(lambda tensor: tensor[:, record]), self.basis)

    def timed(self, times: Tensor) -> Trajectory:
        """Return this trajectory with the times of its records, (S,)."""
        return replace(self, times=times)

    def then(self, other: Trajectory) -> Trajectory:
        """Return this trajectory and one that started from its end, as one; steps add up.

        The start of the other, if it is recorded, is the end of this and stands there once. Free
        features have a column per sample, as either may have columns of its own.
        """
        # The start of the other is the end of this: recorded twice, kept once.
        skipped = int(other.steps[0] == 0)
        pairs = zip(_unfolded(self).named.items(), _unfolded(other).tensors(), strict=True)
        # The first divergence counts; the other counts its steps from its own start.
        later = other.diverged_step + self.steps[-1]
        return Trajectory(
            steps=(*self.steps, *(self.steps[-1] + step for step in other.steps[skipped:])),
            parameters=Parameters(
                **{name: torch.cat([a, b[:, skipped:]], 1) for (name, a), b in pairs}
            ),
            objective=torch.cat([self.objective, other.objective[:, skipped:]], 1),
            gradient_norm=torch.cat([self.gradient_norm, other.gradient_norm[:, skipped:]], 1),
            diverged_step=torch.where(
                (self.diverged_step >= 0) | (other.diverged_step < 0), self.diverged_step, later
            ),
        )


def with_samples(state: Parameters, basis: Tensor | None) -> Parameters:
    """Return a state (B, ...) with a feature column per sample instead of the solver's columns."""
    if basis is None:
        return state
    return state.replaced(H=state.features @ basis)


def _unfolded(trajectory: Trajectory) -> Parameters:
    """Return the parameters of all records with a feature column per sample, (B, S, ...)."""
    if trajectory.basis is None:
        return trajectory.parameters
    return trajectory.parameters.replaced(
        H=trajectory.parameters.features @ trajectory.basis.unsqueeze(1)
    )


def sound(objective: Tensor, begun: Tensor) -> Tensor:
    """Return which objectives are finite and no rise from `begun` that is a divergence, (B,) bool.

    None that descends comes to 1/eps times where it began, or times 1: there float64 holds nothing
    of the beginning. It may stay finite, for decay brings back a network whose units all died, long
    after what its layers pass on has left float64.
    """
    most = begun.clamp(min=1.0) / torch.finfo(begun.dtype).eps
    return objective.isfinite() & (objective <= most)


class Recorder:
    """The trajectory while it is being filled; NaN where nothing was recorded."""

    def __init__(self, problem: Problem, start: Parameters, steps: Sequence[int]):
        batch, count = problem.batch, len(steps)
        self.steps = tuple(steps)
        self.parameters = start.map(
            lambda tensor: tensor.new_full((batch, count, *tensor.shape[1:]), torch.nan)
        )
        self.objective = start.first.new_full((batch, count), torch.nan)
        self.gradient_norm = self.objective.clone()
        self.diverged = torch.full((batch,), -1, device=self.objective.device)

    def write(self, record: int, index: slice, problem: Problem, parameters: Parameters) -> None:
        """Store a state of the problems at `index`, NaN for those that have diverged."""
        values = (*parameters.tensors(), problem.objective(parameters))
        stores = (*self.parameters.tensors(), self.objective)
        diverged = self.diverged[index] >= 0
        norm = problem.gradient(parameters).norm()
        for store, value in zip((*stores, self.gradient_norm), (*values, norm), strict=True):
            # One axis for each of the value's, so that the mask broadcasts.
            masked = diverged.view(-1, *[1] * (value.ndim - 1))
            store[index, record] = value.masked_fill(masked, torch.nan)

    def adopt(self, record: int, other: Recorder, offset: int) -> None:
        """Take over the only record of `other`, whose steps start at `offset`."""
        for store, value in zip(self._tensors(), other._tensors(), strict=True):
            store[:, record] = value[:, 0]
        newly_diverged = (self.diverged < 0) & (other.diverged >= 0)
        self.diverged[newly_diverged] = other.diverged[newly_diverged] + offset

    def _tensors(self) -> tuple[Tensor, ...]:
        return (*self.parameters.tensors(), self.objective, self.gradient_norm)

    def trajectory(self, basis: Tensor | None) -> Trajectory:
        """Return what was recorded, with the basis of its feature columns."""
        return Trajectory(
            steps=self.steps,
            parameters=self.parameters,
            objective=self.objective,
            gradient_norm=self.gradient_norm,
            diverged_step=self.diverged,
            basis=basis,
        )


@contextmanager
def core_settings() -> Iterator[None]:
    """Use one thread, and treat denormal numbers as 0, on a CPU.

    How a sum is split over threads changes its last bits. Variables that decay to 0 would slow a
    CPU down 100-fold.
    """
    threads = torch.get_num_threads()
    tiny = torch.finfo(torch.float64).tiny
    # PyTorch cannot be asked for the mode: half the least normal number is 0 only in it.
    flushed = torch.tensor(tiny, dtype=torch.float64).div(2).item() == 0
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(threads)
