"""The end of another experiment's runs as start."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters
from collapse.upstream import Upstream


def begin(problem: Problem, runs: Sequence[Mapping[str, Any]], upstream: Upstream) -> Parameters:
    """Return the last states of the runs that each run names at ``start.of``.

    Raises
    ------
    InputError
        If their variables have other names or shapes than the problem's.
    """
    # Any start of the problem has its variables' names, shapes and device.
    template = problem.initial([0] * len(runs), 1.0)
    states = [upstream.last_state(run["id"], "start.of") for run in runs]
    for run, state in zip(runs, states, strict=True):
        shapes = {name: array.shape for name, array in state.items()}
        needed = {name: tuple(tensor.shape[1:]) for name, tensor in template.named.items()}
        if shapes != needed:
            raise InputError(
                f"{run['id']}: start.of: variables {shapes} found, needed are {needed}"
            )
    return Parameters(
        **{
            name: torch.stack([torch.from_numpy(state[name]) for state in states]).to(tensor)
            for name, tensor in template.named.items()
        }
    )
