"""Moving picture: samples of three classes gather at their means, and these at their frame."""

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.studies import Results
from collapse.studies.deep_linear.analysis import FRAME
from collapse.studies.moving import Scene
from collapse.studies.moving_classes import of_class_sizes


def scene(states: Sequence[Mapping[str, np.ndarray]], run: Results) -> Scene:
    """Return what moves."""
    bias = run.config["problem"]["bias"]
    # With a bias the class means are an ETF once their mean is taken off.
    return of_class_sizes(states, run, FRAME[bias], centred=bias)
