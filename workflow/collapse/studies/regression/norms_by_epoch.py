"""Figure: norms of the features and of W's rows against the epoch, by feature decay."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, ordered_colours, over_seeds, power, seed_band
from collapse.studies import Results
from collapse.studies.analysis import matrix
from collapse.studies.networks import data_name
from collapse.studies.regression.analysis import covariance, runs, theory_along
from collapse.studies.regression.panels import (
    NOTHING,
    diverged,
    epochs,
    heading,
    label_rows,
    line,
    logarithmic,
    say,
    title,
)
from collapse.studies.regression.wording import at_last, off, on_each
from collapse.studies.sentences import UNFINISHED

_NAMES = ("reacher_norms", "swimmer_norms")
_FEATURES = "h"
_BEYOND = 2.5
"""How far panels go on after the last epoch."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_name = {name: experiments[name] for name in _NAMES}
    outputs = max(len(covariance(experiment)) for experiment in by_name.values())
    decays = sorted(
        {decay for each in by_name.values() for decay in each.metrics["feature_decay"].unique()}
    )
    colours = _colours(decays)
    shown = [_FEATURES, *range(1, outputs + 1)]
    figure, axes = plt.subplots(
        len(shown), len(by_name), figsize=(TWO_COLUMNS, 0.9 + 1.5 * len(shown)), squeeze=False,
        sharey="row",
    )  # fmt: skip
    figure_rows = [pd.DataFrame(columns=["norm", "feature_decay", "median"])]
    for column, experiment in zip(axes.T, by_name.values(), strict=True):
        weight = experiment.metrics["weight_decay"].iloc[0]
        title(column[0], experiment, rf"$\lambda_W={power(weight)}$")
        if len(covariance(experiment)):
            rows = _draw_column(column, experiment, shown, colours)
            figure_rows += [table.assign(data=data_name(experiment.config)) for table in rows]
        else:
            say(column[0], NOTHING)
        diverged(column[-1], experiment)
    rows = (rf"$\|w_{index}\|$" for index in range(1, outputs + 1))
    label_rows(axes, [r"root mean square $\|h\|$", *rows])
    for row in axes:
        logarithmic(row)
    bar = figure.colorbar(colours, ax=axes, aspect=50, pad=0.01)
    bar.set_label(r"feature decay $\lambda_H$")
    heading(figure, by_name.values(), [line("closed form", **THEORY)])
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    measured = rows[rows["series"] == "measured"] if len(rows) else rows
    if measured.empty:
        return UNFINISHED
    ends = pd.concat([at_last(measured), rows[rows["series"] == "theory"]])
    return (
        "At the last epoch, where theory's norms are not 0, the medians of W's rows and of h "
        f"differ from them by {on_each(ends, off)}."
    )


def _colours(decays: list[float]) -> ScalarMappable:
    """Return the scale of the decays' colours: too many for a legend."""
    positive = [decay for decay in decays if decay > 0] or [1.0]
    palette = ListedColormap(list(ordered_colours(range(256)).values()))
    return ScalarMappable(LogNorm(positive[0], positive[-1], clip=True), palette)


def _draw_column(
    column: np.ndarray, experiment: Results, shown: list, colours: ScalarMappable
) -> list[pd.DataFrame]:
    """Draw all norms of one data set; return what is drawn."""
    measured = over_seeds(_measured(experiment), ["norm", "feature_decay", "step"])
    theory = _theory(experiment)
    for panel, norm in zip(column, shown, strict=True):
        rows = measured[measured["norm"] == norm]
        for decay, group in rows.groupby("feature_decay"):
            seed_band(panel, group, "step", color=colours.to_rgba(decay))
        if rows.empty:
            say(panel, "no such target")
    epochs(column, experiment)
    # Beyond the last epoch, where each curve meets its theory.
    end = measured["step"].max()
    for panel, norm in zip(column, shown, strict=True):
        panel.set_xlim(right=_BEYOND * end)
        closed = theory.loc[theory["norm"] == norm, ["feature_decay", "median"]]
        for decay, value in closed.itertuples(index=False):
            style = THEORY | {"color": colours.to_rgba(decay)}
            panel.plot([1.1 * end, _BEYOND * end], [value] * 2, **style)
    return [measured.assign(series="measured"), theory.assign(series="theory")]


def _measured(experiment: Results) -> pd.DataFrame:
    """Return of every run and step the norms of the rows of W and of the features."""
    rows = [
        {**run, "norm": index, "value": np.sqrt(square)}
        for run, gram_rows in runs(experiment, "gram", every_step=True)
        for index, square in enumerate(np.diag(matrix(gram_rows, "gram")), start=1)
    ]
    features = experiment.completed(experiment.values("feature_norm_squared_mean"))
    features = features.assign(norm=_FEATURES, value=np.sqrt(features["value"]))
    columns = [*experiment.keys, "step", "norm", "value"]
    return pd.concat([pd.DataFrame(rows, columns=columns), features[columns]], ignore_index=True)


def _theory(experiment: Results) -> pd.DataFrame:
    """Return the closed form's norms of W's rows and of h that are not 0, by feature decay."""
    weight = experiment.metrics["weight_decay"].iloc[0]
    decays = [decay for decay in experiment.metrics["feature_decay"].unique() if decay * weight > 0]
    predicted = theory_along(covariance(experiment), [weight] * len(decays), decays)
    rows = [
        {"norm": norm, "feature_decay": decay, "median": np.sqrt(square)}
        for decay, prediction in zip(decays, predicted, strict=True)
        for norm, square in [
            (_FEATURES, prediction["feature_norm_squared_mean"]),
            *enumerate(np.diag(prediction["gram"]), start=1),
        ]
        if square > 0
    ]
    return pd.DataFrame(rows, columns=["norm", "feature_decay", "median"])
