"""Residuals of a regression, sample by sample."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from collapse.metrics.targets import residual_points
from collapse.probes import Reading, State


def rows(_: State, __: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield nothing: residuals are points."""
    return iter(())


def points(state: State, _: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return targets and residuals of evenly spaced samples, of the first and the last state."""
    # A row for each sample: too many for every step.
    if not (state.first or state.last):
        return None
    weight = state.weight
    columns = residual_points(state.features, state.targets, weight, state.bias)
    return pd.DataFrame({"layer": "all", **columns})
