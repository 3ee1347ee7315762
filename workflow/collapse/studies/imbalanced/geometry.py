"""Figure: Gram matrices beside those of the general orthogonal frame, and K = 3 in space."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.analysis import matrix
from collapse.studies.geometry import (
    Comparison,
    distances_told,
    draw_frame,
    draw_grams,
    long,
    unit_norm,
)
from collapse.studies.imbalanced.analysis import frame_of
from collapse.studies.networks import data_name, model_name
from collapse.studies.sentences import listed

_DEPTH = 3
_GRAMS = {"class_gram": "class means", "product_gram": "rows of $P$"}
_SPACE = (
    ((100, 100, 100), "class_gram"),
    ((200, 100, 50), "class_gram"),
    ((200, 100, 50), "product_gram"),
)


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    free, mlp = experiments["direct_optimisation"], experiments["network_mlp"]
    name = f"{model_name(mlp.config)}\n{data_name(mlp.config)}"
    columns = [
        compared(panel, experiment, gram)
        for panel, experiment in (("free features", free), (name, mlp))
        for gram in _GRAMS
    ]
    figure = plt.figure(figsize=(TWO_COLUMNS, 5.2), layout="none")
    figure_rows = draw_grams(figure, columns)
    frames = experiments["frames"]
    for index, (sizes, gram) in enumerate(_SPACE):
        axes = figure.add_axes((0.045 + 0.33 * index, 0.01, 0.25, 0.36), projection="3d")
        names = [f"$n={size}$" for size in sizes]
        label = "-".join(map(str, sizes))
        panel = f"three classes of {listed([str(size) for size in sizes])}"
        figure_rows += draw_frame(axes, compared(panel, frames, gram, label), names, plane=False)
        text = f"{_GRAMS[gram]}, $n=({','.join(map(str, sizes))})$"
        figure.text(0.17 + 0.33 * index, 0.4, text, ha="center", fontsize=7)
    # An empty table first: without any run there would be nothing to join, nor any columns.
    return figure, pd.concat([long(np.zeros((0, 0)), "", "", ""), *figure_rows], ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    return distances_told(rows)


def compared(
    panel: str, experiment: Results, gram: str, class_sizes: str | None = None
) -> Comparison:
    """Return a run's Gram matrix beside that of its frame, both of Frobenius norm 1.

    The run is the first seed's at depth 3, or at the smallest depth where there is no 3, of the
    given class sizes; none where a last-layer bias makes the optimum another frame.
    """
    rows = experiment.completed(experiment.metrics)
    biased = any(experiment.config.get(part, {}).get("bias") for part in ("problem", "head"))
    rows = rows[(rows["seed"] == rows["seed"].min()) & (not biased)]
    if class_sizes is not None:
        rows = rows[rows["class_sizes"] == class_sizes]
    depths = set(rows["depth"])
    # A small scale may leave out that depth.
    depth = _DEPTH if _DEPTH in depths else min(depths, default=1)
    rows = rows[rows["depth"] == depth]
    measured, theory, frame = unit_norm(matrix(rows, gram)), None, "general orthogonal frame"
    if measured is not None:
        sizes = _class_sizes(rows)
        theory = unit_norm(_frame(experiment, sizes, depth)[gram])
        frame += f"\n$n_k={sizes[0]:g}$ to ${sizes[-1]:g}$"
    return Comparison(panel, _GRAMS[gram], frame, measured, theory)


def _class_sizes(rows: pd.DataFrame) -> np.ndarray:
    """Return the sizes of the classes of a run with these rows, in their order."""
    sizes = rows[rows["metric"].str.startswith("class_size[")]
    # By number, not by text: class 10 comes after class 9.
    order = sizes["metric"].str.extract(r"(\d+)", expand=False).astype(int)
    return sizes["value"].to_numpy()[np.argsort(order)]


def _frame(experiment: Results, sizes: np.ndarray, depth: int) -> dict[str, np.ndarray]:
    """Return the Gram matrices that theory predicts for classes of these sizes."""
    lengths = frame_of(experiment.config, depth, sizes, sizes.sum())
    return {
        "class_gram": np.diag(lengths.features**2),
        "product_gram": np.diag(lengths.weights**2),
    }
