"""Moving picture: samples of three classes of unequal sizes gather at axes of unequal lengths."""

from collections.abc import Mapping, Sequence

import numpy as np

from collapse.studies import Results
from collapse.studies.moving import Scene
from collapse.studies.moving_classes import of_class_sizes


def scene(states: Sequence[Mapping[str, np.ndarray]], run: Results) -> Scene:
    """Return what moves."""
    return of_class_sizes(states, run, "general orthogonal frame")
