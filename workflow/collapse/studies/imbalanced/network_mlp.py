"""Figure: a multilayer perceptron on an imbalanced set of real images, against the epoch."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import FLOAT32_FLOOR
from collapse.studies import Experiment
from collapse.studies.analysis import by_class
from collapse.studies.curves import (
    clipped,
    curves,
    depth_colours,
    depth_legend,
    diverged_note,
    draw_curves,
    grid_of_panels,
)
from collapse.studies.imbalanced.analysis import TO_BALANCED, frame_panels, released_floor
from collapse.studies.networks import describe, mark_zero_error

_PANELS = frame_panels(FLOAT32_FLOOR, ("error", "training error", None))


def draw(experiments: Mapping[str, Experiment]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["network_mlp"]
    colours = depth_colours(experiment)
    figure, axes = grid_of_panels((0, 1), _PANELS, height=1.6)
    errors = curves(experiment, "error", "all")
    floors = _floors(experiment)
    drawn = [floors.assign(series="floor of the released targets")]
    for (row, column), panel in axes.items():
        metric, _, limit = _PANELS[row][column]
        if metric == "error":
            draw_curves(panel, errors, colours, None)
            panel.set_yscale("linear")
            panel.set_ylim(bottom=0)
            drawn.append(errors.assign(metric=metric, series="measured"))
            continue
        rows = clipped(curves(experiment, metric, "H1"), limit)
        if metric in TO_BALANCED:
            balanced = curves(experiment, TO_BALANCED[metric], "H1")
            _dotted(panel, balanced, colours)
            _mark_floors(panel, floors[floors["metric"] == metric], colours)
            drawn.append(balanced.assign(metric=TO_BALANCED[metric], series="to balanced frame"))
        draw_curves(panel, rows, colours, None)
        mark_zero_error(panel, rows, errors, colours)
        drawn.append(rows.assign(metric=metric, series="measured"))
    for column in range(3):
        axes[1, column].set_xlabel("epoch")
    axes[0, 1].legend(
        handles=[
            Line2D([], [], color="0.3", label="to its own frame (GOF)"),
            Line2D([], [], color="0.3", linestyle=":", label="to the balanced frame (OF)"),
        ],
        loc="lower left", fontsize=6,
    )  # fmt: skip
    diverged_note(axes[0, 2], experiment)
    depth_legend(figure, colours, describe(experiment.config), experiment)
    return figure, pd.concat(drawn, ignore_index=True)


def _floors(experiment: Experiment) -> pd.DataFrame:
    sizes = experiment.at_last(by_class(experiment, "feature_norm"))
    rows = [
        {"depth": depth, "metric": metric, "median": value}
        for depth, own in sizes.groupby("depth")
        for metric, value in released_floor(
            experiment.config,
            depth,
            own.groupby("class")["class_size"].first().to_numpy(),
        ).items()
    ]
    return pd.DataFrame(rows, columns=["depth", "metric", "median"])


def _dotted(axes: Axes, rows: pd.DataFrame, colours: Mapping[int, tuple]) -> None:
    for depth, own in rows.groupby("depth"):
        axes.plot(own["step"], own["median"], ":", color=colours[depth], linewidth=0.9)


def _mark_floors(axes: Axes, floors: pd.DataFrame, colours: Mapping[int, tuple]) -> None:
    for row in floors.itertuples():
        axes.axhline(row.median, xmin=0.94, color=colours[row.depth], linewidth=1.6)
