"""A collapsed solution in closed form, with noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters
from collapse.upstream import Upstream


def begin(problem: Problem, runs: Sequence[Mapping[str, Any]], _: Upstream) -> Parameters:
    """Return the problem's collapsed solution plus noise of std ``start.noise`` by each run's seed.

    The first ``start.graph_classes`` classes, or ``all``, are edges of a graph.

    Raises
    ------
    InputError
        If the decays leave no such solution.
    """
    # No key of a start varies inside a job.
    config = runs[0]["config"]
    edges = config["start"]["graph_classes"]
    collapsed = problem.collapsed(config["problem"]["classes"] if edges == "all" else edges)
    scale = torch.tensor(config["start"]["noise"], dtype=torch.float64)
    generators = [torch.Generator().manual_seed(run["seed"]) for run in runs]
    noise = {
        name: torch.stack(
            [torch.randn(shape, generator=each, dtype=torch.float64) for each in generators]
        )
        for name, shape in problem.shapes.items()
    }
    return Parameters(
        **{
            name: tensor + scale * noise[name].to(tensor)
            for name, tensor in collapsed.named.items()
        }
    )
