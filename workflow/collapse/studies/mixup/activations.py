"""Figure: features of mixed samples of three classes, by network and data set."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import ONE_COLUMN, TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import left_out, pictured, points


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    shown = {(network, data): each for network, data, each in pictured(experiments)}
    networks = list(dict.fromkeys(network for network, _ in shown))
    data_sets = list(dict.fromkeys(data for _, data in shown))
    width = min(TWO_COLUMNS, max(ONE_COLUMN, 2.3 * len(data_sets)))
    figure, axes = plt.subplots(
        len(networks), len(data_sets), squeeze=False,
        figsize=(width, width / len(data_sets) * len(networks) + 0.3),
    )  # fmt: skip
    drawn = []
    for row, network in enumerate(networks):
        for column, data in enumerate(data_sets):
            panel, experiment = axes[row, column], shown.get((network, data))
            triangle.bare(panel)
            panel.set_title(data if row == 0 else "")
            panel.set_ylabel(network if column == 0 else "")
            # Not every network is trained on every data set.
            if experiment is not None:
                rows = triangle.panel(panel, experiment.at_last(points(experiment)))
                drawn.append(triangle.table(rows, network=network, data=data))
    figure.text(0.01, 0.01, left_out(experiments), fontsize=7)
    triangle.legend(figure)
    return figure, pd.concat(drawn, ignore_index=True)
