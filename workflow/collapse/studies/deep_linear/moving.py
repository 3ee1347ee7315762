"""Moving picture: samples of three classes gather at their means, and these at their frame."""

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.studies import Results
from collapse.studies.deep_linear.analysis import FRAME
from collapse.studies.moving import Scene
from collapse.studies.moving_classes import scene as by_class


def scene(states: Sequence[Mapping[str, np.ndarray]], run: Results) -> Scene:
    """Return what moves."""
    problem = run.config["problem"]
    labels = np.repeat(np.arange(len(problem["class_sizes"])), problem["class_sizes"])
    names = [f"feature_norms_squared[{k}]" for k in range(labels.max() + 1)]
    squares = run.predictions.set_index("metric")["value"].reindex(names).to_numpy()
    lengths = None if np.isnan(squares).any() else np.sqrt(squares)
    return by_class(states, labels, lengths, FRAME[problem["bias"]], centred=problem["bias"])
