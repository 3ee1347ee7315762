"""Figure: minimisers held near a hidden layer's features, beside the network's next layer."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import TWO_COLUMNS, decades, ordered_colours, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.curves import diverged_note
from collapse.studies.networks import describe
from collapse.studies.perturbation.layers import LIKENESSES, held_near
from collapse.studies.perturbation.layers import number as number_of
from collapse.studies.sentences import UNFINISHED, listed, number

_PANELS = {
    "NC1": "NC1",
    "NC2_ETF": "NC2 (ETF)",
    "CKA": "CKA with the next layer",
    "procrustes": "Procrustes distance\nfrom the next layer",
}
# In sentences: the metric, and of which minimiser it is told, by its beta.
_FOUND = {
    "NC1": ("NC1", "smallest", lambda line: line.index.min()),
    "CKA": ("CKA with the next layer", "nearest", lambda line: line.idxmax()),
    "procrustes": (
        "Procrustes distance from the next layer",
        "nearest",
        lambda line: line.idxmin(),
    ),
}
_SERIES = {"start": "H_0", "following": "the next layer"}
_MARKS = {"start": ("<", "$H_0$ itself"), "following": (">", "the next layer")}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["intermediate_features"]
    # Of a layer without a next one the row is empty.
    tables = {name: held_near(experiment, name).dropna(subset=["minimiser"]) for name in _PANELS}
    layers = sorted(experiment.metrics["from_layer"].unique(), key=number_of)
    colours, drawn = ordered_colours(layers), []
    figure, axes = plt.subplots(2, 2, figsize=(TWO_COLUMNS, 4.2), sharex=True)
    for panel, (metric, label) in zip(axes.flat, _PANELS.items(), strict=True):
        table = tables[metric]
        for layer, colour in colours.items():
            rows = table[table["from_layer"] == layer]
            drawn += _draw_layer(panel, rows.assign(inverse=1 / rows["beta"]), metric, colour)
        panel.set_ylabel(label)
        panel.set_xscale("log")
        if metric not in LIKENESSES and len(table):
            decades(panel)
    # A likeness of 1 is that of the next layer itself, and a distance of 0.
    axes[1, 0].set_ylim(min(0.5, axes[1, 0].get_ylim()[0]), 1)
    axes[1, 1].set_ylim(bottom=0)
    for panel in axes[1]:
        panel.set_xlabel(r"$1/\beta$")
    handles = [
        *(Line2D([], [], color=c, marker="o", label=_named(layer)) for layer, c in colours.items()),
        *(
            Line2D([], [], color="0.3", marker=marker, linestyle="", label=text)
            for marker, text in _MARKS.values()
        ),
    ]
    # Two rows: beside them stands what was trained.
    figure.legend(handles=handles, loc="outside upper right", ncols=-(-len(handles) // 2))
    notes = [describe(experiments["end_to_end_mlp"].config), experiment.note]
    figure.text(0.01, 0.995, "\n".join(filter(None, notes)), va="top", fontsize=7)
    diverged_note(axes[0, 1], experiment)
    return figure, pd.concat(drawn, ignore_index=True)


def _named(layer: str) -> str:
    return f"$H_0$: {_in_words(layer)}"


def _in_words(layer: str) -> str:
    return layer.replace("hidden", "layer ")


def _draw_layer(axes: Axes, rows: pd.DataFrame, metric: str, colour: tuple) -> list[pd.DataFrame]:
    """Draw the minimisers of one H_0 against 1/beta; at the margins the network's own layers."""
    keys = ["from_layer", "beta", "inverse"]
    line = over_seeds(rows, keys, "minimiser")
    seed_band(axes, line, "inverse", color=colour, marker="o")
    drawn = [line.assign(series="minimiser", metric=metric)]
    for name, (marker, _) in _MARKS.items():
        if name in rows and len(rows):
            level = over_seeds(rows, ["from_layer"], name)
            # Where beta is largest the minimiser is H_0; the next layer is where it should arrive.
            place = {"start": rows["inverse"].min() / 3, "following": rows["inverse"].max() * 3}
            axes.plot(place[name], level["median"], marker, color=colour, markersize=5)
            drawn.append(level.assign(beta=np.nan, series=name, metric=metric))
    return drawn


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    parts = [_of_layer(layer, part) for layer, part in rows.groupby("from_layer", sort=False)]
    return " ".join(parts) or UNFINISHED


def _of_layer(layer: str, rows: pd.DataFrame) -> str:
    """Say how far the minimisers of one H_0 go, and how near to the next layer they come."""
    texts = []
    for metric, (text, which, find) in _FOUND.items():
        # A layer whose units are all dead is like none, and a last one has no next.
        part = rows[rows["metric"] == metric].dropna(subset="median")
        line = part[part["series"] == "minimiser"].set_index("beta")["median"]
        if len(line):
            levels = part.set_index("series")["median"]
            values = {text: levels[name] for name, text in _SERIES.items() if name in levels}
            values[f"the minimiser at beta = {find(line):g}, the {which}"] = line[find(line)]
            told = listed([f"{number(value)} of {name}" for name, value in values.items()])
            texts.append(f"the median {text} is {told}")
    return f"With H_0 of {_in_words(layer)} {'; '.join(texts)}."
