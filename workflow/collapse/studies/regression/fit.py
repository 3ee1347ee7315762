"""Figure: error and R2 on training and held-out samples against the epoch, by weight decay."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.regression.analysis import chosen, curves, on_data
from collapse.studies.regression.panels import (
    NOTHING,
    decay_colours,
    decay_handles,
    diverged,
    draw_by_decay,
    epochs,
    heading,
    label_rows,
    logarithmic,
    r2_axis,
    say,
    title,
)

_METRICS = {
    "mse": "MSE\ntraining",
    "test_mse": "MSE\nheld out",
    "r2": "$R^2$\ntraining",
    "test_r2": "$R^2$\nheld out",
}
_ENDING = "relu"


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_data = on_data(experiments)
    colours = decay_colours(by_data.values())
    figure, axes = plt.subplots(
        len(_METRICS), len(by_data), figsize=(TWO_COLUMNS, 5.4), squeeze=False
    )
    figure_rows = []
    for column, (name, experiment) in zip(axes.T, by_data.items(), strict=True):
        title(column[0], experiment)
        arm = chosen(experiment, ending=_ENDING)
        figure_rows += [table.assign(data=name) for table in _draw_column(column, arm, colours)]
        diverged(column[-1], experiment)
    label_rows(axes, _METRICS.values())
    heading(figure, by_data.values(), decay_handles(colours, r"\lambda_{\mathrm{WD}}"))
    # Without any run there would be nothing to join.
    return figure, pd.concat([pd.DataFrame(), *figure_rows], ignore_index=True)


def _draw_column(column: np.ndarray, arm: Results, colours: Mapping) -> list[pd.DataFrame]:
    """Draw all metrics of one data set; return what is drawn."""
    if arm.metrics.empty:
        for panel in column:
            say(panel, "no run with a ReLU before $W$\nat this scale")
        return []
    figure_rows = []
    for panel, metric in zip(column, _METRICS, strict=True):
        rows = curves(arm, metric)
        if rows.empty:
            say(panel, NOTHING if arm.values("r2").empty else "no held-out samples")
            continue
        draw_by_decay(panel, rows, colours)
        if metric.endswith("mse"):
            logarithmic(panel, [rows], None)
        else:
            r2_axis(panel, rows["low"].min())
        figure_rows.append(rows.assign(metric=metric))
    epochs(column, arm)
    return figure_rows
