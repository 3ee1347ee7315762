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
from collapse.studies.perturbation.common import MINIMISER
from collapse.studies.sentences import UNFINISHED, listed, number, span
from collapse.theory.perturbation import predict

_KEYS = ["beta", "weight_decay", "feature_decay"]


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["response"]
    values = spectrum(experiment, "block_singular_value")
    betas = sorted(values["beta"].unique())[:2]
    decays = sorted(values["feature_decay"].unique())
    # Without the darkest shade, which would hide the closed form.
    colours = dict(zip(decays, ordered_colours([*decays, None]).values(), strict=False))
    figure, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.6))
    # To first order in 1/beta the height does not depend on it: one axis for both.
    axes[1].sharey(axes[0])
    drawn = []
    for panel, beta in zip(axes, betas, strict=False):
        for decay, colour in colours.items():
            rows = values[(values["beta"] == beta) & (values["feature_decay"] == decay)]
            if len(rows):
                drawn += _staircase(panel, experiment, rows, colour)
        panel.set_title(rf"$\beta={beta:g}$", loc="left")
        panel.set_xlabel("number $i$")
    axes[0].set_ylabel(r"$\beta\,(1-\sigma_i)$, $\sigma_i$ of $F_{kk}$")
    for panel in axes[len(betas) : 2]:
        panel.set_axis_off()
    drawn += _remainder(axes[2], experiments["generic_response"])
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=rf"$\lambda_H={decay:g}$")
        for decay, colour in colours.items()
    ]
    handles.append(Line2D([], [], label="closed form", **THEORY))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure, pd.concat(drawn, ignore_index=True)


def _staircase(
    axes: Axes, experiment: Results, rows: pd.DataFrame, colour: tuple
) -> list[pd.DataFrame]:
    """Draw beta (1 - singular value), largest value first, on the levels of the closed form."""
    beta = rows["beta"].iloc[0]
    points = over_seeds(rows.assign(value=beta * (1 - rows["value"])), [*_KEYS, "index"])
    points = points.sort_values("index")
    axes.plot(points["index"] + 1, points["median"], "o", color=colour, markersize=2.5)
    levels = predict(**shape(experiment), **{key: rows[key].iloc[0] for key in _KEYS})["f_kk"]
    counts = [level["multiplicity"] for level in levels]
    heights = beta * (1 - np.array([level["value"] for level in levels]))
    # Without the steps between: those of all decays would lie on each other.
    for height, count, last in zip(heights, counts, np.cumsum(counts), strict=True):
        axes.plot([last - count + 0.5, last + 0.5], [height, height], **THEORY)
    stairs = np.repeat(heights, counts)
    theory = points[[*_KEYS, "index"]].assign(median=stairs[: len(points)])
    return [points.assign(series="measured"), theory.assign(series="closed form")]


def _remainder(axes: Axes, experiment: Results) -> list[pd.DataFrame]:
    """Draw what the linear response leaves, over the size of the change squared."""
    points = experiment.completed(experiment.points("response"))
    rows = points.assign(value=points["error"] / points["size"] ** 2)
    rows = over_seeds(rows, ["beta", "size"]).sort_values("size")
    for beta, line in rows.groupby("beta"):
        axes.plot(line["size"], line["median"], "o-", color=MINIMISER)
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


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    sentences = [*_of_spectrum(rows), *_of_remainder(rows[rows["series"] == "remainder"])]
    return " ".join(sentences) or UNFINISHED


def _of_spectrum(rows: pd.DataFrame) -> list[str]:
    measured, theory = (
        rows[rows["series"] == name].assign(value=lambda part: 1 - part["median"] / part["beta"])
        for name in ("measured", "closed form")
    )
    if measured.empty:
        return []
    both = measured.merge(theory, on=[*_KEYS, "index"], suffixes=("", "_theory"))
    spans = [
        f"{span(part['value'])} at beta = {beta:g} (closed form {span(part['value_theory'])})"
        for beta, part in both.groupby("beta")
    ]
    gap = (both["value"] - both["value_theory"]).abs().max()
    return [
        f"Over all decays the singular values are {listed(spans)}; none is further than "
        f"{number(gap)} from its closed form."
    ]


def _of_remainder(rows: pd.DataFrame) -> list[str]:
    if rows.empty:
        return []
    lines = [(beta, line.sort_values("size")["median"]) for beta, line in rows.groupby("beta")]
    shown = [f"{number(line.iloc[0])} at beta = {beta:g}" for beta, line in lines]
    change = max(line.max() / line.min() - 1 for _, line in lines)
    return [
        f"Where H_0 is not collapsed, the remainder over the squared size of the smallest change "
        f"is {listed(shown)}; over all sizes it varies by {number(change)} of itself at most, "
        "where theory has a constant for small changes."
    ]
