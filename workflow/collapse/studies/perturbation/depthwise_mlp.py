"""Figure: collapse of every hidden layer, trained one after the other and end to end."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from collapse.plotting import TWO_COLUMNS, category_colours, decades, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.networks import describe
from collapse.studies.perturbation.common import RATIO
from collapse.studies.perturbation.layers import by_depth, has_hidden_layers
from collapse.studies.sentences import UNFINISHED, number

_NAMES = {"layerwise_mlp": "layer by layer", "end_to_end_mlp": "end to end"}
_PANELS = {"NC1": "NC1", "NC1_ratio": RATIO, "error": "training error"}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    colours = category_colours(list(_NAMES))
    figure, axes = plt.subplots(1, len(_PANELS), figsize=(TWO_COLUMNS, 2.4))
    axes[1].sharey(axes[0])
    drawn = []
    for panel, (metric, label) in zip(axes, _PANELS.items(), strict=True):
        for name, colour in colours.items():
            rows = over_seeds(_values(experiments[name], metric), ["depth"])
            _draw_line(panel, rows, metric, colour)
            drawn.append(rows.assign(training=_NAMES[name], metric=metric))
        panel.set_xlabel("hidden layer")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_ylabel(label)
        if metric == "error":
            panel.set_ylim(bottom=0)
        else:
            decades(panel)
    lines = [Line2D([], [], color=colours[n], marker="o", label=_NAMES[n]) for n in _NAMES]
    figure.legend(handles=lines, loc="outside upper right", ncols=len(lines), borderaxespad=0.2)
    notes = [describe(experiments["layerwise_mlp"].config), *_left_out(experiments)]
    figure.text(0.01, 0.995, "\n".join(notes), va="top", fontsize=7)
    return figure, pd.concat(drawn, ignore_index=True)


def _values(experiment: Results, metric: str) -> pd.DataFrame:
    if metric == "error" and has_hidden_layers(experiment):
        # One head, on the last layer.
        depth = len(experiment.config["model"]["hidden"])
        return experiment.last("error", "all").assign(depth=depth)
    return by_depth(experiment, metric)


def _draw_line(axes: Axes, rows: pd.DataFrame, metric: str, colour: tuple) -> None:
    seed_band(axes, rows, "depth", color=colour, marker="o")
    if metric == "error" and len(rows) == 1:
        # A single value has no line.
        row = rows.iloc[0]
        axes.vlines(row["depth"], row["low"], row["high"], color=colour, linewidth=1)


def _left_out(experiments: Mapping[str, Results]) -> list[str]:
    """Return, in words, what of either training is not shown."""
    notes = []
    for name, text in _NAMES.items():
        count = len(experiments[name].values("diverged"))
        notes += [f"left out, {text}: {count} diverged"] if count else []
        notes += [f"{text}: {experiments[name].note}"] if experiments[name].note else []
    return notes


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    parts = [_of_training(name, part) for name, part in rows.groupby("training", sort=False)]
    if not parts:
        return UNFINISHED
    return " ".join([*parts, "The paper's features come nearer to collapse with every layer."])


def _of_training(name: str, rows: pd.DataFrame) -> str:
    """Say from the first hidden layer to which last one what falls, and the error there."""
    depths = f"from hidden layer {rows['depth'].min()} to {rows['depth'].max()}"
    falls = " and ".join([_fall(rows, metric) for metric in ("NC1", "NC1_ratio")])
    error = rows[rows["metric"] == "error"].nlargest(1, "depth")["median"]
    at = "".join(f"; the training error at the last is {number(value)}" for value in error)
    return f"Trained {name}, {depths}, {falls}{at}."


def _fall(rows: pd.DataFrame, metric: str) -> str:
    """Say from where to where the median of a metric goes, and how often it falls."""
    values = rows[rows["metric"] == metric].sort_values("depth")["median"]
    if values.empty:
        return f"{_PANELS[metric]} is not defined"
    steps = values.diff().dropna()
    return (
        f"the median {_PANELS[metric]} goes from {number(values.iloc[0])} to "
        f"{number(values.iloc[-1])} (down in {(steps < 0).sum()} of {len(steps)} steps)"
    )
