"""Figure: a classifier frozen to a simplex ETF beside one that is trained."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import THEORY, TWO_COLUMNS, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import (
    FROZEN,
    LOSSES,
    at_alpha,
    colours,
    curves,
    heading,
    ideal_curves,
    known,
    points,
    spelt,
)
from collapse.studies.sentences import UNFINISHED, listed

ARMS = {"network_mixup": "trained classifier", "network_fixed_etf": FROZEN}
SPAN = 0.02
"""What the axis of accuracy spans at least."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure = plt.figure(figsize=(TWO_COLUMNS, 4.0))
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    drawn = []
    for panel, (name, arm) in zip(upper.subplots(1, len(ARMS)), ARMS.items(), strict=True):
        experiment = experiments[name]
        rows = triangle.panel(panel, experiment.at_last(points(experiment)))
        drawn.append(triangle.table(rows, arm=arm))
        panel.set_title(arm)
    upper.suptitle(heading(experiments), x=0.01, ha="left", fontsize=7)
    triangle.legend(upper)
    *panels, last = lower.subplots(1, len(ARMS) + 1, width_ratios=[1, 1, 0.7])
    drawn += _draw_curves(panels, experiments)
    drawn.append(_draw_accuracy(last, experiments))
    lines = [Line2D([], [], color=colour, label=arm) for arm, colour in _colours().items()]
    lines.append(Line2D([], [], label="closed form", **THEORY))
    lower.legend(handles=lines, loc="outside lower center", ncols=len(lines), borderaxespad=0.2)
    return figure, pd.concat(drawn, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    series = rows[rows["series"].notna()] if len(rows) else rows
    if series.empty:
        return UNFINISHED
    arms = {arm: _summary(own) for arm, own in series.groupby("arm", sort=False)}
    found, closed, distances, accuracies = (
        listed(each) for each in zip(*arms.values(), strict=True)
    )
    found = listed([f"{half} with the {arm}" for arm, (half, *_) in arms.items()])
    return (
        f"A(1/2) is {found}; the closed form at each network's own logit gap has {closed}. The "
        f"mean distance of A(lambda) from it is {distances}, the median accuracy on held-out "
        f"images {accuracies}, in this order."
    )


def _summary(arm: pd.DataFrame) -> tuple[str, str, str, str]:
    """Return A(1/2), that of the closed form, the mean distance from it, and the accuracy."""
    found, closed = (arm[arm["series"] == name] for name in ("measured", "theory"))
    values = np.interp(found["mix"], closed["mix"], closed["median"])
    half = np.isclose(found["mix"], 0.5)
    accuracy = arm.loc[arm["series"] == "test accuracy", "value"].median()
    distance = np.mean(np.abs(found["median"] - values))
    ideal = values[half].mean() if half.any() else np.nan
    text = " ".join(spelt(found[half])) or known(np.nan)
    return text, known(ideal), known(distance), known(accuracy)


def _colours() -> dict[str, tuple]:
    """Return the colour of each arm."""
    return {arm: colours()[LOSSES.get(name, arm)] for name, arm in ARMS.items()}


def _draw_curves(axes: Sequence[Axes], experiments: Mapping[str, Results]) -> list[pd.DataFrame]:
    """Draw A against lambda beside the closed form at the logit gap that the network reaches."""
    drawn = []
    for panel, (name, arm) in zip(axes, ARMS.items(), strict=True):
        experiment = experiments[name]
        rows = at_alpha(experiment, experiment.at_last(curves(experiment)))
        table = over_seeds(rows, ["mix"])
        seed_band(panel, table, "mix", color=_colours()[arm])
        ideal = at_alpha(experiment, ideal_curves(experiment, np.linspace(0, 1, 101)))
        closed = over_seeds(ideal, ["mix"])
        seed_band(panel, closed, "mix", **THEORY)
        drawn += [table.assign(arm=arm, series="measured"), closed.assign(arm=arm, series="theory")]
        panel.set_xlabel(r"$\lambda$")
        panel.sharey(axes[0])
    axes[0].set_ylabel(r"amplification $A(\lambda)$")
    return drawn


def _draw_accuracy(axes: Axes, experiments: Mapping[str, Results]) -> pd.DataFrame:
    """Draw the held-out accuracy of every seed."""
    tables = []
    for place, (name, arm) in enumerate(ARMS.items()):
        experiment = experiments[name]
        rows = at_alpha(experiment, experiment.last("test_accuracy"))
        values = np.sort(rows["value"].to_numpy())
        axes.plot(np.full(len(values), place), values, "o", color=_colours()[arm])
        tables.append(pd.DataFrame({"arm": arm, "series": "test accuracy", "value": values}))
    axes.set_xticks(range(len(ARMS)), [arm.replace(" ", "\n") for arm in ARMS.values()])
    axes.set_xlim(-0.5, len(ARMS) - 0.5)
    # Seeds that agree to a hair are not blown up.
    low, high = axes.get_ylim()
    spare = max(0.0, SPAN - (high - low)) / 2
    axes.set_ylim(low - spare, high + spare)
    axes.set_ylabel("held-out accuracy")
    return pd.concat(tables, ignore_index=True)
