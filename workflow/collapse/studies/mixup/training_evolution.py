"""Figure: how mixed features come to where they end, over the epochs of a training."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS, decades, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import (
    LOSSES,
    at_alpha,
    colours,
    heading,
    off_convexity,
    points,
    spelt,
)
from collapse.studies.sentences import UNFINISHED, listed, number

PICTURES = 5
_CURVES = {
    "amplification_half": "amplification $A(1/2)$",
    "convex_r2": "$1-R^2$ (0: convex)",
    "classifier_ETF": "distance of $W$ to ETF",
    "NC1": "NC1 (unmixed)",
}
_ENDS = {
    "classifier_ETF": "the classifier's distance from a simplex ETF, which the paper assumes to be "
    "0, is",
    "convex_r2": "1 - R^2, 0 for exact convex combinations as the model has them with MSE, is",
    "NC1": "NC1 is",
}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure = plt.figure(figsize=(TWO_COLUMNS, 4.0))
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.0, 1.1])
    drawn = _draw_pictures(upper.subplots(1, PICTURES), experiments["network_mixup"])
    drawn += _draw_curves(lower.subplots(1, len(_CURVES)), experiments)
    upper.suptitle(heading(experiments), x=0.01, ha="left", fontsize=7)
    triangle.legend(upper)
    handles = [plt.Line2D([], [], color=colours()[loss], label=loss) for loss in LOSSES.values()]
    lower.legend(handles=handles, loc="outside lower center", ncols=3, borderaxespad=0.2)
    return figure, pd.concat(drawn, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    curves = rows[rows["metric"].notna()] if len(rows) else rows
    if curves.empty:
        return UNFINISHED
    steps = curves.sort_values("step").groupby(["metric", "loss"])
    first, last = steps.first().reset_index(), steps.last().reset_index()
    halves = first.merge(last, on=["metric", "loss"], suffixes=("", "_last"))
    halves = halves[halves["metric"] == "amplification_half"]
    ways = [
        f"{number(row.median)} to {number(row.median_last)} with {row.loss}"
        for row in halves.itertuples()
    ]
    ends = [
        f"{name} {listed(_spelt_losses(last[last['metric'] == metric]))}"
        for metric, name in _ENDS.items()
        if metric in set(last["metric"])
    ]
    span = f"From epoch {curves['step'].min():g} to {curves['step'].max():g}"
    way = f"{span} A(1/2) goes from {listed(ways)}. " if ways else ""
    return f"{way}At the last epoch {'; '.join(ends)}."


def _spelt_losses(rows: pd.DataFrame) -> list[str]:
    return [f"{text} with {loss}" for text, loss in zip(spelt(rows), rows["loss"], strict=True)]


def _draw_pictures(axes: Sequence[Axes], experiment: Results) -> list[pd.DataFrame]:
    """Draw mixed features at epochs evenly spaced among those recorded."""
    places = points(experiment)
    epochs = np.sort(places["step"].unique())
    chosen = epochs[
        np.linspace(0, len(epochs) - 1, min(len(axes), len(epochs))).round().astype(int)
    ]
    drawn = []
    for panel, epoch in zip(axes, chosen, strict=False):
        rows = triangle.panel(panel, places[places["step"] == epoch], size=1.2)
        drawn.append(triangle.table(rows, step=epoch, loss=LOSSES["network_mixup"]))
        panel.set_title(f"epoch {epoch}")
    for panel in axes[len(chosen) :]:
        panel.axis("off")
    return drawn


def _draw_curves(axes: Sequence[Axes], experiments: Mapping[str, Results]) -> list[pd.DataFrame]:
    """Draw metrics against the epoch, a line for each loss."""
    drawn = []
    for panel, (metric, label) in zip(axes, _CURVES.items(), strict=True):
        for name, loss in LOSSES.items():
            experiment = experiments[name]
            rows = off_convexity(experiment.completed(experiment.values(metric, "H1")))
            rows = at_alpha(experiment, rows[rows["step"] > 0])
            table = over_seeds(rows, ["step"])
            seed_band(panel, table, "step", color=colours()[loss])
            drawn.append(table.assign(metric=metric, loss=loss))
        panel.set_xscale("log")
        panel.set_xlabel("epoch")
        panel.set_ylabel(label)
        if metric == "amplification_half":
            panel.axhline(1, color="0.7", linewidth=0.6, zorder=0)
        else:
            decades(panel)
    return drawn
