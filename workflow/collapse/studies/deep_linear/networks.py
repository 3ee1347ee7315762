"""Collapse of a real network against the epoch: what the network figures share."""

import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import FLOAT32_FLOOR
from collapse.studies import Results
from collapse.studies.curves import curves
from collapse.studies.deep_linear.heads import draw_heads
from collapse.studies.networks import describe


def draw_network(experiment: Results) -> tuple[Figure, pd.DataFrame]:
    """Return NC1 to NC3 and the training error against the epoch, a row per kind of head."""

    def curve(bias: bool, metric: str) -> pd.DataFrame:
        return curves(experiment, metric, "all" if metric == "error" else "H1", bias=bias)

    error = ("error", "training error", None)
    text = describe(experiment.config)
    return draw_heads(experiment, FLOAT32_FLOOR, error, curve, "epoch", text)
