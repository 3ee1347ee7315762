"""Figure: cosines between samples, layer by layer, with the AGOP and without."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.deep_rfm.layers import ARMS, of_map, symmetric
from collapse.studies.networks import setting
from collapse.studies.sentences import UNFINISHED, listed, number

_NAMES = {"agop": "with the AGOP", "identity": "with M = I", "shuffled": "with a shuffled basis"}
_SHOWN = 4
"""Layers whose inputs are shown: the first, the last and some between."""
_COLUMNS = [
    "projection", "step", "layer", "row", "column", "row_class", "column_class", "value"
]  # fmt: skip


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["rfm"]
    points = of_map(experiment, "relu", experiment.points("gram"))
    points = points[points["seed"] == points["seed"].min()]
    depth = experiment.config["depth"]
    steps = np.unique(np.linspace(1, depth, _SHOWN).round().astype(int))
    columns = [*((step, "X") for step in steps), (depth, "Phi")]
    figure, axes = plt.subplots(len(ARMS), len(columns), figsize=(TWO_COLUMNS, 4.2), squeeze=False)
    drawn = []
    for line, (arm, name) in zip(axes, ARMS.items(), strict=True):
        line[0].set_ylabel(name)
        for panel, (step, layer) in zip(line, columns, strict=True):
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
            rows = points[
                (points["projection"] == arm)
                & (points["step"] == step)
                & (points["layer"] == layer)
            ]
            if rows.empty:
                panel.text(0.5, 0.5, "not reached", ha="center", va="center", color="0.4")
                continue
            panel.imshow(symmetric(rows), cmap="RdBu_r", vmin=-1, vmax=1)
            drawn.append(rows[_COLUMNS])
    for panel, (step, layer) in zip(axes[0], columns, strict=True):
        panel.set_title(f"layer {step}" if layer == "X" else rf"$\Phi$ of layer {step}", loc="left")
    shades = ScalarMappable(Normalize(-1, 1), "RdBu_r")
    bar = figure.colorbar(shades, ax=axes, shrink=0.5, ticks=(-1, 0, 1), aspect=25)
    bar.set_label("cosine")
    bar.outline.set_visible(False)
    figure.suptitle(setting(experiment.config), x=0.01, ha="left", fontsize=7)
    table = pd.concat(drawn or [points[_COLUMNS]], ignore_index=True)
    return figure, table.rename(columns={"step": "number", "layer": "place"})


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    last = rows[rows["place"] == "Phi"]
    # The diagonal says nothing: a sample is at cosine 1 with itself.
    last = last[last["row"] != last["column"]]
    same = last["row_class"] == last["column_class"]
    parts = []
    for arm, name in _NAMES.items():
        one, two = (
            last.loc[chosen & (last["projection"] == arm), "value"] for chosen in (same, ~same)
        )
        if len(one) and len(two):
            parts.append(f"{number(one.mean())} and {number(two.mean())} {name}")
    if not parts:
        return UNFINISHED
    classes = rows["row_class"].max() + 1
    return (
        "Of the last layer's features the mean cosine between two samples of one class and of two "
        f"classes is {listed(parts)}; collapse to a simplex has 1 and -1/(K-1) = "
        f"{number(-1 / (classes - 1))}."
    )
