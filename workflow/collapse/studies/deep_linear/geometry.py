"""Figure: Gram matrices of the class means beside the frames, and K = 3 frames in space."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.analysis import matrix
from collapse.studies.deep_linear.analysis import FRAME, HEAD
from collapse.studies.geometry import (
    Comparison,
    distances_told,
    draw_frame,
    draw_grams,
    long,
    unit_norm,
)
from collapse.studies.networks import data_name, model_name

_DEPTH = 3


def class_gram(experiment: Results, bias: bool) -> np.ndarray | None:
    """Return the normalised Gram matrix of the class means of one run, centred with a bias.

    The run is the first seed's at depth 3, or at the smallest depth where there is no 3; None where
    the experiment has no head of this kind.
    """
    rows = experiment.completed(experiment.metrics)
    rows = rows[rows["bias"] == bias]
    rows = rows[rows["seed"] == rows["seed"].min()]
    depths = set(rows["depth"])
    gram = matrix(
        rows[rows["depth"] == (_DEPTH if _DEPTH in depths else min(depths, default=0))],
        "class_gram",
    )
    # With a bias the class means are an ETF once their mean is taken off.
    if gram is not None and bias:
        centring = np.eye(len(gram)) - 1 / len(gram)
        gram = centring @ gram @ centring
    return unit_norm(gram)


def frame_gram(classes: int, bias: bool) -> np.ndarray:
    """Return the normalised Gram matrix of the orthogonal frame, or of the simplex ETF."""
    return unit_norm(np.eye(classes) - (1 / classes if bias else 0))


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    free, mlp, conv = (
        experiments[name] for name in ("direct_optimisation", "network_mlp", "network_conv")
    )
    columns = [
        _compared("free features", free, False),
        _compared("free features", free, True),
        _compared(f"{model_name(mlp.config)}\n{data_name(mlp.config)}", mlp, False),
        _compared(f"{model_name(conv.config)}\n{data_name(conv.config)}", conv, True),
    ]
    figure = plt.figure(figsize=(TWO_COLUMNS, 5.2), layout="none")
    figure_rows = draw_grams(figure, columns)
    for index, bias in enumerate((False, True)):
        axes = figure.add_axes((0.04 + 0.46 * index, -0.03, 0.42, 0.43), projection="3d")
        comparison = _compared("three classes in space", experiments["frames"], bias)
        figure_rows += draw_frame(axes, comparison, [f"class {k}" for k in range(3)], plane=bias)
        figure.text(0.25 + 0.46 * index, 0.425, f"$K=3$, {HEAD[bias]}: {FRAME[bias]}", ha="center")
    # An empty table first: without any run there would be nothing to join, nor any columns.
    return figure, pd.concat([long(np.zeros((0, 0)), "", "", ""), *figure_rows], ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    return distances_told(rows)


def _compared(panel: str, experiment: Results, bias: bool) -> Comparison:
    measured = class_gram(experiment, bias)
    theory = None if measured is None else frame_gram(len(measured), bias)
    return Comparison(panel, HEAD[bias], FRAME[bias], measured, theory)
