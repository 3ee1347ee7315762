"""Figure: a free classifier becomes a simplex ETF, and its norm balances the features'."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import (
    FLOAT64_FLOOR,
    THEORY,
    TWO_COLUMNS,
    category_colours,
    decades,
    error_axis,
    over_seeds,
    seed_band,
    seed_points,
)
from collapse.studies import Results
from collapse.studies.mixup.mixed import left_out
from collapse.studies.sentences import UNFINISHED, listed, number

ENDS = {"free_classifier": "CE", "free_classifier_mse": "MSE"}
DISTANCE = "distance of $W$ to ETF"
_TOP = 10
# Beside each other where both losses stand at one decay, as factors.
_BESIDE = (0.8, 1.25)


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.5))
    drawn = [_descent(axes[0], experiments["free_descent"])]
    drawn += _ends(axes[1], experiments)
    drawn += _norms(axes[2], experiments)
    figure.suptitle(left_out(experiments), x=0.01, ha="left", fontsize=7)
    # Of all panels: bars of the middle one reach into every corner.
    handles, _ = axes[2].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure, pd.concat(drawn, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    series = dict(list(rows.groupby("series"))) if len(rows) else {}
    sentences = []
    if "gradient descent" in series:
        way = series["gradient descent"].sort_values("step")
        first, last = way.iloc[0], way.iloc[-1]
        sentences.append(
            f"The classifier's distance from a simplex ETF goes from {number(first['median'])} at "
            f"step {first['step']:g} to {number(last['median'])} at step {last['step']:g} of "
            "gradient descent (medians over seeds)."
        )
    ends = {loss: series.get(f"optimum {loss}") for loss in ENDS.values()}
    parts = [
        f"{number(end['high'].max())} with {loss}" for loss, end in ends.items() if end is not None
    ]
    if parts:
        sentences.append(
            f"At the optimum it is at most {listed(parts)} over all decays and seeds, where an ETF "
            "has 0."
        )
    parts = [
        f"{number(_imbalance(series[f'norm {loss}'], series[f'balance {loss}']))} with {loss}"
        for loss in ENDS.values()
        if f"norm {loss}" in series and f"balance {loss}" in series
    ]
    if parts:
        sentences.append(
            "The norm of its rows is no further from the balanced one than a share of "
            f"{listed(parts)}."
        )
    return " ".join(sentences) or UNFINISHED


def _imbalance(norms: pd.DataFrame, balance: pd.DataFrame) -> float:
    """Return the largest relative distance of norms of any seed from the balanced norm."""
    both = norms.merge(balance, on="feature_decay", suffixes=("", "_balanced"))
    return (both[["low", "high"]].div(both["median_balanced"], axis=0) - 1).abs().max().max()


def _descent(axes: Axes, experiment: Results) -> pd.DataFrame:
    """Draw the distance to an ETF along gradient descent."""
    rows = experiment.completed(experiment.values("classifier_ETF"))
    table = over_seeds(rows[rows["step"] > 0], ["step"])
    # Of cross-entropy, as everywhere.
    seed_band(axes, table, "step", color=_colours()["CE"])
    axes.set_xscale("log")
    error_axis(axes, _TOP)
    axes.set_xlabel("step of gradient descent")
    axes.set_ylabel(DISTANCE)
    return table.assign(series="gradient descent")


def _ends(axes: Axes, experiments: Mapping[str, Results]) -> list[pd.DataFrame]:
    """Draw the distance to an ETF at the optimum, on the axis of the way there."""
    drawn = []
    for (name, loss), beside in zip(ENDS.items(), _BESIDE, strict=True):
        rows = experiments[name].last("classifier_ETF")
        # Exactly zero has no place on a logarithmic axis.
        rows = rows.assign(value=rows["value"].clip(lower=FLOAT64_FLOOR))
        table = over_seeds(rows, ["feature_decay"]).sort_values("feature_decay")
        shown = table.assign(feature_decay=beside * table["feature_decay"])
        seed_points(axes, shown, "feature_decay", color=_colours()[loss])
        drawn.append(table.assign(series=f"optimum {loss}"))
    axes.set_xscale("log")
    error_axis(axes, _TOP)
    axes.annotate("below float64", (0.04, 0.02), xycoords="axes fraction", fontsize=6, color="0.4")
    axes.set_xlabel(r"feature decay $\lambda_H$")
    axes.set_ylabel(DISTANCE)
    return drawn


def _norms(axes: Axes, experiments: Mapping[str, Results]) -> list[pd.DataFrame]:
    """Draw the norm of the classifier's rows beside the one at which the penalties balance."""
    drawn = []
    for name, loss in ENDS.items():
        experiment = experiments[name]
        table = over_seeds(experiment.last("classifier_norm"), ["feature_decay"])
        balance = over_seeds(experiment.predicted("classifier_norm"), ["feature_decay"])
        balance = balance.sort_values("feature_decay")
        axes.plot(balance["feature_decay"], balance["median"], **THEORY, zorder=0)
        axes.plot(
            table["feature_decay"], table["median"], "o", color=_colours()[loss], markersize=4,
            label=loss,
        )  # fmt: skip
        drawn += [
            table.assign(series=f"norm {loss}"),
            balance.assign(series=f"balance {loss}"),
        ]
    axes.set_xscale("log")
    decades(axes)
    axes.set_xlabel(r"feature decay $\lambda_H$")
    axes.set_ylabel("norm of the rows of $W$")
    axes.plot([], [], label="balance of the penalties", **THEORY)
    return drawn


def _colours() -> dict[str, tuple]:
    return category_colours(list(ENDS.values()))
