"""Figure: collapse of a convolutional network on real images against the epoch."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from collapse.studies import Results
from collapse.studies.deep_linear.networks import draw_network, network_findings


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    return draw_network(experiments["network_conv"])


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    return network_findings(rows)
