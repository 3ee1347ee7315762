"""Figure: NRC1 to NRC3 against the epoch by weight decay, and what is left at the end."""

from collections.abc import Mapping
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS, category_colours, seed_points
from collapse.studies import Results
from collapse.studies.networks import data_name
from collapse.studies.regression.analysis import PARTLY, chosen, decays, finals, on_data
from collapse.studies.regression.panels import (
    QUADRATIC_FLOOR,
    STYLES,
    WEIGHT_DECAY,
    decay_colours,
    diverged,
    draw_against_epoch,
    ending_handles,
    endings_of,
    from_zero,
    heading,
    key,
    label_rows,
    line,
    logarithmic,
    r2_axis,
    say,
)
from collapse.studies.regression.wording import (
    by_ending,
    extremes,
    medians,
    on_each,
)
from collapse.studies.sentences import UNFINISHED, span

_NRC = ("NRC1", "NRC2", "NRC3")
_ENDING = "relu"
_NRC1_COLOUR = category_colours(_NRC)["NRC1"]
_AT_END = (
    {
        "NRC1": ("NRC1, authors'", {"color": _NRC1_COLOUR}),
        "NRC1_centred": ("NRC1, centred", {"color": _NRC1_COLOUR, "markerfacecolor": "white"}),
    },
    # The smaller marks lie on the others, and both are seen.
    {
        "r2": ("$R^2$, training", {"color": "0.15", "markersize": 2.2, "zorder": 3}),
        "test_r2": ("held out", {"color": "0.62"}),
    },
)
"""Of each summary row its metrics, their names and how they are drawn."""
_LESS = {"weights": ("D", "weights only decayed"), "backbone": ("s", "all but $b$ decayed")}
"""Marks and names of the runs in which not all parameters are decayed."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_data = on_data(experiments)
    colours = decay_colours(by_data.values())
    figure, axes = plt.subplots(
        len(_NRC) + len(_AT_END), len(by_data), figsize=(TWO_COLUMNS, 6.6), squeeze=False,
        sharey="row",
    )  # fmt: skip
    figure_rows = []
    for column, (name, experiment) in zip(axes.T, by_data.items(), strict=True):
        key(column[0], experiment, colours, WEIGHT_DECAY)
        rows = _draw_curves(column[: len(_NRC)], experiment, colours)
        rows += _draw_ends(column[len(_NRC) :], experiment, experiments[f"{name}_partly"])
        figure_rows += [table.assign(data=data_name(experiment.config)) for table in rows]
        diverged(column[-1], experiment)
    for row in axes[:-1]:
        logarithmic(row, QUADRATIC_FLOOR)
    r2_axis(axes[-1])
    label_rows(axes, [*_NRC, "NRC1 at the end", "$R^2$ at the end"])
    heading(figure, by_data.values(), *_handles(by_data))
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    ends = rows[rows["series"] == "at the last epoch"]
    if ends.empty:
        return UNFINISHED
    collapse = by_ending(
        ends,
        lambda arm: (
            f"NRC1 ends under the smallest and the largest weight decay at {on_each(arm, _told)}."
        ),
    )
    weights = rows[(rows["series"] == "at the last epoch, weights") & (rows["metric"] == "NRC1")]
    if weights.empty:
        return " ".join(collapse)
    left = on_each(weights, lambda arm: span(arm["median"]))
    return " ".join([*collapse, f"Where weights only are decayed it ends at {left}."])


def _told(arm: pd.DataFrame) -> str:
    """Say what NRC1 and R2 end at, between which decays."""
    left, fits = (extremes(arm[arm["metric"] == metric]) for metric in ("NRC1", "r2"))
    return f"{medians(left)} (decay {medians(left, 'weight_decay')}, R2 {medians(fits)})"


def _handles(by_data: Mapping[str, Results]) -> list[list]:
    """Return the rows of the legend."""
    ring = {"color": "0.3", "markerfacecolor": "none", "markersize": 5, "linestyle": ""}
    return [
        [line(name, marker="o", **style) for row in _AT_END for name, style in row.values()],
        [
            *ending_handles(endings_of(by_data.values())),
            *(line(name, marker=marker, **ring) for marker, name in _LESS.values()),
        ],
    ]


def _draw_curves(column: np.ndarray, experiment: Results, colours: Mapping) -> list:
    """Draw NRC1 to NRC3 of the runs with a ReLU before W against the epoch."""
    arm = chosen(experiment, ending=_ENDING)
    if len(arm.metrics):
        return draw_against_epoch(column, arm, _NRC, colours)
    for panel in column:
        say(panel, "no run with a ReLU before $W$\nat this scale")
    return []


def _draw_ends(column: np.ndarray, experiment: Results, partly: Results) -> list:
    """Draw what is left at the last epoch against the decay."""
    figure_rows = []
    for panel, metrics in zip(column, _AT_END, strict=True):
        figure_rows += [
            _draw_end(panel, experiment, metric, metrics[metric][1]) for metric in metrics
        ]
        # The released code knows only features that are not centred.
        released = [metric for metric in metrics if metric != "NRC1_centred"]
        figure_rows += [
            _mark(panel, kind, partly, metric, metrics[metric][1])
            for kind, metric in product(_LESS, released)
        ]
        from_zero(panel, decays(experiment))
        panel.tick_params(labelbottom=panel is column[-1])
    column[1].set_xlabel(f"weight decay ${WEIGHT_DECAY}$")
    return figure_rows


def _draw_end(axes: Axes, experiment: Results, metric: str, style: Mapping) -> pd.DataFrame:
    rows = finals(experiment, metric)
    for ending, group in rows.groupby("ending", sort=False):
        seed_points(
            axes, group, "weight_decay", **{"fmt": "o", "linestyle": STYLES[ending], **style},
            linewidth=0.9,
        )  # fmt: skip
    return rows.assign(metric=metric, series="at the last epoch")


def _mark(axes: Axes, kind: str, partly: Results, metric: str, style: Mapping) -> pd.DataFrame:
    """Ring what the runs end at in which not all parameters are decayed."""
    rows, (marker, _) = finals(chosen(partly, decayed=PARTLY[kind]), metric), _LESS[kind]
    for ending, group in rows.groupby("ending", sort=False):
        axes.plot(
            group["weight_decay"], group["median"], marker, clip_on=False,
            markersize=6 if ending == "relu" else 4, color=style["color"],
            markerfacecolor="none", markeredgewidth=0.8,
        )  # fmt: skip
    return rows.assign(metric=metric, series=f"at the last epoch, {kind}")
