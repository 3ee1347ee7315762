"""Figure: metrics and validation loss against width and depth."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from collapse.plotting import THEORY, TWO_COLUMNS, ordered_colours, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.linguistic.models import LOSS, models
from collapse.studies.linguistic.panels import SYMBOLS, TEXTS, depths_of, ordinate
from collapse.studies.sentences import UNFINISHED, number, span

METRICS = (
    LOSS, "CDNV", "GNC2_log_variance_unweighted", "duality_cosine_variance_unweighted",
    "NC4_held_out",
)  # fmt: skip


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiments = {name: experiments[name] for name in TEXTS}
    colours = ordered_colours(depths_of(experiments))
    figure, axes = plt.subplots(
        len(experiments), len(METRICS), figsize=(TWO_COLUMNS, 1.6 * len(experiments) + 0.35),
        squeeze=False, sharex="row",
    )  # fmt: skip
    drawn = []
    for line, (name, experiment) in zip(axes, experiments.items(), strict=True):
        table = models(experiment)
        for panel, metric in zip(line, METRICS, strict=True):
            rows = _curve(table, metric)
            _draw_panel(panel, rows, metric, colours)
            drawn.append(rows.assign(experiment=name, data=experiment.config["labels"]["data"]))
        entropy = table["entropy"].max()
        if not np.isnan(entropy):
            line[0].axhline(entropy, **THEORY)
        drawn[-len(METRICS)] = drawn[-len(METRICS)].assign(entropy=entropy)
        line[0].set_ylabel(experiment.config["labels"]["data"])
    for panel in axes[-1]:
        panel.set_xlabel("width $d$")
    handles = [Line2D([], [], color=c, marker="o", label=f"depth {n}") for n, c in colours.items()]
    handles.append(Line2D([], [], label="entropy of the grammar", **THEORY))
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), borderaxespad=0.2
    )
    return figure, pd.concat(drawn, ignore_index=True)


def _curve(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return median and range over seeds and decays by width and depth."""
    rows = table[["width", "depth", metric]].dropna().rename(columns={metric: "value"})
    return over_seeds(rows, ["width", "depth"]).assign(metric=metric)


def _draw_panel(axes: Axes, rows: pd.DataFrame, metric: str, colours: Mapping) -> None:
    # Depths often lie on each other: the later, thinner lines leave the earlier ones visible.
    sizes = dict(zip(colours, np.linspace(2.0, 0.9, len(colours)), strict=True))
    for depth, line in rows.groupby("depth"):
        look = {"linewidth": sizes[depth], "markersize": 2.2 * sizes[depth]}
        seed_band(axes, line, "width", color=colours[depth], marker="o", **look)
    ordinate(axes, metric, rows["median"])
    axes.set_xscale("log", base=2)
    widths = sorted(rows["width"].unique())
    axes.set_xticks(widths, [f"{width:g}" for width in widths])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(SYMBOLS[metric], loc="left", fontsize=7)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    parts = [_of_text(part) for _, part in rows.groupby("experiment", sort=False)]
    return " ".join(parts) or UNFINISHED


def _of_text(rows: pd.DataFrame) -> str:
    """Say from where to where each metric goes from the narrowest models to the widest."""
    data = rows["data"].iloc[0]
    texts = []
    for metric, part in rows.groupby("metric", sort=False):
        ends = (part["width"].min(), part["width"].max())
        first, last = (span(part.loc[part["width"] == d, "median"]) for d in ends)
        texts.append(f"{SYMBOLS[metric]} {first} ({last})")
    entropy = rows["entropy"].max()
    least = rows.loc[rows["metric"] == LOSS, "median"].min()
    further = "" if np.isnan(entropy) else (
        f" The lowest median loss is {number(least)} nats, the entropy of the text's own law on it "
        f"{number(entropy)}."
    )  # fmt: skip
    return (
        f"On the {data} the medians at width d = {ends[0]} (at d = {ends[1]}) are, over depths, "
        f"{'; '.join(texts)}.{further}"
    )
