"""The problem's own random start."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters
from collapse.upstream import Upstream


def begin(problem: Problem, runs: Sequence[Mapping[str, Any]], _: Upstream) -> Parameters:
    """Return what the problem draws from each run's seed and ``problem.init_scale``.

    Raises
    ------
    InputError
        If the problem's section has no such key.
    """
    # Only problems with a random start of one scale have the key.
    if "init_scale" not in runs[0]["config"]["problem"]:
        raise InputError("problem: has no init_scale, which a random start needs")
    scales = [run["config"]["problem"]["init_scale"] for run in runs]
    return problem.initial([run["seed"] for run in runs], torch.tensor(scales, dtype=torch.float64))
