"""Figure: how much latents carry as the given x says more of y."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import (
    THEORY,
    TWO_COLUMNS,
    category_colours,
    ordered_colours,
    over_seeds,
    seed_points,
)
from collapse.studies import Results
from collapse.studies.posterior_collapse.analysis import closed_form, listed, single
from collapse.studies.sentences import UNFINISHED, number
from collapse.studies.sentences import listed as spoken

_CURVE = 200


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["correlation"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.4))
    grid = np.linspace(0, 1, _CURVE)
    forms = [closed_form(experiment, correlation=r) for r in grid]
    total = single(experiment, "KL")
    colour = category_colours(["KL"])["KL"]
    drawn = [_draw(left, total, colour).assign(series="measured", latent=-1)]
    drawn.append(_curve(left, grid, np.array([form["KL"] for form in forms])).assign(latent=-1))
    rows = listed(experiment, "KL_latent")
    latents = sorted(rows["latent"].unique())
    colours = ordered_colours(latents)
    for latent in latents:
        part = rows[rows["latent"] == latent]
        drawn.append(_draw(right, part, colours[latent]).assign(series="measured", latent=latent))
        values = np.array([form["KL_latent"][latent] for form in forms])
        drawn.append(_curve(right, grid, values).assign(latent=latent))
    left.set_ylabel("KL of all latents (nats)")
    right.set_ylabel("KL of each latent (nats)")
    for panel in (left, right):
        panel.set_xlabel("correlation $r$ of $x$ and $y$")
        panel.set_xlim(-0.02, 1.02)
        panel.set_ylim(bottom=-0.02 * panel.get_ylim()[1])
    dot = {"marker": "o", "linestyle": ""}
    handles = [Line2D([], [], color=colour, label="all latents", **dot)]
    handles += [Line2D([], [], color=colours[i], label=f"$z_{i + 1}$", **dot) for i in latents]
    handles.append(Line2D([], [], label="closed form", **THEORY))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles),
                  borderaxespad=0.2, columnspacing=1.2, handletextpad=0.4)  # fmt: skip
    return figure, pd.concat(drawn, ignore_index=True)


def _draw(axes: Axes, rows: pd.DataFrame, colour: tuple) -> pd.DataFrame:
    table = over_seeds(rows, ["correlation"]).sort_values("correlation")
    style = {"color": colour, "markersize": 3.5, "zorder": 3, "clip_on": False}
    seed_points(axes, table, "correlation", **style)
    predicted = rows.groupby("correlation")["predicted"].first().reset_index()
    return table.merge(predicted, on="correlation")


def _curve(axes: Axes, grid: np.ndarray, values: np.ndarray) -> pd.DataFrame:
    axes.plot(grid, values, zorder=1, **(THEORY | {"linewidth": 0.8}))
    return pd.DataFrame({"correlation": grid, "predicted": values, "series": "closed form"})


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    found = rows[(rows["series"] == "measured") & (rows["latent"] == -1)]
    if found.empty:
        return UNFINISHED
    parts = [
        f"{number(row.median) if row.median > 1e-6 else '0'} (closed form {number(row.predicted)})"
        f" at r = {row.correlation:g}"
        for row in found.itertuples(index=False)
    ]
    return f"The median KL divergence in nats is {spoken(parts)}."
