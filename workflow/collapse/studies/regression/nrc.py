"""Figure: NRC1 to NRC3, error and R2 against the epoch at the largest working decays."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS, category_colours, seed_band
from collapse.studies import Results
from collapse.studies.networks import data_name
from collapse.studies.regression.analysis import at_working_decay, covariance, curves, on_data
from collapse.studies.regression.panels import (
    QUADRATIC_FLOOR,
    STYLES,
    diverged,
    ending_handles,
    endings_of,
    epochs,
    heading,
    label_rows,
    line,
    logarithmic,
    r2_axis,
    strongest,
    title,
)
from collapse.studies.regression.wording import at_last, by_ending, named, on_each
from collapse.studies.sentences import UNFINISHED, span

_COLOURS = category_colours(["NRC1", "NRC2", "NRC3"])
_FIT = {"training": "0.15", "held out": "0.62"}
_ROWS = (
    ("NRC, authors'\n($h$ not centred)", dict(zip(_COLOURS, _COLOURS.items(), strict=True))),
    (
        "NRC, centred\n" + r"($h-\bar h$)",
        {f"{name}_centred": (name, _COLOURS[name]) for name in ("NRC1", "NRC2")},
    ),
    ("MSE", dict(zip(("mse", "test_mse"), _FIT.items(), strict=True))),
    ("$R^2$", dict(zip(("r2", "test_r2"), _FIT.items(), strict=True))),
)
"""Label of a row of panels; of each metric in it the name and the colour."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_data = {
        name: at_working_decay(experiment) for name, experiment in on_data(experiments).items()
    }
    figure, axes = plt.subplots(
        len(_ROWS), len(by_data), figsize=(TWO_COLUMNS, 5.4),
        squeeze=False, sharey="row",
    )  # fmt: skip
    figure_rows = []
    for column, experiment in zip(axes.T, by_data.values(), strict=True):
        title(column[0], experiment, _subtitle(experiment))
        for panel, (_, metrics) in zip(column, _ROWS, strict=True):
            rows = _draw_panel(panel, experiment, metrics)
            figure_rows += [table.assign(data=data_name(experiment.config)) for table in rows]
        epochs(column, experiment)
        diverged(column[-1], experiment)
    for row, limit in zip(axes[:3], (QUADRATIC_FLOOR, QUADRATIC_FLOOR, None), strict=True):
        logarithmic(row, limit)
    r2_axis(axes[3])
    label_rows(axes, [label for label, _ in _ROWS])
    handles = [line(name, color=colour) for name, colour in _COLOURS.items()]
    handles += [line(name, color=colour) for name, colour in _FIT.items()]
    handles += ending_handles(endings_of(by_data.values()))
    heading(figure, by_data.values(), handles)
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    ends = at_last(rows)
    collapse = by_ending(
        ends[ends["metric"].isin(list(_COLOURS))],
        lambda arm: f"there remain, where collapse leaves 0, {on_each(arm, named)}.",
    )
    fits = on_each(ends[ends["metric"] == "r2"], lambda arm: span(arm["median"]))
    return " ".join([*collapse, f"R2 on training samples ends at {fits}."])


def _draw_panel(
    axes: Axes, experiment: Results, metrics: Mapping[str, tuple[str, str]]
) -> list[pd.DataFrame]:
    """Draw some metrics of one data set; return what is drawn."""
    # Curves often lie on each other: the later, thinner ones leave the earlier ones visible.
    widths = np.linspace(1.9, 0.9, len(metrics))
    figure_rows = []
    for (metric, (_, colour)), width in zip(metrics.items(), widths, strict=True):
        rows = curves(experiment, metric)
        for ending, group in rows.groupby("ending", sort=False):
            style = {"color": colour, "linestyle": STYLES[ending], "linewidth": width}
            seed_band(axes, group, "step", **style)
        figure_rows.append(rows.assign(metric=metric))
    return figure_rows


def _subtitle(experiment: Results) -> str:
    """Return the decay, and why there may be no NRC3."""
    text = strongest(experiment)
    return text if len(covariance(experiment)) > 1 else f"{text}; one target: no NRC3"
