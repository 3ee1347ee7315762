"""Figure: error and R2 on training and held-out samples against the epoch, by weight decay."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.networks import data_name
from collapse.studies.regression.analysis import chosen, curves, on_data
from collapse.studies.regression.panels import (
    NOTHING,
    WEIGHT_DECAY,
    decay_colours,
    diverged,
    draw_by_decay,
    epochs,
    heading,
    key,
    label_rows,
    logarithmic,
    r2_axis,
    say,
)
from collapse.studies.regression.wording import at_last, extremes, medians, on_each
from collapse.studies.sentences import UNFINISHED

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
        len(_METRICS), len(by_data), figsize=(TWO_COLUMNS, 5.4), squeeze=False, sharey="row"
    )
    figure_rows = []
    for column, experiment in zip(axes.T, by_data.values(), strict=True):
        key(column[0], experiment, colours, WEIGHT_DECAY)
        arm = chosen(experiment, ending=_ENDING)
        rows = _draw_column(column, arm, colours)
        figure_rows += [table.assign(data=data_name(experiment.config)) for table in rows]
        diverged(column[-1], experiment)
    for row in axes[:2]:
        logarithmic(row)
    for row in axes[2:]:
        r2_axis(row)
    label_rows(axes, _METRICS.values())
    heading(figure, by_data.values())
    # Without any run there would be nothing to join.
    return figure, pd.concat([pd.DataFrame(), *figure_rows], ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    ends = at_last(rows)
    return " ".join(
        f"R2 on {samples} samples ends under the smallest and the largest weight decay at "
        f"{on_each(ends[ends['metric'] == metric], _told)}."
        for metric, samples in (("r2", "training"), ("test_r2", "held-out"))
        if (ends["metric"] == metric).any()
    )


def _told(fits: pd.DataFrame) -> str:
    fits = extremes(fits)
    return f"{medians(fits)} (decay {medians(fits, 'weight_decay')})"


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
        figure_rows.append(rows.assign(metric=metric))
    epochs(column, arm)
    return figure_rows
