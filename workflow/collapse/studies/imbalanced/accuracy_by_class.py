"""Figure: accuracy on held-out samples by the size of the class."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from collapse.grid import format_value
from collapse.plotting import TWO_COLUMNS, ordered_colours, over_seeds, range_bars
from collapse.studies import Results
from collapse.studies.analysis import by_class
from collapse.studies.curves import diverged_note
from collapse.studies.networks import data_name, model_name

_COLUMNS = {
    "network_mlp": ("depth", "$M={}$"),
    "network_shuttle": ("weight_decay", r"$\lambda_W={}$"),
}
"""What tells the runs of an experiment apart, and how it is written."""
_SPREAD = 1.06
"""Factor between the abscissae of neighbouring runs, so that their bars do not hide each other."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.3), sharey=True)
    figure_rows = [
        _draw(panel, name, experiments[name]) for panel, name in zip(axes, _COLUMNS, strict=True)
    ]
    axes[0].set_ylabel("accuracy on held-out samples")
    return figure, pd.concat(figure_rows, ignore_index=True)


def _draw(axes: Axes, name: str, experiment: Results) -> pd.DataFrame:
    column, label = _COLUMNS[name]
    rows = experiment.at_last(by_class(experiment, "test_accuracy"))
    points = over_seeds(rows, [column, "class", "class_size"])
    colours = ordered_colours(sorted(experiment.metrics[column].unique()))
    for place, (value, group) in enumerate(points.groupby(column)):
        shift = _SPREAD ** (place - (len(colours) - 1) / 2)
        axes.errorbar(
            group["class_size"] * shift, group["median"],
            yerr=range_bars(group),
            fmt="o", color=colours[value], elinewidth=0.7,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    sizes = sorted(set(points["class_size"]))
    # Within a decade powers of ten are too few: the sizes themselves are labelled.
    if len(sizes) and sizes[-1] < 10 * sizes[0]:
        axes.set_xticks(sizes)
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel("training samples of the class $n_k$")
    axes.set_title(f"{model_name(experiment.config)}, {data_name(experiment.config)}", loc="left")
    groups = _majority(rows, column)
    handles = [
        Line2D(
            [], [], color=colour, marker="o", linestyle="",
            label=label.format(format_value(value)) + f": {groups.get((value, True), np.nan):.3f}, "
            f"{groups.get((value, False), np.nan):.3f}",
        )
        for value, colour in colours.items()
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="lower right", fontsize=6, title="majority, minority", title_fontsize=6
    )
    diverged_note(axes, experiment)
    return points.assign(experiment=name)


def _majority(rows: pd.DataFrame, column: str) -> pd.Series:
    """Return the mean accuracy over the classes above (True) and below N/K, median over seeds."""
    sizes = rows.groupby("class")["class_size"].first()
    above = rows["class_size"] > sizes.mean()
    means = rows.groupby([column, above, "seed"])["value"].mean()
    return means.groupby(level=[0, 1]).median()
