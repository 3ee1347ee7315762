"""Figure: weights of hidden layers beside their average gradient outer products, by epoch."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import (
    TWO_COLUMNS,
    by_rows,
    category_colours,
    decades,
    ordered_colours,
    over_seeds,
    seed_band,
)
from collapse.studies import Results
from collapse.studies.deep_rfm.starts import STARTS, by_layer, of_start, start_of
from collapse.studies.networks import describe, mark_zero_error
from collapse.studies.sentences import UNFINISHED, span


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["mlp"]
    figure, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.5))
    axes[1].sharey(axes[0])
    correlations = by_layer(experiment, "NFA")
    layers = ordered_colours(sorted(correlations["number"].unique()))
    drawn = []
    for panel, start in zip(axes, STARTS, strict=False):
        chosen = of_start(correlations, start)
        rows = over_seeds(chosen, ["number", "step"])
        for number, line in rows.groupby("number"):
            seed_band(panel, line, "step", color=layers[number])
        gains = chosen["gain"].unique()
        title = f"{start} start, gain {gains[0]:g}" if len(gains) else f"no {start} start"
        panel.set_title(title, loc="left")
        drawn.append(rows.assign(start=start, metric="NFA"))
    axes[0].set_ylabel("NFA correlation")
    axes[0].set_ylim(min(0, axes[0].get_ylim()[0]), 1)
    drawn += _draw_collapse(axes[2], experiment)
    for panel in axes:
        # The start is a point of the axis, too.
        panel.set_xscale("symlog", linthresh=1)
        panel.set_xlim(left=0)
        panel.set_xlabel("epoch")
    handles = [Line2D([], [], color=colour, label=f"layer {n}") for n, colour in layers.items()]
    figure.legend(
        **by_rows([handles], columns=3), loc="outside upper left", borderaxespad=0.2,
        columnspacing=1.0, handlelength=1.2, handletextpad=0.5,
    )  # fmt: skip
    figure.text(0.99, 0.995, describe(experiment.config), ha="right", va="top", fontsize=7)
    return figure, pd.concat(drawn, ignore_index=True)


def _draw_collapse(axes: Axes, experiment: Results) -> list[pd.DataFrame]:
    """Draw the NC1 ratio of the features of both starts, and where their error is gone."""
    colours = category_colours(STARTS)
    drawn = []
    for metric, layer in (("NC1_ratio", "H1"), ("error", "all")):
        rows = experiment.completed(experiment.values(metric, layer))
        rows = pd.concat([of_start(rows, start) for start in STARTS])
        rows = rows.assign(start=[start_of(gain) for gain in rows["gain"]])
        drawn.append(over_seeds(rows, ["start", "step"]).assign(metric=metric))
    ratios, errors = drawn
    for start, line in ratios.groupby("start"):
        seed_band(axes, line, "step", color=colours[start])
    handles = [Line2D([], [], color=colour, label=f"{s} start") for s, colour in colours.items()]
    axes.legend(handles=handles, loc="lower left", fontsize=6, handlelength=1.2)
    mark_zero_error(axes, ratios, errors, colours, by="start")
    axes.set_ylabel("NC1 ratio of the features")
    decades(axes)
    return drawn


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    parts = [_of_start(start, part) for start, part in rows.groupby("start", sort=False)]
    return " ".join(parts) or UNFINISHED


def _of_start(start: str, rows: pd.DataFrame) -> str:
    """Say what the correlations are at both ends, and how well the networks fit."""
    ends = [rows[rows["step"] == step] for step in (rows["step"].min(), rows["step"].max())]
    first, last = (span(part.loc[part["metric"] == "NFA", "median"]) for part in ends)
    error = ends[-1].loc[ends[-1]["metric"] == "error", "median"]
    return (
        f"From a {start} start the median correlation over all hidden layers is {first} at the "
        f"start and {last} at epoch {rows['step'].max()}, at a median training error of "
        f"{span(error)}."
    )
