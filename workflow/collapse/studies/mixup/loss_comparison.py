"""Figure: where cross-entropy, cross-entropy with mixup and MSE with mixup put mixed features."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import LOSSES, heading, points
from collapse.studies.sentences import UNFINISHED, listed


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, axes = plt.subplots(1, len(LOSSES), figsize=(TWO_COLUMNS, 2.7))
    drawn = []
    for panel, (name, label) in zip(axes, LOSSES.items(), strict=True):
        experiment = experiments[name]
        rows = triangle.panel(panel, experiment.at_last(points(experiment)))
        drawn.append(triangle.table(rows, loss=label))
        panel.set_title(label)
    figure.suptitle(heading(experiments), x=0.01, ha="left", fontsize=7)
    triangle.legend(figure)
    return figure, pd.concat(drawn, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    parts = triangle.reaches(rows, ["loss"], "with {}") if len(rows) else []
    if not parts:
        return UNFINISHED
    return (
        "For lambda between 0.4 and 0.6 pairs of two classes lie this many times as far from the "
        f"centre as the convex combination of both class means: {listed(parts)}; the closed form "
        "has between 1 and 2 for CE + mixup and 1 for MSE + mixup, and says nothing of CE without "
        "mixup."
    )
