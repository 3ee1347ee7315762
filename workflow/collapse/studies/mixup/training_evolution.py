"""Figure: how mixed features come to where they end, over the epochs of a training."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS, category_colours, decades, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import LOSSES, at_alpha, heading, points

PICTURES = 5
_CURVES = {
    "amplification_half": "amplification $A(1/2)$",
    "convex_r2": "convexity, $R^2$",
    "classifier_ETF": "classifier to ETF",
    "NC1": "NC1 (unmixed)",
}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure = plt.figure(figsize=(TWO_COLUMNS, 3.6))
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.0, 1.15])
    drawn = _draw_pictures(upper.subplots(1, PICTURES), experiments["network_mixup"])
    drawn += _draw_curves(lower.subplots(1, len(_CURVES)), experiments)
    upper.suptitle(heading(experiments), x=0.01, ha="left", fontsize=7)
    colours = category_colours(list(LOSSES.values()))
    handles = [plt.Line2D([], [], color=colour, label=loss) for loss, colour in colours.items()]
    lower.legend(handles=handles, loc="outside upper center", ncols=3, borderaxespad=0.2)
    return figure, pd.concat(drawn, ignore_index=True)


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
    colours, drawn = category_colours(list(LOSSES.values())), []
    for panel, (metric, label) in zip(axes, _CURVES.items(), strict=True):
        for name, loss in LOSSES.items():
            experiment = experiments[name]
            rows = experiment.completed(experiment.values(metric, "H1"))
            rows = at_alpha(experiment, rows[rows["step"] > 0])
            table = over_seeds(rows, ["step"])
            seed_band(panel, table, "step", color=colours[loss])
            drawn.append(table.assign(metric=metric, loss=loss))
        panel.set_xscale("log")
        panel.set_xlabel("epoch")
        panel.set_ylabel(label)
        if metric == "amplification_half":
            panel.axhline(1, color="0.7", linewidth=0.6, zorder=0)
        if metric in ("NC1", "classifier_ETF"):
            decades(panel)
    return drawn
