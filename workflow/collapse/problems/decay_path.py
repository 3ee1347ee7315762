"""The path of decays that a sweep follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapse.theory.decay import scaled_decay


@dataclass(frozen=True, eq=False)
class DecayPath:
    """The S stages of a sweep.

    Attributes
    ----------
    weight_decay, feature_decay
        S x M, and S.
    scaled_decay
        S, the scaled decays b/n of the largest class.
    """

    weight_decay: NDArray[np.float64]
    feature_decay: NDArray[np.float64]
    scaled_decay: NDArray[np.float64]


def decay_path(config: Mapping[str, Any]) -> DecayPath:
    """Return the path of a run's sweep, from its config's problem, decays and ``sweep``.

    All M + 1 decays are scaled by one factor f; b/n is proportional to f^((M+1)/M).
    """
    depth, sizes = config["problem"]["depth"], config["problem"]["class_sizes"]
    ratio = np.broadcast_to(config["weight_decay"], depth).astype(float)
    # Of the largest class, which a rising decay extinguishes last.
    start = scaled_decay(max(sizes), sum(sizes), ratio, config["feature_decay"])
    target = np.sort(config["sweep"]["scaled_decay"])
    target = target if config["sweep"]["direction"] == "up" else target[::-1]
    # The inverse of b/n ~ f^((M+1)/M).
    factor = (target / start) ** (depth / (depth + 1))
    return DecayPath(factor[:, None] * ratio, factor * config["feature_decay"], target)
