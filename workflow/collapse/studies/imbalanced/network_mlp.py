"""Figure: a multilayer perceptron on an imbalanced set of real images, against the epoch."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import FLOAT32_FLOOR
from collapse.studies import Results
from collapse.studies.analysis import by_class
from collapse.studies.curves import curves, depth_colours, depth_legend, draw_panels
from collapse.studies.imbalanced.analysis import TO_BALANCED, frame_panels, released_floor
from collapse.studies.networks import describe

_PANELS = frame_panels(FLOAT32_FLOOR, ("error", "training error", None))


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["network_mlp"]
    colours = depth_colours(experiment)

    def curve(_: int, metric: str) -> pd.DataFrame:
        return curves(experiment, metric, "all" if metric == "error" else "H1")

    figure, axes, figure_rows = draw_panels(experiment, _PANELS, curve, "epoch", height=1.6)
    floors = _floors(experiment)
    figure_rows = [floors.assign(series="floor of the released targets")] + [
        rows.drop(columns="head").assign(series="measured") for rows in figure_rows
    ]
    for (row, column), panel in axes.items():
        metric, *_ = _PANELS[row][column]
        if metric in TO_BALANCED:
            balanced = curves(experiment, TO_BALANCED[metric], "H1")
            _dotted(panel, balanced, colours)
            _mark_floors(panel, floors[floors["metric"] == metric], colours)
            figure_rows.append(
                balanced.assign(metric=TO_BALANCED[metric], series="to balanced frame")
            )
    axes[0, 1].legend(
        handles=[
            Line2D([], [], color="0.3", label="to its own frame (GOF)"),
            Line2D([], [], color="0.3", linestyle=":", label="to the balanced frame (OF)"),
        ],
        loc="lower left", fontsize=6,
    )  # fmt: skip
    depth_legend(figure, describe(experiment.config), experiment)
    return figure, pd.concat(figure_rows, ignore_index=True)


def _floors(experiment: Results) -> pd.DataFrame:
    sizes = experiment.at_last(by_class(experiment, "feature_norm"))
    rows = [
        {"depth": depth, "metric": metric, "median": value}
        for depth, group in sizes.groupby("depth")
        for metric, value in released_floor(
            experiment.config,
            depth,
            group.groupby("class")["class_size"].first().to_numpy(),
        ).items()
    ]
    return pd.DataFrame(rows, columns=["depth", "metric", "median"])


def _dotted(axes: Axes, rows: pd.DataFrame, colours: Mapping[int, tuple]) -> None:
    for depth, group in rows.groupby("depth"):
        axes.plot(group["step"], group["median"], ":", color=colours[depth], linewidth=0.9)


def _mark_floors(axes: Axes, floors: pd.DataFrame, colours: Mapping[int, tuple]) -> None:
    # At the right edge of a panel, beside the end of the curve of that depth.
    for row in floors.itertuples():
        axes.axhline(row.median, xmin=0.94, color=colours[row.depth], linewidth=1.6)
