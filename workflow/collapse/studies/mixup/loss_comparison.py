"""Figure: where cross-entropy, cross-entropy with mixup and MSE with mixup put mixed features."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import LOSSES, heading, points


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, axes = plt.subplots(1, len(LOSSES), figsize=(TWO_COLUMNS, 2.6))
    drawn = []
    for panel, (name, label) in zip(axes, LOSSES.items(), strict=True):
        experiment = experiments[name]
        rows = triangle.panel(panel, experiment.at_last(points(experiment)))
        drawn.append(triangle.table(rows, loss=label))
        panel.set_title(label)
    figure.text(0.01, 0.01, heading(experiments), fontsize=7)
    triangle.legend(figure)
    return figure, pd.concat(drawn, ignore_index=True)
