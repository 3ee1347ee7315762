"""The global minimum of the deep linear model, whatever its loss."""

from __future__ import annotations

import numpy as np

from collapse.theory import cross_entropy, squared_error
from collapse.theory.hyperparameters import check_range
from collapse.theory.linear_head import read


def global_minimum(**hyperparameters: object) -> dict[str, object]:
    """Return what the closed form says of the global minimum; `deep_linear.predict` says it all."""
    head = read(hyperparameters)
    loss = squared_error if head.loss == "mse" else cross_entropy
    # Extreme decays overflow quietly; `check_range` then says which value did.
    with np.errstate(over="ignore", invalid="ignore"):
        prediction = loss.minimum(head)
    check_range(prediction)
    return prediction
