"""Figure: a multilayer perceptron on an imbalanced set of real images, against the epoch."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import FLOAT32_FLOOR, decades
from collapse.studies import Results
from collapse.studies.analysis import by_class
from collapse.studies.curves import curves, depth_colours, depth_legend, draw_panels
from collapse.studies.imbalanced.analysis import (
    NAMES,
    TO_BALANCED,
    by_depth,
    frame_panels,
    released_floor,
)
from collapse.studies.networks import describe
from collapse.studies.sentences import UNFINISHED, listed, number, span

_MEASURED, _BALANCED, _FLOOR = "measured", "to balanced frame", "floor of the released targets"
_BAR = (1.3, 2.2)
"""Where the bars of the floors begin and end, as factors of the last epoch."""
_PANELS = frame_panels(FLOAT32_FLOOR, ("error", "training error", None))


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["network_mlp"]
    colours = depth_colours(experiment)

    def curve(_: int, metric: str) -> pd.DataFrame:
        return curves(experiment, metric, "all" if metric == "error" else "H1")

    figure, axes, figure_rows = draw_panels(experiment, _PANELS, curve, "epoch", height=1.6)
    floors = _floors(experiment)
    figure_rows = [floors.assign(series=_FLOOR)] + [
        rows.drop(columns="head").assign(series=_MEASURED) for rows in figure_rows
    ]
    for (row, column), panel in axes.items():
        metric, *_ = _PANELS[row][column]
        if metric in TO_BALANCED:
            balanced = curves(experiment, TO_BALANCED[metric], "H1")
            _dotted(panel, balanced, colours)
            _mark_floors(panel, floors[floors["metric"] == metric], colours, experiment)
            # Anew: the range is another one with these lines.
            panel.autoscale(axis="y")
            decades(panel)
            figure_rows.append(balanced.assign(metric=TO_BALANCED[metric], series=_BALANCED))
    depth_legend(figure, describe(experiment.config), experiment)
    rows = pd.concat(figure_rows, ignore_index=True)
    _legend(figure, circles=len(_zero_error(rows)) > 0)
    return figure, rows


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    measured = rows[rows["series"] == _MEASURED]
    if measured.empty:
        return UNFINISHED
    last = rows[rows["step"] == measured["step"].max()]
    medians = last.groupby(["metric", "depth"])["median"].first()
    alone = [f"{NAMES[key]} {_listed(medians[key])}" for key in ("NC1", "duality_GOF")]
    to_frames = [
        f"{NAMES[own]} {_listed(medians[own], medians[balanced])}"
        for own, balanced in TO_BALANCED.items()
    ]
    floors = rows[rows["series"] == _FLOOR].groupby("metric")["median"]
    bars = [span(floors.get_group(own)) for own in TO_BALANCED]
    depths = listed([f"{depth:g}" for depth in medians["NC1"].index])
    return (
        f"At epoch {last['step'].iloc[0]:g} the medians are, at M = {depths}, {listed(alone)}, "
        "where theory has 0, and to their own frame (to the balanced frame) "
        f"{listed(to_frames)}; the floors of the released targets are, in the same order, "
        f"{listed(bars)}. {_of_error(rows, medians['error'])}"
    )


def _listed(values: pd.Series, others: pd.Series | None = None) -> str:
    """Spell numbers of all depths, perhaps each with another in brackets."""
    if others is None:
        return listed([number(value) for value in values])
    pairs = zip(values, others, strict=True)
    return listed([f"{number(value)} ({number(other)})" for value, other in pairs])


def _zero_error(rows: pd.DataFrame) -> pd.Series:
    """Return the first recorded epoch at which the median training error is zero, by depth."""
    errors = rows[(rows["metric"] == "error") & (rows["median"] == 0)]
    return errors.groupby("depth")["step"].min()


def _of_error(rows: pd.DataFrame, at_end: pd.Series) -> str:
    zero = _zero_error(rows)
    first = f"first zero at epoch {by_depth(zero)}" if len(zero) else "zero at no recorded epoch"
    return f"The median training error is {first}; at the end it is {_listed(at_end)}."


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


def _mark_floors(
    axes: Axes, floors: pd.DataFrame, colours: Mapping[int, tuple], experiment: Results
) -> None:
    # Beyond the last epoch, beside the end of the curve of that depth.
    last = experiment.config["training"]["epochs"]
    for row in floors.itertuples():
        axes.plot(
            [last * edge for edge in _BAR], [row.median] * 2, "-", color=colours[row.depth],
            linewidth=2, solid_capstyle="butt",
        )  # fmt: skip


def _legend(figure: Figure, circles: bool) -> None:
    """Put what lines and marks mean below the panels."""
    grey = {"color": "0.3"}
    handles = [
        Line2D([], [], label="to its own frame", **grey),
        Line2D([], [], label="to the balanced frame", linestyle=":", **grey),
        Line2D([], [], label="floor of the released targets", linewidth=2, **grey),
    ]
    if circles:
        handles.append(
            Line2D([], [], label="zero training error", marker="o", linestyle="", markersize=4,
                   markerfacecolor="white", **grey)
        )  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
