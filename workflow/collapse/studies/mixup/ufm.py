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
    over_seeds,
    range_bars,
    seed_band,
)
from collapse.studies import Results
from collapse.studies.mixup.mixed import left_out

ENDS = {"free_classifier": "CE", "free_classifier_mse": "MSE"}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.3))
    drawn = [_descent(axes[0], experiments["free_descent"])]
    drawn += _ends(axes[1], experiments)
    drawn += _norms(axes[2], experiments)
    axes[0].set_title(left_out(experiments), loc="left", fontsize=7)
    # Of both panels: bars of the middle one reach into every corner.
    handles, _ = axes[2].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside upper right", ncols=3)
    return figure, pd.concat(drawn, ignore_index=True)


def _descent(axes: Axes, experiment: Results) -> pd.DataFrame:
    """Draw the distance to an ETF along gradient descent."""
    rows = experiment.completed(experiment.values("classifier_ETF"))
    table = over_seeds(rows[rows["step"] > 0], ["step"])
    seed_band(axes, table, "step", color="black")
    axes.set_xscale("log")
    decades(axes)
    axes.set_xlabel("step of gradient descent")
    axes.set_ylabel("classifier's distance to ETF")
    return table.assign(series="gradient descent")


def _ends(axes: Axes, experiments: Mapping[str, Results]) -> list[pd.DataFrame]:
    """Draw the distance to an ETF at the optimum."""
    colours, drawn = category_colours(list(ENDS.values())), []
    for name, loss in ENDS.items():
        rows = experiments[name].last("classifier_ETF")
        # Exactly zero has no place on a logarithmic axis.
        rows = rows.assign(value=rows["value"].clip(lower=FLOAT64_FLOOR))
        table = over_seeds(rows, ["feature_decay"]).sort_values("feature_decay")
        axes.errorbar(
            table["feature_decay"], table["median"], yerr=range_bars(table), fmt="o-",
            color=colours[loss], label=loss, capsize=2,
        )  # fmt: skip
        drawn.append(table.assign(series=f"optimum {loss}"))
    axes.set_xscale("log")
    decades(axes)
    axes.set_xlabel(r"$\lambda_H$")
    axes.set_ylabel("classifier's distance to ETF")
    return drawn


def _norms(axes: Axes, experiments: Mapping[str, Results]) -> list[pd.DataFrame]:
    """Draw the norm of the classifier's rows beside the one at which the penalties balance."""
    colours, drawn = category_colours(list(ENDS.values())), []
    for name, loss in ENDS.items():
        experiment = experiments[name]
        table = over_seeds(experiment.last("classifier_norm"), ["feature_decay"])
        balance = over_seeds(experiment.predicted("classifier_norm"), ["feature_decay"])
        balance = balance.sort_values("feature_decay")
        axes.plot(balance["feature_decay"], balance["median"], **THEORY, zorder=0)
        axes.plot(table["feature_decay"], table["median"], "o", color=colours[loss], label=loss)
        drawn += [
            table.assign(series=f"norm {loss}"),
            balance.assign(series=f"balance {loss}"),
        ]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(r"$\lambda_H$")
    axes.set_ylabel("norm of the classifier's rows")
    axes.plot([], [], label="balance", **THEORY)
    return drawn
