"""Moving picture: samples of three classes gather at their means, beside the axes of DNC."""

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.studies import Results
from collapse.studies.moving import Scene
from collapse.studies.moving_classes import scene as by_class


def scene(states: Sequence[Mapping[str, np.ndarray]], run: Results) -> Scene:
    """Return what moves: the inputs of the last layer but one, before their ReLU."""
    problem = run.config["problem"]
    classes = problem["classes"]
    labels = np.repeat(np.arange(classes), problem["samples_per_class"])
    features = [{"H": _inputs(state, problem["depth"] - 1)} for state in states]
    return by_class(features, labels, np.ones(classes), "DNC: orthogonal axes")


def _inputs(state: Mapping[str, np.ndarray], layer: int) -> np.ndarray:
    """Return H_l = W_(l-1) relu(... W_1 H_1), samples as columns, over their root mean square norm.

    They start many times longer than they end: at one scale little would be seen of the end.
    """
    values = state["H"]
    for number in range(1, layer):
        entering = values if number == 1 else np.maximum(values, 0)
        values = state[f"W{number}"] @ entering
    return values / np.sqrt((values**2).sum(0).mean())
