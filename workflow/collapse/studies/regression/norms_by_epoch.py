"""Figure: norms of the features and of W's rows against the epoch, by feature decay."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, number, ordered_colours, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.analysis import matrix
from collapse.studies.regression.analysis import covariance, runs, theory_along
from collapse.studies.regression.panels import (
    NOTHING,
    decay_handles,
    diverged,
    epochs,
    heading,
    label_rows,
    line,
    logarithmic,
    say,
    title,
)

_NAMES = ("reacher_norms", "swimmer_norms")
_FEATURES = "h"


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_name = {name: experiments[name] for name in _NAMES}
    outputs = max(len(covariance(experiment)) for experiment in by_name.values())
    decays = sorted(
        {decay for each in by_name.values() for decay in each.metrics["feature_decay"].unique()}
    )
    colours = ordered_colours(decays)
    shown = [_FEATURES, *range(1, outputs + 1)]
    figure, axes = plt.subplots(
        len(shown), len(by_name), figsize=(TWO_COLUMNS, 0.9 + 1.5 * len(shown)), squeeze=False
    )
    figure_rows = [pd.DataFrame(columns=["norm", "feature_decay", "median"])]
    for column, (name, experiment) in zip(axes.T, by_name.items(), strict=True):
        weight = experiment.metrics["weight_decay"].iloc[0]
        title(column[0], experiment, rf"$\lambda_W={number(weight)}$")
        if len(covariance(experiment)):
            rows = _draw_column(column, experiment, shown, colours)
            figure_rows += [table.assign(data=name) for table in rows]
        else:
            say(column[0], NOTHING)
        diverged(column[-1], experiment)
    names = [r"mean $\|h\|$" if norm == _FEATURES else rf"$\|w_{norm}\|$" for norm in shown]
    label_rows(axes, names)
    handles = decay_handles(colours, r"\lambda_H")
    theory = line(r"theory, of $\|w_j\|$", **THEORY)
    heading(figure, by_name.values(), [*handles, theory])
    return figure, pd.concat(figure_rows, ignore_index=True)


def _draw_column(
    column: np.ndarray, experiment: Results, shown: list, colours: Mapping
) -> list[pd.DataFrame]:
    """Draw all norms of one data set; return what is drawn."""
    measured = over_seeds(_measured(experiment), ["norm", "feature_decay", "step"])
    theory = _theory(experiment)
    for panel, norm in zip(column, shown, strict=True):
        rows = measured[measured["norm"] == norm]
        for decay, group in rows.groupby("feature_decay"):
            seed_band(panel, group, "step", color=colours[decay])
        for _, line_rows in theory[theory["norm"] == norm].iterrows():
            style = {"color": colours[line_rows["feature_decay"]], "linewidth": 0.8}
            panel.axhline(line_rows["median"], linestyle=THEORY["linestyle"], **style)
        if rows.empty:
            say(panel, "no such target")
        else:
            logarithmic(panel, [rows], None)
    epochs(column, experiment)
    return [measured.assign(series="measured"), theory.assign(series="theory")]


def _measured(experiment: Results) -> pd.DataFrame:
    """Return of every run and step the norms of the rows of W and the mean one of the features."""
    rows = [
        {**run, "norm": index, "value": np.sqrt(square)}
        for run, gram_rows in runs(experiment, "gram", every_step=True)
        for index, square in enumerate(np.diag(matrix(gram_rows, "gram")), start=1)
    ]
    features = experiment.completed(experiment.values("feature_norm_mean"))
    features = features.assign(norm=_FEATURES)
    columns = [*experiment.keys, "step", "norm", "value"]
    return pd.concat([pd.DataFrame(rows, columns=columns), features[columns]], ignore_index=True)


def _theory(experiment: Results) -> pd.DataFrame:
    """Return the closed form's norms of the rows of W that are not 0, by feature decay."""
    weight = experiment.metrics["weight_decay"].iloc[0]
    decays = [decay for decay in experiment.metrics["feature_decay"].unique() if decay * weight > 0]
    predicted = theory_along(covariance(experiment), [weight] * len(decays), decays)
    rows = [
        {"norm": index, "feature_decay": decay, "median": np.sqrt(square)}
        for decay, prediction in zip(decays, predicted, strict=True)
        for index, square in enumerate(np.diag(prediction["gram"]), start=1)
        if square > 0
    ]
    return pd.DataFrame(rows, columns=["norm", "feature_decay", "median"])
