"""Figure: distances to the general orthogonal frame and the loss gap against the step."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import FLOAT64_FLOOR, over_seeds
from collapse.studies import Experiment
from collapse.studies.analysis import loss_gap
from collapse.studies.curves import (
    clipped,
    curves,
    depth_colours,
    depth_legend,
    diverged_note,
    draw_curves,
    grid_of_panels,
)
from collapse.studies.imbalanced.analysis import frame_panels

_PANELS = frame_panels(FLOAT64_FLOOR, ("loss_gap", "relative loss gap", FLOAT64_FLOOR))


def draw(experiments: Mapping[str, Experiment]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["direct_optimisation"]
    colours = depth_colours(experiment)
    figure, axes = grid_of_panels((0, 1), _PANELS, height=1.5)
    drawn = []
    for (row, column), panel in axes.items():
        metric, _, limit = _PANELS[row][column]
        if metric == "loss_gap":
            gaps = loss_gap(experiment)
            rows = over_seeds(gaps[gaps["step"] > 0], ["depth", "step"])
        else:
            rows = curves(experiment, metric, "H1")
        rows = clipped(rows, limit)
        draw_curves(panel, rows, colours, limit)
        drawn.append(rows.assign(metric=metric))
    for column in range(3):
        axes[1, column].set_xlabel("step")
    axes[0, 0].annotate(
        "below float64", (0.04, 0.05), xycoords="axes fraction", fontsize=6, color="0.4"
    )
    diverged_note(axes[0, 1], experiment)
    problem = experiment.config["problem"]
    sizes = ", ".join(map(str, problem["class_sizes"]))
    text = f"free features, $n=({sizes})$, $d={problem['widths']}$"
    depth_legend(figure, colours, text, experiment)
    return figure, pd.concat(drawn, ignore_index=True)
