"""Figure: accuracy on held-out samples by the size of the class."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.grid import format_value
from collapse.plotting import TWO_COLUMNS, ordered_colours, over_seeds, seed_points
from collapse.studies import Results
from collapse.studies.analysis import by_class
from collapse.studies.curves import depth_colours, diverged_note
from collapse.studies.networks import data_name, model_name
from collapse.studies.sentences import UNFINISHED, listed, number

_COLUMNS = {
    "network_mlp": ("depth", "$M={}$"),
    "network_shuttle": ("weight_decay", r"$\lambda_W={}$"),
}
"""What tells the runs of an experiment apart, and how it is written."""
_SPREAD = 0.22
"""Distance of neighbouring runs within a class, where classes are 1 apart."""
_SIDES = {"network_mlp": "Left", "network_shuttle": "Right"}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.5), sharey=True)
    figure_rows = [
        _draw(panel, name, experiments[name]) for panel, name in zip(axes, _COLUMNS, strict=True)
    ]
    axes[0].set_ylabel("held-out accuracy")
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    sides = [
        _of_experiment(name, of_name) for name, of_name in rows.groupby("experiment", sort=False)
    ]
    return " ".join(sides) or UNFINISHED


def _of_experiment(name: str, rows: pd.DataFrame) -> str:
    column, _ = _COLUMNS[name]
    sizes = rows.groupby("class")["class_size"].first()
    more = rows["class_size"] > sizes.mean()
    means = rows.groupby([column, more])["median"].mean().unstack()
    called = "M" if column == "depth" else "weight decay"
    parts = [
        f"{listed([number(mean) for mean in row[::-1].dropna()])} at {called} = {number(value)}"
        for value, row in means.iterrows()
    ]
    return (
        f"{_SIDES[name]}, the median accuracies, averaged over the classes of more samples than "
        f"N/K = {number(sizes.mean())} ({(sizes > sizes.mean()).sum()}) and over the others "
        f"({(sizes <= sizes.mean()).sum()}), are {listed(parts)}."
    )


def _draw(axes: Axes, name: str, experiment: Results) -> pd.DataFrame:
    column, label = _COLUMNS[name]
    rows = experiment.at_last(by_class(experiment, "test_accuracy"))
    points = over_seeds(rows, [column, "class", "class_size"])
    values = sorted(experiment.metrics[column].unique())
    colours = depth_colours(experiment) if column == "depth" else ordered_colours(values)
    places = _places(axes, points)
    for index, (value, colour) in enumerate(colours.items()):
        group = points[points[column] == value]
        shift = _SPREAD * (index - (len(colours) - 1) / 2)
        group = group.assign(place=group["class"].map(places) + shift)
        seed_points(axes, group, "place", color=colour)
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel("training samples of the class $n_k$")
    axes.set_title(f"{model_name(experiment.config)}, {data_name(experiment.config)}", loc="left")
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=label.format(format_value(v)))
        for v, colour in colours.items()
    ]
    # Below the panel: points may be anywhere in it.
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=len(handles)
    )
    diverged_note(axes, experiment)
    return points.assign(experiment=name)


def _places(axes: Axes, points: pd.DataFrame) -> dict[int, int]:
    """Label a place for each class, by size, and shade every other; return the places."""
    sizes = points.groupby("class")["class_size"].first().sort_values(kind="stable")
    for place in range(0, len(sizes), 2):
        axes.axvspan(place - 0.5, place + 0.5, color="0.95", linewidth=0, zorder=0)
    axes.set_xticks(range(len(sizes)), [f"{size:g}" for size in sizes])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, max(len(sizes), 1) - 0.5)
    return {name: place for place, name in enumerate(sizes.index)}
