"""Figure: singular values of the response to a change of H_0, and what it leaves of changes."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import THEORY, TWO_COLUMNS, ordered_colours, over_seeds
from collapse.studies import Results
from collapse.studies.perturbation.analysis import shape, spectrum
from collapse.theory.perturbation import predict


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["response"]
    values = spectrum(experiment, "block_singular_value")
    betas = sorted(values["beta"].unique())[:2]
    colours = ordered_colours(sorted(values["feature_decay"].unique()))
    figure, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.6))
    drawn = []
    for panel, beta in zip(axes, betas, strict=False):
        for decay, colour in colours.items():
            rows = values[(values["beta"] == beta) & (values["feature_decay"] == decay)]
            if len(rows):
                drawn += _staircase(panel, experiment, rows, colour)
        panel.set_title(rf"$\beta={beta:g}$", loc="left")
        panel.set_xlabel("singular value of $F_{kk}$")
    axes[0].set_ylabel("size")
    for panel in axes[len(betas) : 2]:
        panel.set_axis_off()
    drawn += _remainder(axes[2], experiments["generic_response"])
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=rf"$\lambda_H={decay:g}$")
        for decay, colour in colours.items()
    ]
    handles.append(Line2D([], [], label="closed form", **THEORY))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure, pd.concat(drawn, ignore_index=True)


def _staircase(
    axes: Axes, experiment: Results, rows: pd.DataFrame, colour: tuple
) -> list[pd.DataFrame]:
    """Draw one spectrum, largest first, on the levels of the closed form."""
    keys = ["beta", "weight_decay", "feature_decay"]
    points = over_seeds(rows, [*keys, "index"]).sort_values("index")
    axes.plot(points["index"] + 1, points["median"], "o", color=colour, markersize=2.5)
    levels = predict(**shape(experiment), **{key: rows[key].iloc[0] for key in keys})["f_kk"]
    stairs = np.repeat(
        [level["value"] for level in levels], [level["multiplicity"] for level in levels]
    )
    axes.step(np.arange(1, len(stairs) + 1), stairs, where="mid", **THEORY)
    theory = points[[*keys, "index"]].assign(median=stairs[: len(points)])
    return [points.assign(series="measured"), theory.assign(series="closed form")]


def _remainder(axes: Axes, experiment: Results) -> list[pd.DataFrame]:
    """Draw what the linear response leaves, over the size of the change squared."""
    points = experiment.points("response")
    rows = points.assign(value=points["error"] / points["size"] ** 2)
    rows = over_seeds(rows, ["beta", "size"]).sort_values("size")
    colours = ordered_colours(sorted(rows["beta"].unique()))
    for beta, line in rows.groupby("beta"):
        axes.plot(line["size"], line["median"], "o-", color=colours[beta])
        axes.annotate(
            rf"$\beta={beta:g}$", (line["size"].iloc[0], line["median"].iloc[0]), fontsize=6,
            xytext=(0, 4), textcoords="offset points",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low / 2, high * 3)
    axes.set_xlabel(r"size of the change, $\|dH_0\|$")
    axes.set_ylabel(r"$\|dH-F\,dH_0\|\,/\,\|dH_0\|^2$")
    axes.set_title("$H_0$ not collapsed", loc="left")
    return [rows.assign(series="remainder")]
