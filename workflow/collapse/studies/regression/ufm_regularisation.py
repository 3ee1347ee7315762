"""Figure: networks of which only W and the features are decayed, against the closed form."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, over_seeds, seed_points
from collapse.studies import Results
from collapse.studies.networks import data_name
from collapse.studies.regression.analysis import (
    gram_distance,
    on_data,
    products,
    theory_mse,
)
from collapse.studies.regression.panels import (
    QUADRATIC_FLOOR,
    decay_colours,
    diverged,
    draw_against_epoch,
    from_zero,
    heading,
    key,
    label_rows,
    line,
    logarithmic,
    theory_lines,
)
from collapse.studies.regression.wording import at_last, named, on_each
from collapse.studies.sentences import UNFINISHED, number, span

_DECAY = r"\lambda_W=\lambda_H"
_DISTANCE = "relative distance of W W^T"
_CURVES = {"mse": "MSE, training", "NRC1": "NRC1", "NRC2": "NRC2", "NRC3_c": r"NRC3 ($\gamma=c$)"}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_data = on_data(experiments, "_features")
    colours = decay_colours(by_data.values())
    figure, axes = plt.subplots(
        len(_CURVES) + 2, len(by_data), figsize=(TWO_COLUMNS, 7.6), squeeze=False,
        sharey="row",
    )  # fmt: skip
    figure_rows = []
    for column, experiment in zip(axes.T, by_data.values(), strict=True):
        key(column[0], experiment, colours, _DECAY)
        rows = draw_against_epoch(column[:-2], experiment, _CURVES, colours)
        rows.append(theory_lines(column[0], experiment, colours))
        rows += _draw_ends(column[-2:], experiment, colours)
        figure_rows += [table.assign(data=data_name(experiment.config)) for table in rows]
        diverged(column[0], experiment)
    for row, name in zip(axes, [*_CURVES, "mse", "distance"], strict=True):
        logarithmic(row, QUADRATIC_FLOOR if name.startswith("NRC") else None)
    labels = ["MSE at the end", r"distance of $WW^\mathrm{T}$" + "\nat the end"]
    label_rows(axes, [*_CURVES.values(), *labels])
    handles = [line(r"closed form, $\Sigma_j\min(c,\lambda_j)/n$", **THEORY)]
    heading(figure, by_data.values(), handles)
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    ends = rows[rows["series"] == "at the last epoch"]
    if ends.empty:
        return UNFINISHED
    strongest = rows["weight_decay"] == rows.groupby("data")["weight_decay"].transform("max")
    curves = at_last(rows[strongest & (rows["series"] == "against the epoch")])
    collapse = curves[curves["metric"] != "mse"].replace({"metric": {"NRC3_c": "NRC3"}})
    distances = on_each(ends[ends["metric"] == _DISTANCE], lambda own: span(own["median"]))
    return (
        "Under the largest decay the mean squared error ends at "
        f"{on_each(rows[strongest], _error)}. There remain, where theory has 0, "
        f"{on_each(collapse, named)}. The relative distance of the Gram matrix of W from its "
        f"closed form ends, over all decays, at {distances}."
    )


def _error(rows: pd.DataFrame) -> str:
    """Say which error is left of one decay, and of theory."""
    errors = rows[rows["metric"] == "mse"]
    measured, theory = (
        errors.loc[errors["series"] == series, "median"]
        for series in ("at the last epoch", "theory")
    )
    beside = f" (theory: {number(theory.iloc[0])})" if len(theory) else ""
    return f"{number(measured.iloc[0])}{beside}" if len(measured) else f"no value{beside}"


def _draw_ends(column: np.ndarray, experiment: Results, colours: Mapping) -> list:
    """Draw the error and the distance of W W^T to its closed form against c."""
    measured = products(experiment, experiment.last("mse"))
    error = over_seeds(measured, ["weight_decay", "c"])
    distance = over_seeds(products(experiment, gram_distance(experiment)), ["weight_decay", "c"])
    for panel, rows in zip(column, (error, distance), strict=True):
        for decay, group in rows.groupby("weight_decay"):
            seed_points(panel, group, "c", color=colours[decay])
    theory = theory_mse(experiment, error["c"])
    column[0].plot(theory["c"], theory["median"], **THEORY)
    for panel in column:
        from_zero(panel, error["c"])
        panel.tick_params(labelbottom=panel is column[-1])
    column[-1].set_xlabel(r"$c=\lambda_W\lambda_H$")
    return [
        error.assign(metric="mse", series="at the last epoch"),
        theory.assign(metric="mse", series="theory against c"),
        distance.assign(metric=_DISTANCE, series="at the last epoch"),
    ]
