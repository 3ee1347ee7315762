"""Figure: a classifier frozen to a simplex ETF beside one that is trained."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import THEORY, TWO_COLUMNS, category_colours, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import at_alpha, curves, heading, ideal_curves, points

ARMS = {"network_mixup": "trained classifier", "network_fixed_etf": "frozen ETF"}
SPAN = 0.02
"""What the axis of accuracy spans at least."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, axes = plt.subplots(1, 4, figsize=(TWO_COLUMNS, 2.3), width_ratios=[1.3, 1.3, 1, 0.6])
    drawn, colours = [], category_colours(list(ARMS.values()))
    for panel, (name, arm) in zip(axes[:2], ARMS.items(), strict=True):
        experiment = experiments[name]
        rows = triangle.panel(panel, experiment.at_last(points(experiment)))
        drawn.append(triangle.table(rows, arm=arm))
        panel.set_title(arm)
    figure.text(0.01, 0.01, heading(experiments), fontsize=7)
    drawn += _draw_curves(axes[2], experiments, colours)
    drawn.append(_draw_accuracy(axes[3], experiments, colours))
    lines = [Line2D([], [], color=colours[arm], label=arm) for arm in ARMS.values()]
    triangle.legend(figure, [*lines, Line2D([], [], label="closed form", **THEORY)])
    return figure, pd.concat(drawn, ignore_index=True)


def _draw_curves(
    axes: Axes, experiments: Mapping[str, Results], colours: Mapping[str, tuple]
) -> list[pd.DataFrame]:
    """Draw A against lambda beside the closed form at the logit gap that the network reaches."""
    drawn = []
    for name, arm in ARMS.items():
        experiment = experiments[name]
        rows = at_alpha(experiment, experiment.at_last(curves(experiment)))
        table = over_seeds(rows, ["mix"])
        seed_band(axes, table, "mix", color=colours[arm])
        ideal = at_alpha(experiment, ideal_curves(experiment, np.linspace(0, 1, 101)))
        closed = over_seeds(ideal, ["mix"])
        axes.plot(closed["mix"], closed["median"], **{**THEORY, "color": colours[arm]})
        drawn += [table.assign(arm=arm, series="measured"), closed.assign(arm=arm, series="theory")]
    axes.set_xlabel(r"$\lambda$")
    axes.set_ylabel(r"amplification $A(\lambda)$")
    return drawn


def _draw_accuracy(
    axes: Axes, experiments: Mapping[str, Results], colours: Mapping[str, tuple]
) -> pd.DataFrame:
    """Draw the held-out accuracy of every seed."""
    tables = []
    for place, (name, arm) in enumerate(ARMS.items()):
        experiment = experiments[name]
        rows = at_alpha(experiment, experiment.last("test_accuracy"))
        values = np.sort(rows["value"].to_numpy())
        axes.plot(np.full(len(values), place), values, "o", color=colours[arm])
        tables.append(pd.DataFrame({"arm": arm, "series": "test accuracy", "value": values}))
    axes.set_xticks(range(len(ARMS)), [arm.replace(" ", "\n") for arm in ARMS.values()])
    axes.set_xlim(-0.5, len(ARMS) - 0.5)
    # Seeds that agree to a hair are not blown up.
    low, high = axes.get_ylim()
    spare = max(0.0, SPAN - (high - low)) / 2
    axes.set_ylim(low - spare, high + spare)
    axes.set_ylabel("test accuracy")
    return pd.concat(tables, ignore_index=True)
