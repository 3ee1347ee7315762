"""Features of a trained network: the first samples of each class, grouped by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.parameters import Parameters
from collapse.upstream import Upstream


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
        tensors = upstream.last_state(run["id"], "start.of")
        try:
            features = grouped(tensors, layer, shape["classes"], shape["samples_per_class"])
            if features.shape[1] != dim:
                raise InputError(f"{layer} has {features.shape[1]} features, problem.dim is {dim}")
        except InputError as error:
            raise InputError(f"{run['id']}: start: {error}") from None
        starts.append(features.T)
    return Parameters(H=torch.stack(starts).to(problem.device))


def feature_layers(tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the layers whose features a network dumped: ``hidden1`` ... ``H1``."""
    hidden = sorted((n for n in tensors if n.startswith("hidden")), key=lambda n: int(n[6:]))
    return [*hidden, *(name for name in ("H1",) if name in tensors)]


def grouped(
    tensors: Mapping[str, np.ndarray], layer: str, classes: int, samples_per_class: int
) -> torch.Tensor:
    """Return the features of the first samples of each class, class by class, (K n) x d, float64.

    `tensors` are what a network dumped: features by layer, N x d, and ``labels``, N.

    Raises
    ------
    InputError
        If there is no such layer, there are other classes, or a class has fewer samples.
    """
    if layer not in feature_layers(tensors):
        allowed = ", ".join(feature_layers(tensors))
        raise InputError(f"no layer {layer} in what the network dumped, allowed are {allowed}")
    if "labels" not in tensors:
        raise InputError("a network with real targets found, needed is one with labels")
    labels = tensors["labels"]
    sizes = np.bincount(labels)
    if len(sizes) != classes:
        raise InputError(f"{len(sizes)} classes found, problem.classes is {classes}")
    if sizes.min() < samples_per_class:
        message = f"{sizes.min()} samples of a class found, problem.samples_per_class is"
        raise InputError(f"{message} {samples_per_class}")
    places = [np.flatnonzero(labels == k)[:samples_per_class] for k in range(classes)]
    return torch.from_numpy(tensors[layer][np.concatenate(places)]).double()
