"""Moving picture: samples of three classes flow to their means, and these to a frame."""

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.studies import Results
from collapse.studies.moving import Scene
from collapse.studies.moving_classes import scene as by_class
from collapse.theory.perturbation import optimal_length


def scene(states: Sequence[Mapping[str, np.ndarray]], run: Results) -> Scene:
    """Return what moves."""
    problem = run.config["problem"]
    classes = problem["classes"]
    labels = np.repeat(np.arange(classes), problem["samples_per_class"])
    length = optimal_length(run.config["weight_decay"], run.config["feature_decay"])
    # In fewer dimensions than classes there is no such frame.
    lengths = None if length is None or problem["dim"] < classes else np.full(classes, length)
    return by_class(states, labels, lengths, "orthogonal frame of the minimiser")
