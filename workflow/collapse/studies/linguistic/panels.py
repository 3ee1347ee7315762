"""Marks, colours and legends that figures of language models have in common."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from collapse.plotting import decades
from collapse.studies import Results

TEXTS = ("grammar", "bible")
"""Experiments on texts of several sizes of models."""
MARKERS = "osD^vP*X"
SYMBOLS = {
    "CDNV": "CDNV",
    "CDNV_2": "CDNV, exponent 2",
    "log_norm_variance_unweighted": "equinorm: var log norm",
    "GNC2_log_variance_unweighted": "GNC2: var log kernel",
    "duality_cosine_mean_unweighted": "NC3: mean cosine",
    "duality_cosine_variance_unweighted": "UNC3: var cosine",
    "duality_product_variance_unweighted": "unnormalised UNC3: var product",
    "NC4_held_out": "NC4, held out",
    "validation_loss": "validation loss (nats)",
}
"""Metrics as panels are titled."""
DECADES = frozenset({"CDNV_2"})
"""Metrics drawn on a logarithmic ordinate."""


def widths_of(experiments: Mapping[str, Results]) -> list[int]:
    """Return the widths of all models, ascending."""
    return _all(experiments, "width")


def depths_of(experiments: Mapping[str, Results]) -> list[int]:
    """Return the depths of all models, ascending."""
    return _all(experiments, "depth")


def _all(experiments: Mapping[str, Results], key: str) -> list[int]:
    return sorted({int(v) for each in experiments.values() for v in each.metrics[key].unique()})


def markers_of(values: Sequence[int]) -> dict[int, str]:
    """Return a marker for each value."""
    return {value: MARKERS[place % len(MARKERS)] for place, value in enumerate(values)}


def ordinate(axes: Axes, metric: str, values: pd.Series) -> None:
    """Make the ordinate logarithmic where the metric asks for it and is above 0."""
    if metric in DECADES and (values.dropna() > 0).all():
        decades(axes)
    else:
        axes.locator_params(axis="y", nbins=4)


def dots(named: Mapping[int, tuple], text: str) -> list[Line2D]:
    """Return handles of a legend, a dot of its colour for each value."""
    return [
        Line2D([], [], linestyle="", marker="o", color=colour, label=f"{text}{value}")
        for value, colour in named.items()
    ]


def shapes(named: Mapping[int, str], text: str) -> list[Line2D]:
    """Return handles of a legend, a grey marker for each value."""
    return [
        Line2D([], [], linestyle="", marker=marker, color="0.4", label=f"{text} {value}")
        for value, marker in named.items()
    ]
