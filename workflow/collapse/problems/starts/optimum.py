"""A known minimiser, turned at random, with noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters
from collapse.upstream import Upstream

# The noise must not repeat the numbers that turned the minimiser by the same seed.
NOISE_STREAM = 0x9E3779B9


def begin(problem: Problem, runs: Sequence[Mapping[str, Any]], _: Upstream) -> Parameters:
    """Return the problem's optimum for each run's seed plus noise of std ``start.noise``.

    Raises
    ------
    InputError
        If no optimum is known in closed form.
    """
    seeds = [run["seed"] for run in runs]
    scales = [run["config"]["start"]["noise"] for run in runs]
    noise = problem.initial(
        [seed ^ NOISE_STREAM for seed in seeds], torch.tensor(scales, dtype=torch.float64)
    )
    parts = iter(noise.tensors())
    return problem.optimum(seeds).map(lambda tensor: tensor + next(parts))
