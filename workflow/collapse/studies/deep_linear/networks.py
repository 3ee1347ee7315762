"""Collapse of a real network against the epoch: what the network figures share."""

import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import FLOAT32_FLOOR
from collapse.studies import Experiment
from collapse.studies.curves import (
    FRAME,
    clipped,
    curves,
    depth_colours,
    depth_legend,
    diverged_note,
    draw_curves,
    grid_of_panels,
)
from collapse.studies.deep_linear.analysis import NC2
from collapse.studies.networks import describe, mark_zero_error

_PANELS = {
    bias: (
        ("NC1", "NC1", FLOAT32_FLOOR**2),
        (NC2[bias], f"NC2 ({'ETF' if bias else 'OF'})", FLOAT32_FLOOR),
        ("NC3_product", "NC3", FLOAT32_FLOOR),
        ("error", "training error", None),
    )
    for bias in (False, True)
}


def draw_network(experiment: Experiment) -> tuple[Figure, pd.DataFrame]:
    """Return NC1 to NC3 and the training error against the epoch, a row per kind of head."""
    heads = sorted(experiment.metrics["bias"].unique())
    colours = depth_colours(experiment)
    figure, axes = grid_of_panels(heads, _PANELS, height=1.5)
    drawn = []
    for (bias, column), panel in axes.items():
        metric, _, limit = _PANELS[bias][column]
        rows = curves(experiment, metric, "all" if metric == "error" else "H1", bias)
        if metric == "error":
            draw_curves(panel, rows, colours, None)
            panel.set_yscale("linear")
            panel.set_ylim(bottom=0)
        else:
            rows = clipped(rows, limit)
            draw_curves(panel, rows, colours, None)
            mark_zero_error(panel, rows, curves(experiment, "error", "all", bias), colours)
        drawn.append(rows.assign(head=FRAME[bias], metric=metric))
    for bias in heads:
        axes[bias, 0].set_title(FRAME[bias], loc="left")
    for column in range(4):
        axes[heads[-1], column].set_xlabel("epoch")
    diverged_note(axes[heads[0], 1], experiment)
    depth_legend(figure, colours, describe(experiment.config), experiment)
    return figure, pd.concat(drawn, ignore_index=True)
