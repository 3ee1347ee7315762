"""Figure: the loss of the graph solution over that of DNC, against the graph's vertices."""

from collections.abc import Mapping
from math import comb

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import ONE_COLUMN, THEORY, ordered_colours
from collapse.studies import Results
from collapse.studies.dufm_lowrank.analysis import hyperparameters, relative_losses
from collapse.studies.sentences import UNFINISHED, listed, number
from collapse.theory.dufm_lowrank import collapsed_loss, graph_vertices

VERTICES = range(4, 11)
START, END, CLOSED = "SRG", "after descent", "closed form"


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["ratio"]
    rows = _rows(experiment)
    depths = sorted(rows["depth"].unique())
    colours = ordered_colours(depths)
    figure, axes = plt.subplots(figsize=(ONE_COLUMN, 2.7))
    axes.axhline(1, color="0.8", linewidth=0.6, zorder=0)
    for depth in depths:
        lines = {name: part for name, part in rows[rows["depth"] == depth].groupby("series")}
        closed, start, end = (lines.get(name) for name in (CLOSED, START, END))
        axes.plot(closed["vertices"], closed["value"], **THEORY)
        # Where runs diverged there is no point.
        if start is not None:
            axes.plot(
                start["vertices"], start["value"], "o", color=colours[depth], markersize=5,
                markerfacecolor="white",
            )  # fmt: skip
            axes.plot(end["vertices"], end["value"], "o", color=colours[depth], markersize=2.2)
        last = closed.iloc[-1]
        axes.annotate(
            f"$L={depth}$", (last["vertices"], last["value"]), xytext=(6, 0), va="center",
            textcoords="offset points", color=colours[depth], fontsize=7, annotation_clip=False,
        )  # fmt: skip
    axes.set_xticks(VERTICES, [f"{r}\n{comb(r, 2)}" for r in VERTICES])
    axes.set_xlabel("vertices $r$ and classes $K=r(r-1)/2$")
    axes.set_ylabel(r"$\mathcal{L}_{\mathrm{SRG}}\,/\,\mathcal{L}_{\mathrm{DNC}}$")
    figure.legend(handles=_handles(), loc="outside lower center", ncols=3, columnspacing=1.0)
    return figure, rows


def _handles() -> list[Line2D]:
    ring = {"color": "0.3", "linestyle": "", "marker": "o"}
    return [
        Line2D([], [], label=START, markersize=5, markerfacecolor="white", **ring),
        Line2D([], [], label=CLOSED, **THEORY),
        Line2D([], [], label=END, markersize=2.2, **ring),
    ]


def _rows(experiment: Results) -> pd.DataFrame:
    """Return ratios by depth, vertices and series; of closed forms at every r on the axis."""
    grid, problem = experiment.config["grid"], experiment.config["problem"]
    parts = []
    for name, first in ((START, True), (END, False)):
        found = relative_losses(experiment, first)
        vertices = found["classes"].map(graph_vertices)
        parts.append(found.assign(vertices=vertices, series=name))
    theory = [
        {"depth": depth, "vertices": r, "value": _closed_form(experiment, depth, r)}
        for depth in grid.get("problem.depth", [problem["depth"]])
        for r in VERTICES
    ]
    parts.append(pd.DataFrame(theory).assign(series=CLOSED))
    columns = ["depth", "vertices", "series", "value", "seed"]
    return pd.concat(parts, ignore_index=True)[columns]


def _closed_form(experiment: Results, depth: int, vertices: int) -> float:
    classes = comb(vertices, 2)
    values = hyperparameters(experiment, {"classes": classes, "depth": depth})
    return collapsed_loss(classes, **values) / collapsed_loss(0, **values)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    start = rows[rows["series"] == START]
    if start.empty:
        return UNFINISHED
    place = ["depth", "vertices"]
    closed = rows[rows["series"] == CLOSED].set_index(place)["value"]
    start = start.set_index(place)["value"]
    end = rows[rows["series"] == END].set_index(place)["value"]
    off = (start / closed.reindex(start.index) - 1).abs().max()
    above = [f"r = {r}, L = {depth} ({number(v)})" for (depth, r), v in start.items() if v > 1]
    gains = (1 - end / start) * 100
    graphs = gains[gains.index.get_level_values("vertices") > 4]
    four = gains[gains.index.get_level_values("vertices") == 4]
    least = start.idxmin()
    parts = [
        f"at most {number(part.max())} % with {name}"
        for part, name in ((graphs, "r of 5 and more"), (four, "r = 4"))
        if len(part)
    ]
    return (
        f"The losses of SRG solutions, {len(start)} in number, are no further than "
        f"{number(off)} from the closed form, relatively. The least ratio is "
        f"{number(start.min())}, at L = {least[0]} and r = {least[1]}; DNC is better at "
        f"{listed(above) if above else 'none of them'}. Descent from them gains {listed(parts)}."
    )
