"""Figure: mixed features at the layers before the last."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import TWO_COLUMNS, decades, over_seeds, seed_points
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import (
    LOSSES,
    at_alpha,
    colours,
    heading,
    known,
    off_convexity,
    points,
)
from collapse.studies.sentences import UNFINISHED, listed

_SHOWN = ("network_baseline", "network_mixup")
_METRICS = {
    "amplification_half": "amplification $A(1/2)$",
    "convex_r2": "$1-R^2$ (0: convex)",
}
_SPELT = {
    "amplification_half": "A(1/2), which by the paper is the larger with mixup at each, is",
    "convex_r2": "1 - R^2, 0 for exact convex combinations, is",
}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    layers = _layers(experiments["network_mixup"])
    figure = plt.figure(figsize=(TWO_COLUMNS, 5.0))
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.5, 1.0])
    drawn = _draw_pictures(upper, experiments, layers)
    drawn += _draw_metrics(lower.subplots(1, len(_METRICS)), experiments, layers)
    upper.suptitle(heading(experiments), x=0.01, ha="left", fontsize=7)
    handles = [
        Line2D([], [], color=colours()[LOSSES[name]], marker="o", label=LOSSES[name])
        for name in _SHOWN
    ]
    lower.legend(handles=handles, loc="outside lower center", ncols=len(_SHOWN), borderaxespad=0.2)
    return figure, pd.concat(drawn, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    found = rows[rows["metric"].notna()] if len(rows) else rows
    if found.empty:
        return UNFINISHED
    layers = found["layer"].unique()
    medians = found.set_index(["metric", "loss", "layer"])["median"].unstack()[layers]
    sentences = [
        f"{name} {_by_layer(medians.loc[metric])}."
        for metric, name in _SPELT.items()
        if metric in medians.index
    ]
    return f"At {listed(map(_called, layers))}, in this order, {' '.join(sentences)}"


def _by_layer(medians: pd.DataFrame) -> str:
    """Spell the numbers of a metric, a row for each loss."""
    rows = zip(medians.index, medians.to_numpy(), strict=True)
    return "; ".join(f"{listed(map(known, row))} with {loss}" for loss, row in rows)


def _layers(experiment: Results) -> list[str]:
    """Return the layers that are measured, in their order."""
    layers = experiment.values("convex_r2")["layer"].unique()
    hidden = sorted((layer for layer in layers if layer != "H1"), key=lambda name: int(name[6:]))
    return [*hidden, "H1"]


def _draw_pictures(
    figure: Figure, experiments: Mapping[str, Results], layers: Sequence[str]
) -> list[pd.DataFrame]:
    axes = figure.subplots(len(_SHOWN), len(layers), squeeze=False)
    drawn = []
    for row, name in enumerate(_SHOWN):
        experiment = experiments[name]
        for panel, layer in zip(axes[row], layers, strict=True):
            places = experiment.at_last(points(experiment, layer=layer))
            rows = triangle.panel(panel, places, size=1.2)
            drawn.append(triangle.table(rows, layer=layer, loss=LOSSES[name]))
            panel.set_title(_called(layer) if row == 0 else "")
        axes[row, 0].set_ylabel(LOSSES[name])
    triangle.legend(figure)
    return drawn


def _called(layer: str) -> str:
    return "features" if layer == "H1" else f"layer {layer[6:]}"


def _draw_metrics(
    axes: Sequence[Axes], experiments: Mapping[str, Results], layers: Sequence[str]
) -> list[pd.DataFrame]:
    drawn = []
    for panel, (metric, label) in zip(axes, _METRICS.items(), strict=True):
        for name in _SHOWN:
            experiment, loss = experiments[name], LOSSES[name]
            rows = off_convexity(at_alpha(experiment, experiment.last(metric)))
            table = over_seeds(rows, ["layer"]).set_index("layer").reindex(layers).reset_index()
            placed = table.assign(place=range(len(layers)))
            seed_points(panel, placed, "place", fmt="o-", color=colours()[loss])
            # Of a layer that is not measured nothing is drawn.
            drawn.append(table.dropna(subset="median").assign(metric=metric, loss=loss))
        panel.set_xticks(range(len(layers)), [_called(layer) for layer in layers])
        panel.set_ylabel(label)
    axes[0].axhline(1, color="0.7", linewidth=0.6, zorder=0)
    decades(axes[1])
    return drawn
