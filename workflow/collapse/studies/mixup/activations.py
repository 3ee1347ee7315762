"""Figure: features of mixed samples of three classes, by network and data set."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import left_out, pictured, points
from collapse.studies.sentences import UNFINISHED, listed

_WIDEST = 4


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    shown = list(pictured(experiments))
    # A row if they fit in one; else in threes, as the paper has its data sets.
    columns = len(shown) if len(shown) <= _WIDEST else 3
    lines = int(np.ceil(len(shown) / columns))
    width = TWO_COLUMNS / max(columns, 3)
    figure, axes = plt.subplots(
        lines, columns, squeeze=False, figsize=(width * max(columns, 2), width * lines + 0.4)
    )
    drawn = []
    for panel in axes.flat:
        triangle.bare(panel)
    for panel, (network, data, experiment) in zip(axes.flat, shown, strict=False):
        rows = triangle.panel(panel, experiment.at_last(points(experiment)))
        drawn.append(triangle.table(rows, network=network, data=data))
        panel.set_title(f"{network}\n{data}")
    figure.suptitle(left_out(experiments), x=0.01, ha="left", fontsize=7)
    triangle.legend(figure)
    return figure, pd.concat(drawn, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    parts = triangle.reaches(rows, ["network", "data"], "in {} on {}") if len(rows) else []
    if not parts:
        return UNFINISHED
    return (
        "For lambda between 0.4 and 0.6 pairs of two classes lie this many times as far from the "
        f"centre as the convex combination of both class means: {listed(parts)}; the closed form "
        "of cross-entropy has between 1 and 2, the more the smaller the decay of the features."
    )
