"""Figure: what is left of the link with validation loss between seeds of one size."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS, category_colours
from collapse.studies import Results
from collapse.studies.linguistic.models import LOSS, models, partial_effect
from collapse.studies.linguistic.panels import SYMBOLS
from collapse.studies.linguistic.published import PEARSON, SEEDS
from collapse.studies.sentences import UNFINISHED, listed, number

METRICS = tuple(PEARSON)


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["grammar_seeds"]
    (colour,) = category_colours(["seeds"]).values()
    table = models(experiment)
    figure, axes = plt.subplots(2, 3, figsize=(TWO_COLUMNS, 4.1))
    drawn = []
    for panel, metric in zip(axes.ravel(), METRICS, strict=True):
        points = table[["seed", LOSS, metric]].rename(columns={metric: "value"})
        correlation, chance = partial_effect(points["value"], points[LOSS])
        _draw_panel(panel, points, metric, correlation, chance, colour)
        drawn.append(points.assign(metric=metric, correlation=correlation, p=chance))
    for panel in axes[-1]:
        panel.set_xlabel("validation loss (nats)")
    labels = experiment.config["labels"]
    figure.suptitle(f"{labels['model']} on {labels['data']}", x=0.01, ha="left", fontsize=7)
    return figure, pd.concat(drawn, ignore_index=True).assign(data=labels["data"])


def _draw_panel(
    axes: Axes, points: pd.DataFrame, metric: str, correlation: float, chance: float, colour: tuple
) -> None:
    """Draw seeds as points, and the line of least squares through them."""
    axes.plot(points[LOSS], points["value"], "o", color=colour, markersize=3)
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(axis="x", nbins=4)
    axes.margins(x=0.08, y=0.12)
    text = SYMBOLS[metric]
    if not np.isnan(correlation):
        slope, offset = np.polyfit(points[LOSS], points["value"], 1)
        ends = np.array([points[LOSS].min(), points[LOSS].max()])
        axes.plot(ends, offset + slope * ends, color="0.4", linewidth=0.8)
        text += f"\n$r={correlation:.2f}$, $p={chance:.2g}$"
    text += "\npaper: $r={:.2f}$, $p={:.2g}$".format(*PEARSON[metric])
    axes.set_title(text, loc="left", fontsize=7)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    losses = rows.groupby("seed")[LOSS].first()
    texts = [
        f"{part['correlation'].iloc[0]:.2f} (p = {number(part['p'].iloc[0])}) of {SYMBOLS[metric]}"
        for metric, part in rows.groupby("metric", sort=False)
        if part["correlation"].notna().all()
    ]
    if not texts:
        return f"Of {len(losses)} seed no correlation is defined."
    return (
        f"Over {len(losses)} seeds (paper {SEEDS}), whose validation loss is "
        f"{losses.mean():.4f} +- {losses.std():.4f} nats, Pearson's correlation with it is "
        f"{listed(texts)}."
    )
