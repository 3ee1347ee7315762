"""Figure: networks of which only W and the features are decayed, against the closed form."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, over_seeds
from collapse.studies import Results
from collapse.studies.regression.analysis import (
    gram_distance,
    on_data,
    products,
    theory_error,
)
from collapse.studies.regression.panels import (
    decay_colours,
    decay_handles,
    diverged,
    draw_against_epoch,
    from_zero,
    heading,
    label_rows,
    line,
    logarithmic,
    points,
    theory_lines,
    title,
)

_CURVES = {"mse": "MSE, training", "NRC1": "NRC1", "NRC2": "NRC2", "NRC3_c": r"NRC3 ($\gamma=c$)"}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_data = on_data(experiments, "_features")
    colours = decay_colours(by_data.values())
    figure, axes = plt.subplots(
        len(_CURVES) + 2, len(by_data), figsize=(TWO_COLUMNS, 7.6), squeeze=False
    )
    figure_rows = []
    for column, (name, experiment) in zip(axes.T, by_data.items(), strict=True):
        title(column[0], experiment)
        rows = draw_against_epoch(column[:-2], experiment, _CURVES, colours)
        rows.append(theory_lines(column[0], experiment, colours))
        rows += _draw_ends(column[-2:], experiment, colours)
        figure_rows += [table.assign(data=name) for table in rows]
        diverged(column[0], experiment)
    labels = [r"$\|E\|^2/M$ at the end", r"distance of $WW^\mathrm{T}$" + "\nat the end"]
    label_rows(axes, [*_CURVES.values(), *labels])
    handles = decay_handles(colours, r"\lambda_W=\lambda_H")
    handles.append(line(r"theory, $\Sigma_j\min(c,\lambda_j)$", **THEORY))
    heading(figure, by_data.values(), handles)
    return figure, pd.concat(figure_rows, ignore_index=True)


def _draw_ends(column: np.ndarray, experiment: Results, colours: Mapping) -> list:
    """Draw the error and the distance of W W^T to its closed form against c."""
    measured = products(experiment, experiment.last("mse_sum"))
    error = over_seeds(measured, ["weight_decay", "c"])
    distance = over_seeds(products(experiment, gram_distance(experiment)), ["weight_decay", "c"])
    for panel, rows in zip(column, (error, distance), strict=True):
        for decay, group in rows.groupby("weight_decay"):
            points(panel, group, "c", color=colours[decay])
    theory = theory_error(experiment, error["c"])
    column[0].plot(theory["c"], theory["median"], **THEORY)
    for panel, rows in zip(column, (error, distance), strict=True):
        from_zero(panel, error["c"])
        panel.tick_params(labelbottom=panel is column[-1])
        if len(rows):
            logarithmic(panel, [rows], None)
    column[-1].set_xlabel(r"$c=\lambda_W\lambda_H$")
    return [
        error.assign(metric="mse_sum", series="measured"),
        theory.assign(metric="mse_sum", series="theory"),
        distance.assign(metric="relative distance of W W^T", series="measured"),
    ]
