"""Figure: the ETF error of class means beside its floor."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from collapse.plotting import THEORY, TWO_COLUMNS, ordered_colours, over_seeds, seed_points
from collapse.studies import Results
from collapse.studies.linguistic.models import models
from collapse.studies.linguistic.panels import TEXTS, depths_of
from collapse.studies.linguistic.published import CLASSES, ETF_ERROR, WIDEST
from collapse.studies.sentences import UNFINISHED, span
from collapse.theory.linguistic import etf_floor

NARROWEST = 64
"""Features of the paper's narrowest models."""
_MODELS = "0.75"


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiments = {name: experiments[name] for name in TEXTS}
    colours = ordered_colours(depths_of(experiments))
    figure, axes = plt.subplots(
        1, len(experiments) + 1, figsize=(TWO_COLUMNS, 2.3), sharey=True, squeeze=False
    )
    drawn = []
    for panel, (name, experiment) in zip(axes[0], experiments.items(), strict=False):
        rows = _measured(experiment)
        _draw_points(panel, rows, colours)
        for classes in rows["classes"].unique()[:1]:
            _draw_floor(panel, rows["width"].min(), rows["width"].max(), classes)
        data = experiment.config["labels"]["data"]
        panel.set_title(data, loc="left", fontsize=7)
        drawn.append(rows.assign(experiment=name, data=data))
    last = axes[0, -1]
    _draw_floor(last, NARROWEST, WIDEST, CLASSES)
    last.axhspan(*ETF_ERROR, color=_MODELS, linewidth=0, zorder=0)
    last.set_title(f"the paper's $K={CLASSES}$", loc="left", fontsize=7)
    for panel in axes[0]:
        panel.set_xlabel("width $d$")
    axes[0, 0].set_ylabel("NC2 (ETF), unweighted")
    axes[0, 0].set_ylim(bottom=0)
    handles = [
        Line2D([], [], color=c, marker="o", linestyle="", label=f"depth {n}")
        for n, c in colours.items()
    ]
    handles.append(Line2D([], [], label="floor of rank $d$", **THEORY))
    handles.append(Patch(color=_MODELS, linewidth=0, label="range of the paper's models"))
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), borderaxespad=0.2
    )
    return figure, pd.concat(drawn, ignore_index=True)


def _measured(experiment: Results) -> pd.DataFrame:
    """Return median and range over seeds and decays of the last epoch, with the floor."""
    table = models(experiment).dropna(subset="NC2_ETF_unweighted")
    rows = over_seeds(table, ["width", "depth", "classes"], "NC2_ETF_unweighted")
    sizes = zip(rows["width"], rows["classes"], strict=True)
    floors = [etf_floor(int(width), int(classes)) for width, classes in sizes]
    return rows.assign(floor=np.array(floors, dtype=float))


def _draw_points(axes: Axes, rows: pd.DataFrame, colours: Mapping) -> None:
    # Side by side: depths hardly differ.
    places = np.arange(len(colours)) - (len(colours) - 1) / 2
    offsets = dict(zip(colours, 1.09**places, strict=True))
    for depth, part in rows.groupby("depth"):
        part = part.assign(width=part["width"] * offsets[depth])
        seed_points(axes, part, "width", color=colours[depth], markersize=3)


def _draw_floor(axes: Axes, first: float, last: float, classes: float) -> None:
    widths = np.unique(np.geomspace(first / 1.2, 1.2 * last, 60).round().clip(min=1)).astype(int)
    axes.plot(widths, [etf_floor(int(width), int(classes)) for width in widths], **THEORY)
    axes.set_xscale("log", base=2)
    ticks = 2 ** np.arange(np.ceil(np.log2(first)), np.log2(last) + 0.1)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    parts = [_of_text(part) for _, part in rows.groupby("experiment", sort=False)]
    if not parts:
        return UNFINISHED
    low, high = (etf_floor(width, CLASSES) for width in (WIDEST, NARROWEST))
    least, most = ETF_ERROR
    parts.append(
        f"At the paper's {CLASSES} classes the floor is {low:.3f} to {high:.3f}, the error of its "
        f"models {least} to {most}."
    )
    return " ".join(parts)


def _of_text(rows: pd.DataFrame) -> str:
    """Say how far above its floor the error is."""
    above = rows["median"] - rows["floor"]
    return (
        f"On the {rows['data'].iloc[0]} the median ETF error is {span(rows['median'])} where its "
        f"floor is {span(rows['floor'])}, {span(above)} above it."
    )
