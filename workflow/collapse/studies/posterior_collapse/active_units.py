"""Figure: how many latents are active, against beta and the decoder's std."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, MaxNLocator, NullLocator

from collapse.plotting import THEORY, TWO_COLUMNS, category_colours, over_seeds, seed_points
from collapse.studies import Results
from collapse.studies.networks import setting
from collapse.studies.posterior_collapse.analysis import (
    closed_form,
    linear_count,
    released_rule,
    single,
    thetas,
)
from collapse.studies.sentences import UNFINISHED, listed

_LINEAR, _NETWORK = "linear CVAE", "network"
_RELEASED = {"color": "0.55", "linestyle": ":", "linewidth": 1.2}
_NETWORKS = {"cvae_beta": ("beta", r"$\beta$"), "cvae_decoder_std": ("decoder_std", "$e$")}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, axes = plt.subplots(
        1, 3, figsize=(TWO_COLUMNS, 2.5), gridspec_kw={"width_ratios": (1.5, 1, 1)}
    )
    axes[2].sharey(axes[1])
    colours = category_colours([_LINEAR, _NETWORK])
    drawn = _draw_staircase(axes[0], experiments["staircase"], colours[_LINEAR])
    for panel, (name, (key, symbol)) in zip(axes[1:], _NETWORKS.items(), strict=True):
        drawn += _draw_network(panel, experiments[name], key, colours[_NETWORK])
        panel.set_xlabel(symbol)
    axes[0].set_ylabel("active latents")
    axes[1].set_ylabel("active units")
    axes[1].annotate(
        "dashed: linear CVAE\non the same images", (1, 0.8), xycoords="axes fraction", ha="right",
        fontsize=6.5,
    )  # fmt: skip
    for panel in axes:
        panel.set_ylim(bottom=-0.3)
        panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    figure.suptitle(setting(experiments["cvae_beta"].config), x=0.99, ha="right", fontsize=7)
    return figure, pd.concat(drawn, ignore_index=True)


def _draw_staircase(axes: Axes, experiment: Results, colour: tuple) -> list[pd.DataFrame]:
    table = _points(single(experiment, "active"), "beta")
    _draw_points(axes, table, colour, "linear CVAE")
    values = thetas(experiment)
    # Where every run diverged there is no largest beta.
    grid = np.linspace(0.01, np.nanmax([table["x"].max(), values.max() * 1.05]), 800)
    closed = np.array([closed_form(experiment, beta=beta)["active"] for beta in grid.tolist()])
    learned = experiment.config["problem"]["encoder_std"] is None
    threshold = r"$\theta>\beta e^2$" if learned else r"$\theta>\beta s^2e^2/p^2$"
    rule = released_rule(experiment, grid)
    axes.plot(grid, rule, zorder=1, label=r"released code: $\theta\geq\sqrt{\beta}e$", **_RELEASED)
    axes.plot(grid, closed, zorder=1, label=threshold, **THEORY)
    axes.set_xlabel(r"$\beta$")
    axes.set_xlim(left=0)
    axes.set_title("linear CVAE", loc="left")
    axes.legend(loc="lower left", handlelength=1.8, borderaxespad=0.2, fontsize=6.5)
    marks = {"experiment": "staircase"}
    lines = [
        pd.DataFrame({"x": grid, "median": line, "series": series}).assign(**marks)
        for line, series in ((closed, "closed form"), (rule, "released code"))
    ]
    return [table.assign(series="measured", **marks), *lines]


def _draw_network(axes: Axes, experiment: Results, key: str, colour: tuple) -> list[pd.DataFrame]:
    table = _points(experiment.last("active_units", "z"), key)
    _draw_points(axes, table, colour, "ReLU CVAE")
    axes.plot(table["x"], table["median"], color=colour, linewidth=0.8, zorder=1)
    name = experiment.config
    other = {"beta": name["decoder_std"], "decoder_std": name["beta"]}[key]
    drawn = [table.assign(series="measured")]
    if len(table):
        grid = np.geomspace(table["x"].min() / 1.2, table["x"].max() * 1.2, 400)
        level = grid * other**2 if key == "beta" else other * grid**2
        count = linear_count(experiment, level)
        axes.plot(grid, count, zorder=1, **THEORY)
        drawn.append(pd.DataFrame({"x": grid, "median": count, "series": "linear model"}))
    _log_marks(axes, table["x"])
    held = f"$e={other:g}$" if key == "beta" else rf"$\beta={other:g}$"
    axes.set_title(f"ReLU CVAE, {held}", loc="left")
    place = "cvae_beta" if key == "beta" else "cvae_decoder_std"
    return [part.assign(experiment=place) for part in drawn]


def _points(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    return over_seeds(rows, [key]).rename(columns={key: "x"}).sort_values("x")


def _draw_points(axes: Axes, table: pd.DataFrame, colour: tuple, label: str) -> None:
    seed_points(axes, table, "x", color=colour, markersize=3.5, zorder=3)


def _log_marks(axes: Axes, values: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(NullLocator())


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    measured = rows[rows["series"] == "measured"]
    if measured.empty:
        return UNFINISHED
    sentences = []
    linear = measured[measured["experiment"] == "staircase"]
    if len(linear):
        right = {
            series: _agreeing(rows[rows["experiment"] == "staircase"], series)
            for series in ("closed form", "released code")
        }
        sentences.append(
            "The linear model has as many active latents as the closed form at "
            f"{right['closed form']} of {len(linear)} values of beta, as the released code's rule "
            f"at {right['released code']}."
        )
    for name, (key, _) in _NETWORKS.items():
        part = measured[measured["experiment"] == name]
        if len(part):
            texts = [f"{row.median:g} at {row.x:g}" for row in part.itertuples(index=False)]
            by = {"decoder_std": "e"}.get(key, key)
            sentences.append(f"The median active units of networks by {by} are {listed(texts)}.")
    return " ".join(sentences)


def _agreeing(rows: pd.DataFrame, series: str) -> int:
    """Return at how many points the median is what a line says there."""
    points, line = rows[rows["series"] == "measured"], rows[rows["series"] == series]
    # Lines are steps on a fine grid: the nearest point of it says what holds.
    nearest = np.abs(line["x"].to_numpy()[None] - points["x"].to_numpy()[:, None]).argmin(1)
    return int((line["median"].to_numpy()[nearest] == points["median"].to_numpy()).sum())
