"""Figure: NC1 to NC3 and the loss gap of direct optimisation against the step."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import FLOAT64_FLOOR, over_seeds
from collapse.studies import Experiment
from collapse.studies.analysis import loss_gap
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

_PANELS = {
    bias: (
        ("NC1", "NC1", FLOAT64_FLOOR**2),
        (NC2[bias], f"NC2 ({'ETF' if bias else 'OF'})", FLOAT64_FLOOR),
        ("NC3_product", "NC3", FLOAT64_FLOOR),
        ("loss_gap", "relative loss gap", FLOAT64_FLOOR),
    )
    for bias in (False, True)
}


def draw(experiments: Mapping[str, Experiment]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["direct_optimisation"]
    heads = sorted(experiment.metrics["bias"].unique())
    colours = depth_colours(experiment)
    figure, axes = grid_of_panels(heads, _PANELS, height=1.45)
    gaps = loss_gap(experiment)
    drawn = []
    for (bias, column), panel in axes.items():
        metric, _, limit = _PANELS[bias][column]
        if metric == "loss_gap":
            chosen = gaps[(gaps["bias"] == bias) & (gaps["step"] > 0)]
            rows = over_seeds(chosen, ["depth", "step"])
        else:
            rows = curves(experiment, metric, "H1", bias)
        rows = clipped(rows, limit)
        draw_curves(panel, rows, colours, limit)
        drawn.append(rows.assign(head=FRAME[bias], metric=metric))
    for bias in heads:
        axes[bias, 0].set_title(FRAME[bias], loc="left")
    for column in range(4):
        axes[heads[-1], column].set_xlabel("step")
    axes[heads[0], 0].annotate(
        "below float64", (0.04, 0.05), xycoords="axes fraction", fontsize=6, color="0.4"
    )
    diverged_note(axes[heads[0], 1], experiment)
    problem = experiment.config["problem"]
    sizes, width = problem["class_sizes"], problem["widths"]
    text = f"free features, $K={len(sizes)}$, $N={sum(sizes)}$, $d={width}$"
    depth_legend(figure, colours, text, experiment)
    return figure, pd.concat(drawn, ignore_index=True)
