"""Features of a trained network: the first samples of each class, grouped by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters
from collapse.upstream import Upstream, features_by_class


def begin(problem: Problem, runs: Sequence[Mapping[str, Any]], upstream: Upstream) -> Parameters:
    """Return, of each run, the features of the layer that its start names.

    Raises
    ------
    InputError
        If the network has no such layer, or its features are of another dimension, of other classes
        or too few.
    """
    (dim, _), starts = problem.shapes["H"], []
    for run in runs:
        shape, layer = run["config"]["problem"], run["config"]["start"]["from_layer"]
        tensors = upstream.features(run["id"], "start.of")
        try:
            features = features_by_class(
                tensors, layer, shape["classes"], shape["samples_per_class"]
            )
            if features.shape[1] != dim:
                raise InputError(f"{layer} has {features.shape[1]} features, problem.dim is {dim}")
        except InputError as error:
            raise InputError(f"{run['id']}: start: {error}") from None
        starts.append(features.T)
    return Parameters(H=torch.stack(starts).to(problem.device))
