"""Collapse metrics against the step, one line per depth: shared by several figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import TWO_COLUMNS, decades, floor, head_colours, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.networks import mark_zero_error
from collapse.studies.sentences import diverged_runs

Panel = tuple[str, str, float | None]
"""Metric, axis label and floor of a panel."""


def curves(experiment: Results, metric: str, layer: str, **arm: Any) -> pd.DataFrame:
    """Return median and range over seeds of a metric by depth and step (after step 0).

    Of all runs, or of those with given values of keys, such as ``bias=True``.
    """
    return over_runs(experiment.completed(experiment.values(metric, layer)), **arm)


def over_runs(rows: pd.DataFrame, **arm: Any) -> pd.DataFrame:
    """Return what `curves` does of rows with ``depth``, ``step``, ``value`` and a run's keys."""
    # The axis is logarithmic.
    rows = rows[rows["step"] > 0]
    for key, value in arm.items():
        rows = rows[rows[key] == value]
    return over_seeds(rows, ["depth", "step"])


def draw_panels(
    experiment: Results,
    panels: Mapping[Any, Sequence[Panel]],
    curve: Callable[[Any, str], pd.DataFrame],
    time: str,
    height: float,
) -> tuple[Figure, dict[tuple[Any, int], Axes], list[pd.DataFrame]]:
    """Draw rows of panels against the step of a problem or the epoch of a network.

    Steps are float64: what lies below its floor is rounding, and the floor is drawn. Against
    epochs a circle marks where the training error is gone, and the error's own panel is linear.

    Parameters
    ----------
    panels
        The panels of each row, by the row's key, such as the head (bias-free, bias).
    curve
        Returns what `curves` does of a metric, given the row's key and the metric.
    time
        ``step`` or ``epoch``.
    height
        Of a row, in inches.

    Returns
    -------
    Figure, dict, list of DataFrame
        The figure, its axes by key and column, and what is drawn, by key and metric.
    """
    colours = depth_colours(experiment)
    figure, axes = _grid_of_panels(list(panels), panels, height)
    figure_rows = []
    for (key, column), panel in axes.items():
        metric, _, limit = panels[key][column]
        rows = clipped(curve(key, metric), limit)
        _draw_curves(panel, rows, colours, limit if time == "step" else None)
        # The error reaches zero, which a logarithmic axis does not have.
        if metric == "error":
            panel.set_yscale("linear")
            panel.set_ylim(bottom=0)
        elif time == "epoch":
            mark_zero_error(panel, rows, curve(key, "error"), colours)
        figure_rows.append(rows.assign(head=key, metric=metric))
    first, last = list(panels)[0], list(panels)[-1]
    for column in range(len(panels[last])):
        axes[last, column].set_xlabel(time)
    if time == "step":
        axes[first, 0].annotate(
            "below float64", (0.04, 0.05), xycoords="axes fraction", fontsize=6, color="0.4"
        )
    diverged_note(axes[first, 1], experiment)
    return figure, axes, figure_rows


def _grid_of_panels(
    rows: Sequence[Any], panels: Mapping[Any, Sequence[Panel]], height: float
) -> tuple[Figure, dict[tuple[Any, int], Axes]]:
    """Return a figure with one row of panels per key, such as the head (bias-free, bias)."""
    columns = len(panels[rows[0]])
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(TWO_COLUMNS, height * len(rows) + 0.35), squeeze=False,
        sharex=True,
    )  # fmt: skip
    named = {(key, c): axes[r, c] for r, key in enumerate(rows) for c in range(columns)}
    for (key, column), panel in named.items():
        panel.set_ylabel(panels[key][column][1])
        panel.set_xscale("log")
    return figure, named


def _draw_curves(
    axes: Axes, table: pd.DataFrame, colours: Mapping[Any, tuple], limit: float | None
) -> None:
    """Draw one line per depth, nothing below the floor."""
    # Curves often lie on each other: the later, thinner ones leave the earlier ones visible.
    widths = dict(zip(colours, np.linspace(1.9, 0.8, len(colours)), strict=True))
    for depth, rows in table.groupby("depth"):
        seed_band(axes, rows, "step", color=colours[depth], linewidth=widths[depth])
    decades(axes)
    if limit is not None:
        floor(axes, limit)


def clipped(drawn: pd.DataFrame, limit: float | None) -> pd.DataFrame:
    """Return values raised to the floor: below it there is only rounding."""
    if limit is None:
        return drawn
    return drawn.assign(
        **{name: drawn[name].clip(lower=limit) for name in ("median", "low", "high")}
    )


def depth_legend(
    figure: Figure, text: str, experiment: Results, extra: Sequence[Line2D] = ()
) -> None:
    """Put the legend of depths above the panels, what was run (and is not shown) before it.

    `extra` are further entries.
    """
    colours = depth_colours(experiment)
    text = f"{text}\n{experiment.note}" if experiment.note else text
    handles = [
        Line2D([], [], color=colour, label=f"$M={depth}$") for depth, colour in colours.items()
    ]
    handles += extra
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), borderaxespad=0.2)
    figure.text(0.01, 0.995, text, va="top", fontsize=7)


def depth_colours(experiment: Results) -> dict[Any, tuple]:
    """Return the colour of each of the experiment's depths, the same in all figures."""
    return head_colours(sorted(experiment.metrics["depth"].unique()))


def diverged_note(axes: Axes, experiment: Results) -> None:
    """Say in the figure which runs diverged: a missing line must not pass for a result."""
    runs = experiment.values("diverged")
    if len(runs):
        # Above the panel, where no curve runs.
        axes.annotate(
            f"{diverged_runs(len(runs))} left out", (1.0, 1.02), xycoords="axes fraction",
            ha="right", va="bottom", fontsize=6, color="firebrick",
        )  # fmt: skip
