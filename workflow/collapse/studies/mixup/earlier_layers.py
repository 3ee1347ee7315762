"""Figure: mixed features at the layers before the last."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS, category_colours, over_seeds, range_bars
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import LOSSES, at_alpha, heading, points

_SHOWN = ("network_baseline", "network_mixup")
_METRICS = {
    "amplification_half": "amplification $A(1/2)$",
    "convex_r2": "convexity, $R^2$",
}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    layers = _layers(experiments["network_mixup"])
    figure = plt.figure(figsize=(TWO_COLUMNS, 4.2))
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.35, 1.0])
    drawn = _draw_pictures(upper, experiments, layers)
    drawn += _draw_metrics(lower.subplots(1, len(_METRICS)), experiments, layers)
    return figure, pd.concat(drawn, ignore_index=True)


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
    colours, drawn = category_colours(list(LOSSES.values())), []
    for panel, (metric, label) in zip(axes, _METRICS.items(), strict=True):
        for name in _SHOWN:
            experiment, loss = experiments[name], LOSSES[name]
            rows = at_alpha(experiment, experiment.last(metric))
            table = over_seeds(rows, ["layer"]).set_index("layer").reindex(layers).reset_index()
            panel.errorbar(
                range(len(layers)), table["median"], yerr=range_bars(table), fmt="o-",
                color=colours[loss], label=loss, capsize=2,
            )  # fmt: skip
            # Of a layer that is not measured nothing is drawn.
            drawn.append(table.dropna(subset="median").assign(metric=metric, loss=loss))
        panel.set_xticks(range(len(layers)), [_called(layer) for layer in layers])
        panel.set_ylabel(label)
    axes[0].axhline(1, color="0.7", linewidth=0.6, zorder=0)
    axes[0].legend()
    axes[0].set_title(heading(experiments), loc="left", fontsize=7)
    return drawn
