"""Figure: norms of W's rows and of the features against the feature decay."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from collapse.plotting import THEORY, TWO_COLUMNS, category_colours, over_seeds, power, seed_points
from collapse.studies import Results
from collapse.studies.analysis import matrix
from collapse.studies.networks import data_name
from collapse.studies.regression.analysis import covariance, runs, theory_along
from collapse.studies.regression.panels import (
    NOTHING,
    diverged,
    heading,
    label_rows,
    line,
    say,
    title,
)
from collapse.studies.regression.wording import medians, off, on_each
from collapse.studies.sentences import UNFINISHED

PAPER_SWEEP = (1e-5, 1e-1)
"""Feature decays of the paper's sweep (its Fig. 10)."""
_FEATURES = "h"
_SWEEP_COLOUR = "0.93"


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_name = {name: experiments[name] for name in ("reacher_norms", "swimmer_norms")}
    outputs = max(len(covariance(experiment)) for experiment in by_name.values())
    colours = category_colours([*range(1, outputs + 1), _FEATURES])
    figure, axes = plt.subplots(
        2, len(by_name), figsize=(TWO_COLUMNS, 4.0), squeeze=False, sharex="col"
    )
    figure_rows = [pd.DataFrame(columns=["norm", "feature_decay", "median"])]
    for column, experiment in zip(axes.T, by_name.values(), strict=True):
        weight = experiment.metrics["weight_decay"].iloc[0]
        title(column[0], experiment, rf"$\lambda_W={power(weight)}$")
        # All runs diverged at once: without the targets' covariance there is no theory either.
        if not len(covariance(experiment)) or not weight:
            say(column[0], "no closed form\nwithout weight decay" if not weight else NOTHING)
            diverged(column[-1], experiment)
            continue
        measured = over_seeds(_measured(experiment), ["norm", "feature_decay"])
        theory = _theory(experiment)
        for panel, of_features in zip(column, (False, True), strict=True):
            marks, lines = (
                rows[(rows["norm"] == _FEATURES) == of_features] for rows in (measured, theory)
            )
            _draw_panel(panel, marks, lines, colours)
        _mark(column, experiment)
        column[-1].set_xlabel(r"feature decay $\lambda_H$")
        diverged(column[-1], experiment)
        figure_rows += [
            measured.assign(data=data_name(experiment.config), series="measured"),
            theory.assign(data=data_name(experiment.config), series="theory"),
        ]
    label_rows(axes, [r"norm of $w_j$", r"root mean square $\|h\|$"])
    handles = [
        line(r"$\|h\|$" if norm == _FEATURES else rf"$\|w_{norm}\|$", color=colour, marker="o",
             linestyle="")
        for norm, colour in colours.items()
    ]  # fmt: skip
    sweep = Patch(color=_SWEEP_COLOUR, label="the paper's sweep")
    handles += [line("closed form", **THEORY), sweep]
    heading(figure, by_name.values(), handles)
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    measured = rows[rows["series"] == "measured"] if len(rows) else rows
    if measured.empty:
        return UNFINISHED
    of_rows = rows[rows["norm"] != _FEATURES]
    return (
        "The rows of W are longest at feature decays of "
        f"{on_each(of_rows, _told)}. Where theory's norms are not 0, the medians of W and h "
        f"differ from them by {on_each(rows, off)}."
    )


def _told(rows: pd.DataFrame) -> str:
    """Say at which decays each row is longest, of those that were run and of theory's curve."""
    peaks = rows.loc[rows.groupby(["series", "norm"])["median"].idxmax()]
    measured, theory = (peaks[peaks["series"] == series] for series in ("measured", "theory"))
    return f"{medians(measured, 'feature_decay')} (theory: {medians(theory, 'feature_decay')})"


def _measured(experiment: Results) -> pd.DataFrame:
    """Return of every run at its end the norms of the rows of W and of the features."""
    rows = [
        {**run, "norm": index, "value": np.sqrt(square)}
        for run, gram_rows in runs(experiment, "gram")
        for index, square in enumerate(np.diag(matrix(gram_rows, "gram")), start=1)
    ]
    features = experiment.last("feature_norm_squared_mean")
    features = features.assign(norm=_FEATURES, value=np.sqrt(features["value"]))
    columns = [*experiment.keys, "norm", "value"]
    return pd.concat([pd.DataFrame(rows, columns=columns), features[columns]], ignore_index=True)


def _theory(experiment: Results) -> pd.DataFrame:
    """Return the same by the closed form, over the range of the sweep and a little more."""
    decays = experiment.metrics["feature_decay"]
    # With the decays themselves, so that each point has its theory in the table.
    grid = np.union1d(np.geomspace(decays.min() / 2, decays.max() * 2, 800), decays)
    weight = experiment.metrics["weight_decay"].iloc[0]
    predicted = theory_along(covariance(experiment), np.full(grid.shape, weight), grid)
    squares = {
        index: [prediction["gram"][index - 1][index - 1] for prediction in predicted]
        for index in range(1, len(predicted[0]["gram"]) + 1)
    }
    squares[_FEATURES] = [prediction["feature_norm_squared_mean"] for prediction in predicted]
    return pd.concat(
        pd.DataFrame({"norm": norm, "feature_decay": grid, "median": np.sqrt(values)})
        for norm, values in squares.items()
    )


def _draw_panel(axes: Axes, measured: pd.DataFrame, theory: pd.DataFrame, colours: Mapping) -> None:
    # The theory falls to zero where c extinguishes a direction: the axis ends above.
    low, high = theory["median"].max() / 300, theory["median"].max() * 2
    for _, curve in theory.groupby("norm"):
        axes.plot(curve["feature_decay"], curve["median"].clip(lower=low / 10), **THEORY)
    # Points often lie on each other: the later, smaller ones leave the earlier ones visible.
    for size, (norm, group) in zip((5.5, 3.5, 2.0), measured.groupby("norm"), strict=False):
        inside = group["median"] >= low
        seed_points(axes, group[inside], "feature_decay", color=colours[norm], markersize=size)
        decays = group.loc[~inside, "feature_decay"]
        axes.plot(decays, [1.15 * low] * len(decays), "v", color=colours[norm], markersize=size)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_xlim(theory["feature_decay"].min(), theory["feature_decay"].max())


def _mark(column: np.ndarray, experiment: Results) -> None:
    """Shade the paper's sweep and mark where sqrt(c) is half of each deviation of the targets."""
    weight = experiment.metrics["weight_decay"].iloc[0]
    eigenvalues = np.linalg.eigvalsh(covariance(experiment))[::-1]
    # The share of a direction peaks at a quarter of the c = lambda_j that extinguishes it.
    for panel in column:
        panel.axvspan(*PAPER_SWEEP, color=_SWEEP_COLOUR, linewidth=0, zorder=0)
        for value in eigenvalues:
            panel.axvline(value / 4 / weight, color="0.7", linewidth=0.7, zorder=0)
    _, end = column[0].get_xlim()
    for index, value in enumerate(eigenvalues, start=1):
        if value / 4 / weight > end:
            continue
        column[0].annotate(
            rf"$\sqrt{{c}}=\sigma_{index}/2$", (value / 4 / weight, 0.03),
            xycoords=column[0].get_xaxis_transform(), rotation=90, ha="right", va="bottom",
            fontsize=6, color="0.4",
        )  # fmt: skip
