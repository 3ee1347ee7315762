"""Numbers that figures and claims share: losses beside DNC's, and the ranks of layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from collapse.grid import tied
from collapse.studies import Results
from collapse.theory.dufm_lowrank import KEYS

FOUND = 1e-3
"""Relative distance of a loss from DNC's at which a run has found it."""
HIDDEN = r"H(?:[2-9]|\d\d+)"
"""Layers H_2 to H_L, which have a ReLU each."""


def relative_losses(experiment: Results, first: bool = False) -> pd.DataFrame:
    """Return ``value``, the loss over that of DNC's closed form, at the end of every run.

    Of the `first` record, what the run started from, if asked for. With the run's keys.
    """
    rows = experiment.completed(experiment.values("loss"))
    steps = rows.groupby(experiment.keys, dropna=False)["step"]
    rows = rows[rows["step"] == steps.transform("min" if first else "max")]
    rows = rows.merge(experiment.predicted("loss_dnc"), on=experiment.keys, suffixes=("", "_dnc"))
    return rows.assign(value=rows["value"] / rows["value_dnc"])[[*experiment.keys, "value"]]


def hidden(experiment: Results, metric: str) -> pd.DataFrame:
    """Return a metric of layers H_2 to H_L at the last step of every run that did not diverge."""
    rows = experiment.last(metric)
    return rows[rows["layer"].str.fullmatch(HIDDEN)]


def mean_ranks(experiment: Results) -> pd.DataFrame:
    """Return the mean rank of M_2 to M_L before their ReLUs (``value``), with the run's keys."""
    ranks = hidden(experiment, "rank")
    return ranks.groupby(experiment.keys, dropna=False)["value"].mean().reset_index()


def found_dnc(experiment: Results) -> pd.DataFrame:
    """Return whether each run ended in DNC (``value``, 1 or 0), with its keys.

    Its loss is that of DNC to a part in a thousand, and all layers before and after their ReLUs
    have the rank of the classes.
    """
    keys = experiment.keys
    near = relative_losses(experiment).set_index(keys)["value"].sub(1).abs() < FOUND
    full = pd.concat([hidden(experiment, name) for name in ("rank", "rank_rectified")])
    least = full.groupby(keys, dropna=False)["value"].min()
    classes = experiment.predicted("rank_dnc").set_index(keys)["value"]
    found = near & (least.reindex(near.index) == classes.reindex(near.index))
    return found.astype(float).rename("value").reset_index()


def class_means(
    run: Results, layer: str, first: bool = False, rectified: bool = False
) -> np.ndarray:
    """Return the class means of a layer as columns, of an experiment of one run.

    At its last step or its `first`, before the ReLU or behind it.
    """
    rows = run.points("relu_head")
    rows = rows[rows["layer"] == layer]
    rows = rows[rows["step"] == (rows["step"].min() if first else rows["step"].max())]
    column = "rectified" if rectified else "mean"
    return rows.pivot(index="unit", columns="class", values=column).to_numpy()


def alive(means: np.ndarray, ordered: bool = False) -> np.ndarray:
    """Return the rows of a matrix whose largest entry is above a hundredth of all.

    In their order, or `ordered` by the column of their largest entry: which unit is which, random
    starts leave to chance.
    """
    sizes = np.abs(means)
    means = means[sizes.max(1) > 1e-2 * sizes.max()]
    if not ordered:
        return means
    sizes = np.abs(means)
    return means[np.lexsort((-sizes.max(1), sizes.argmax(1)))]


def draw_matrix(axes: Axes, matrix: np.ndarray) -> None:
    """Draw a matrix over its largest entry into a square."""
    axes.imshow(matrix / np.abs(matrix).max(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    axes.set_box_aspect(1)
    axes.set(xticks=[], yticks=[])
    # Light matrices would have no edge.
    axes.spines[:].set(visible=True, color="0.7", linewidth=0.5)


def matrix_bar(figure: Figure, axes: np.ndarray, image: AxesImage) -> None:
    """Say beside panels of `draw_matrix` what their colours mean."""
    bar = figure.colorbar(image, ax=axes, fraction=0.02, aspect=40, ticks=(-1, 0, 1))
    bar.set_label("entry / largest of its panel")
    bar.outline.set_visible(False)


def entries(matrix: np.ndarray) -> pd.DataFrame:
    """Return a matrix as a table, a row for each entry."""
    rows, columns = np.indices(matrix.shape)
    return pd.DataFrame({"row": rows.ravel(), "column": columns.ravel(), "value": matrix.ravel()})


def hyperparameters(experiment: Results, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the closed forms take of a problem's config, with the keys of a run."""
    config = tied(experiment.config)
    given = {**config["problem"], **config, **run}
    return {name: given[name] for name in KEYS}
