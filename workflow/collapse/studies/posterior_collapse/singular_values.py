"""Figure: singular values of the decoder and stds of the encoder, beside their closed forms."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from collapse.plotting import THEORY, TWO_COLUMNS, ordered_colours, over_seeds, seed_points
from collapse.studies import Results
from collapse.studies.posterior_collapse.analysis import closed_form, listed, thetas
from collapse.studies.sentences import UNFINISHED, number

_METRICS = {
    "decoder_singular_values": r"singular values $\lambda_i$ of $U_1$",
    "encoder_std": r"std $\sigma_i$ of the encoder",
}
_CURVE = 120
"""Points of a closed form's curve."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["linear_cvae"]
    stds = sorted(experiment.metrics["decoder_std"].unique())
    eigenvalues = thetas(experiment)
    colours = ordered_colours(range(len(eigenvalues)))
    figure, axes = plt.subplots(
        len(_METRICS), len(stds), figsize=(TWO_COLUMNS, 3.7), sharex=True, sharey="row",
        squeeze=False,
    )  # fmt: skip
    drawn = []
    for line, (metric, label) in zip(axes, _METRICS.items(), strict=True):
        rows = listed(experiment, metric)
        line[0].set_ylabel(label)
        for panel, std in zip(line, stds, strict=True):
            here = rows[rows["decoder_std"] == std]
            drawn += _draw_curves(panel, experiment, metric, std)
            table = over_seeds(here, ["beta", "latent"])
            for latent, part in table.groupby("latent"):
                seed_points(panel, part, "beta", markersize=3.5, color=colours[latent])
            predicted = here.groupby(["beta", "latent"])["predicted"].first().reset_index()
            table = table.merge(predicted, on=["beta", "latent"])
            drawn.append(table.assign(metric=metric, decoder_std=std, series="measured"))
    for panel, std in zip(axes[0], stds, strict=True):
        panel.set_title(f"$e={std:g}$", loc="left")
    betas = sorted(experiment.metrics["beta"].unique())
    for panel in axes[-1]:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(FixedLocator(betas))
        panel.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xlabel(r"$\beta$")
    for line in axes:
        line[0].set_ylim(bottom=0)
    handles = [
        Line2D([], [], color=colours[i], marker="o", linestyle="", label=rf"$\theta_{i + 1}={v:g}$")
        for i, v in enumerate(np.round(eigenvalues, 3))
    ]
    handles.append(Line2D([], [], **THEORY, label="closed form"))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), borderaxespad=0.2,
                  columnspacing=1.0, handletextpad=0.4)  # fmt: skip
    return figure, pd.concat(drawn, ignore_index=True)


def _draw_curves(axes: Axes, experiment: Results, metric: str, std: float) -> list[pd.DataFrame]:
    """Draw the closed form between the least and the largest beta; return what is drawn."""
    betas = experiment.metrics["beta"]
    grid = np.geomspace(betas.min() / 1.2, betas.max() * 1.2, _CURVE)
    values = np.array([closed_form(experiment, beta=b, decoder_std=std)[metric] for b in grid])
    for latent in range(values.shape[1]):
        axes.plot(grid, values[:, latent], zorder=1, **(THEORY | {"linewidth": 0.7}))
    place = {"metric": metric, "decoder_std": std, "series": "closed form"}
    return [
        pd.DataFrame({"beta": grid, "latent": latent, "predicted": column}).assign(**place)
        for latent, column in enumerate(values.T)
    ]


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    found = rows[rows["series"] == "measured"]
    if found.empty:
        return UNFINISHED
    names = {"decoder_singular_values": "singular values", "encoder_std": "stds"}
    parts = []
    for metric, part in found.groupby("metric", sort=False):
        ends = pd.concat([part["low"] - part["predicted"], part["high"] - part["predicted"]])
        parts.append(f"of {names[metric]} by {number(ends.abs().max())}")
    collapsed = found[found["metric"] == "decoder_singular_values"]
    count = int((collapsed["predicted"] == 0).sum())
    return (
        f"The largest distance from the closed form over all seeds is {' and '.join(parts)}; "
        f"theory has {count} of {len(collapsed)} latents collapsed, whose largest measured "
        f"singular value is {_largest(collapsed)}."
    )


def _largest(rows: pd.DataFrame) -> str:
    collapsed = rows[rows["predicted"] == 0]
    return number(collapsed["high"].max()) if len(collapsed) else "of none"
