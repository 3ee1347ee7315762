"""Figure: which of two levels collapses, by the weights of their KL divergences."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.networks import setting
from collapse.studies.posterior_collapse.analysis import single
from collapse.studies.sentences import UNFINISHED, number

LINEAR, NETWORK = "linear_mhvae", "mhvae"
"""Experiments."""
_COLUMNS = ("active $z_1$", "active $z_2$", "KL of $z_2$ (nats)")
_LINEAR = (("active", "all"), ("active_2", "all"), ("KL_2", "all"))
_NETWORK = (("active_units", "z1"), ("active_units", "z2"), ("test_KL_2", "all"))


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, axes = plt.subplots(2, len(_COLUMNS), figsize=(TWO_COLUMNS, 4.4))
    # Room for what stands above each row.
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.97), hspace=0.09)
    drawn = []
    for line, name, metrics in zip(axes, (LINEAR, NETWORK), (_LINEAR, _NETWORK), strict=True):
        for panel, title, (metric, layer) in zip(line, _COLUMNS, metrics, strict=True):
            table = _medians(experiments[name], metric, layer)
            _draw_table(panel, table, whole=metric != metrics[-1][0])
            panel.set_title(title, loc="left")
            drawn.append(table.assign(experiment=name, metric=metric, layer=layer))
        line[0].set_ylabel(r"$\beta_1$")
    for panel in axes[-1]:
        panel.set_xlabel(r"$\beta_2$")
    texts = ("linear levels (in brackets the closed form)", setting(experiments["mhvae"].config))
    for line, text in zip(axes, texts, strict=True):
        above = line[0].annotate(
            text, (0, 1.16), xycoords="axes fraction", fontsize=7, annotation_clip=False
        )
        # It is wider than its column, which it must not widen.
        above.set_in_layout(False)
    return figure, pd.concat(drawn, ignore_index=True)


def _medians(experiment: Results, metric: str, layer: str) -> pd.DataFrame:
    """Return medians over seeds and, where there is one, the closed form, by both betas."""
    if experiment.predictions.empty:
        rows = experiment.last(metric, layer).assign(predicted=np.nan)
    else:
        rows = single(experiment, metric)
    groups = rows.groupby(["beta_1", "beta_2"])
    table = groups.agg(
        median=("value", "median"), low=("value", "min"), high=("value", "max"),
        predicted=("predicted", "first"),
    )  # fmt: skip
    return table.reset_index()


def _draw_table(axes: Axes, table: pd.DataFrame, whole: bool) -> None:
    """Draw medians as shades and as numbers, beta_1 upwards and beta_2 to the right."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if table.empty:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no run", transform=axes.transAxes, ha="center")
        return
    first, second = (sorted(table[key].unique()) for key in ("beta_1", "beta_2"))
    values = table.pivot(index="beta_1", columns="beta_2", values="median").to_numpy()
    # Of zeros alone there is no largest to shade by.
    largest = max(values.max(), 1e-12)
    axes.imshow(values, origin="lower", cmap="Blues", vmin=0, vmax=1.1 * largest, aspect="auto")
    for row in table.itertuples(index=False):
        # A median of an even number of seeds may be a half.
        text = f"{row.median:g}" if whole else f"{row.median:.2g}"
        if not whole and row.median < 5e-3:
            text = "0"
        if not np.isnan(row.predicted):
            expected = f"{row.predicted:g}" if whole else f"{row.predicted:.2g}"
            text = f"{text}\n({expected})"
        place = second.index(row.beta_2), first.index(row.beta_1)
        # White on the darker half of the shades.
        colour = "white" if row.median > largest / 2 else "black"
        axes.text(*place, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(second)), [f"{value:g}" for value in second])
    axes.set_yticks(range(len(first)), [f"{value:g}" for value in first])


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    sentences = []
    linear = rows[(rows["experiment"] == LINEAR) & rows["metric"].str.startswith("active")]
    if len(linear):
        right = int((linear["median"] == linear["predicted"]).sum())
        sentences.append(
            f"In linear levels {right} of {len(linear)} counts of active units are those of the "
            "closed form."
        )
    network = rows[rows["experiment"] == NETWORK]
    units = network[(network["metric"] == "active_units") & (network["layer"] == "z2")]
    if len(units):
        table = units.set_index(["beta_1", "beta_2"])["median"]
        first, second = units["beta_1"], units["beta_2"]
        sentences.append(
            f"Of z2 of networks {number(table[first.min(), second.max()])} variables are active at "
            f"beta_2 = {second.max():g} and beta_1 = {first.min():g}, "
            f"{number(table[first.max(), second.min()])} at beta_2 = {second.min():g} and beta_1 = "
            f"{first.max():g}."
        )
    return " ".join(sentences) or UNFINISHED
