"""Features of a regression and the rows of its W as points in space."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from collapse.metrics.targets import space_points
from collapse.probes import State


def rows(_: State, __: Mapping[str, Any]) -> tuple[()]:
    """Return no rows."""
    return ()


def points(state: State, _: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return places of evenly spaced samples and of W, of the first and the last state."""
    if not (state.first or state.last):
        return None
    weight = state.weight
    return pd.DataFrame({"layer": "H1", **space_points(state.features, weight)})
