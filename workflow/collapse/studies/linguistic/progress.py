"""Figure: every metric of every model against its validation loss."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS, by_rows, ordered_colours
from collapse.studies import Results
from collapse.studies.linguistic.models import LOSS, models, spearman
from collapse.studies.linguistic.panels import (
    SYMBOLS,
    TEXTS,
    depths_of,
    dots,
    markers_of,
    ordinate,
    shapes,
    widths_of,
)
from collapse.studies.linguistic.published import SPEARMAN
from collapse.studies.sentences import UNFINISHED, listed

METRICS = (
    "CDNV", "CDNV_2", "log_norm_variance_unweighted", "GNC2_log_variance_unweighted",
    "duality_cosine_mean_unweighted", "duality_cosine_variance_unweighted", "NC4_held_out",
)  # fmt: skip
COLUMNS = 4


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiments = {name: experiments[name] for name in TEXTS}
    colours, markers = ordered_colours(widths_of(experiments)), markers_of(depths_of(experiments))
    rows = 2 * len(experiments)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(TWO_COLUMNS, 1.6 * rows + 0.2))
    drawn = []
    for number, (name, experiment) in enumerate(experiments.items()):
        panels = axes[2 * number : 2 * number + 2].ravel()
        table = models(experiment, every_epoch=True)
        for panel, metric in zip(panels, METRICS, strict=False):
            points = table[["width", "depth", "step", LOSS, metric]].rename(
                columns={metric: "value"}
            )
            _draw_panel(panel, points, metric, colours, markers)
            drawn.append(points.assign(experiment=name, metric=metric, data=_data(experiment)))
        for panel in panels[-COLUMNS:]:
            panel.set_xlabel("validation loss (nats)")
        _legend(panels[-1], experiment, table, colours, markers)
    return figure, pd.concat(drawn, ignore_index=True)


def _data(experiment: Results) -> str:
    return experiment.config["labels"]["data"]


def _draw_panel(
    axes: Axes, points: pd.DataFrame, metric: str, colours: Mapping, markers: Mapping
) -> None:
    """Draw models at their last epoch, and paler before it, with the correlation of the former."""
    last = points["step"] == points["step"].max()
    for (width, depth, end), part in points.groupby(["width", "depth", last.rename("end")]):
        axes.plot(
            part[LOSS], part["value"], linestyle="", marker=markers[depth], color=colours[width],
            markersize=3 if end else 2, alpha=1.0 if end else 0.45, markeredgewidth=0,
        )  # fmt: skip
    ordinate(axes, metric, points["value"])
    found = spearman(points.loc[last, "value"], points.loc[last, LOSS])
    numbers = [] if np.isnan(found) else [rf"$\rho={found:.2f}$"]
    if metric in SPEARMAN:
        numbers.append(f"paper {SPEARMAN[metric]:.2f}")
    axes.set_title(f"{SYMBOLS[metric]}\n{', '.join(numbers)}", loc="left", fontsize=7)


def _legend(
    axes: Axes, experiment: Results, table: pd.DataFrame, colours: Mapping, markers: Mapping
) -> None:
    """Put what colours and markers mean into the panel that has no metric."""
    axes.axis("off")
    classes = table["classes"].max()
    title = _data(experiment) + ("" if np.isnan(classes) else f"\n$K={classes:.0f}$ classes")
    # Of this text's own models.
    widths = {value: colour for value, colour in colours.items() if value in set(table["width"])}
    depths = {value: marker for value, marker in markers.items() if value in set(table["depth"])}
    axes.legend(
        **by_rows([dots(widths, "$d=$"), shapes(depths, "depth")], columns=2), title=title,
        loc="center", fontsize=6, title_fontsize=6.5, columnspacing=0.8, handletextpad=0.2,
        borderaxespad=0,
    )  # fmt: skip


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    parts = [_of_text(part) for _, part in rows.groupby("experiment", sort=False)]
    return " ".join(parts) or UNFINISHED


def _of_text(rows: pd.DataFrame) -> str:
    """Say how strongly each metric goes with the loss, beside the paper's number."""
    data = rows["data"].iloc[0]
    last = rows[rows["step"] == rows["step"].max()]
    texts = []
    for metric, part in last.groupby("metric", sort=False):
        found = spearman(part["value"], part[LOSS])
        if np.isnan(found):
            continue
        paper = f" (paper {SPEARMAN[metric]:.2f})" if metric in SPEARMAN else ""
        texts.append(f"{found:.2f}{paper} of {SYMBOLS[metric]}")
    if not texts:
        return f"No correlation over models of the {data} is defined."
    count = len(last) // last["metric"].nunique()
    return (
        f"Over {count} models of the {data} after the last epoch Spearman's correlation with "
        f"validation loss is {listed(texts)}."
    )
