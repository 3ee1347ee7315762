"""Figure: Gram matrices of the class means beside the frames, and K = 3 frames in space."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from collapse.plotting import THEORY, TWO_COLUMNS, category_colours
from collapse.studies import Experiment
from collapse.studies.deep_linear.curves import FRAME
from collapse.studies.deep_linear.networks import data_name, model_name

_DEPTH = 3


def class_gram(experiment: Experiment, bias: bool) -> np.ndarray | None:
    """Return the normalised Gram matrix of the class means of one run, centred with a bias.

    The run is seed 0 at depth 3, or at the smallest depth where there is no 3; None where the
    experiment has no head of this kind.
    """
    rows = experiment.completed(experiment.metrics)
    rows = rows[rows["metric"].str.startswith("class_gram[")]
    rows = rows[(rows["bias"] == bias) & (rows["seed"] == 0)]
    if rows.empty:
        return None
    depths = set(rows["depth"])
    rows = rows[rows["depth"] == (_DEPTH if _DEPTH in depths else min(depths))]
    places = np.array([[int(i) for i in re.findall(r"\d+", name)] for name in rows["metric"]])
    gram = np.zeros((places.max() + 1,) * 2)
    gram[places[:, 0], places[:, 1]] = gram[places[:, 1], places[:, 0]] = rows["value"]
    if bias:
        centring = np.eye(len(gram)) - 1 / len(gram)
        gram = centring @ gram @ centring
    return gram / np.linalg.norm(gram)


def frame_gram(classes: int, bias: bool) -> np.ndarray:
    """Return the normalised Gram matrix of the orthogonal frame, or of the simplex ETF."""
    gram = np.eye(classes) - (1 / classes if bias else 0)
    return gram / np.linalg.norm(gram)


def vectors(gram: np.ndarray) -> np.ndarray:
    """Return K vectors in space with this Gram matrix (K = 3), a row each, unit length on average.

    A Gram matrix fixes its vectors up to a rotation: they are turned onto the frame of theory,
    the axes of space or their projections orthogonal to (1, 1, 1).
    """
    values, basis = np.linalg.eigh(gram)
    rows = basis * np.sqrt(values.clip(0)) @ basis.T
    return rows / np.linalg.norm(rows, axis=1).mean()


def draw(experiments: Mapping[str, Experiment]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    free, mlp, conv = (
        experiments[name] for name in ("direct_optimisation", "network_mlp", "network_conv")
    )
    columns = [
        ("free features", free, False),
        ("free features", free, True),
        (f"{model_name(mlp.config)}\n{data_name(mlp.config)}", mlp, False),
        (f"{model_name(conv.config)}\n{data_name(conv.config)}", conv, True),
    ]
    figure = plt.figure(figsize=(TWO_COLUMNS, 5.2), layout="none")
    drawn = _draw_grams(figure, columns) + _draw_frames(figure, experiments["frames"])
    return figure, pd.concat([_long(np.zeros((0, 0)), "", False, ""), *drawn], ignore_index=True)


def _draw_grams(
    figure: Figure, columns: Sequence[tuple[str, Experiment, bool]]
) -> list[pd.DataFrame]:
    axes = figure.subplots(
        2, len(columns), squeeze=False,
        gridspec_kw={"left": 0.05, "right": 0.9, "bottom": 0.5, "top": 0.86, "hspace": 0.1},
    )  # fmt: skip
    drawn = []
    for panels, (name, experiment, bias) in zip(axes.T, columns, strict=True):
        drawn += _draw_column(panels, name, experiment, bias)
    axes[0, 0].set_ylabel("measured")
    axes[1, 0].set_ylabel("theory")
    shades = ScalarMappable(Normalize(-1, 1), "RdBu_r")
    bar = figure.colorbar(shades, cax=figure.add_axes((0.92, 0.56, 0.012, 0.26)), ticks=(-1, 0, 1))
    bar.set_label("Gram entry / largest of theory")
    bar.outline.set_visible(False)
    return drawn


def _draw_column(
    axes: Sequence[Axes], name: str, experiment: Experiment, bias: bool
) -> list[pd.DataFrame]:
    """Draw a measured Gram matrix above the frame of theory; return both."""
    measured = class_gram(experiment, bias)
    for panel in axes:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    if measured is None:
        axes[0].text(0.5, 0.5, "no such\nrun", ha="center", va="center", color="0.4")
        return []
    target = frame_gram(len(measured), bias)
    grams = {"measured": measured / target.max(), "theory": target / target.max()}
    for panel, gram in zip(axes, grams.values(), strict=True):
        panel.imshow(gram, cmap="RdBu_r", vmin=-1, vmax=1)
    text = f"{name}\n{FRAME[bias]}, $K={len(measured)}$"
    axes[0].set_title(text, loc="left", fontsize=7)
    axes[1].set_xlabel("simplex ETF" if bias else "orthogonal frame", fontsize=7)
    return [_long(gram, name, bias, series) for series, gram in grams.items()]


def _draw_frames(figure: Figure, experiment: Experiment) -> list[pd.DataFrame]:
    drawn = []
    colours = list(category_colours(range(3)).values())
    for index, bias in enumerate((False, True)):
        axes = figure.add_axes((0.04 + 0.46 * index, -0.03, 0.42, 0.43), projection="3d")
        axes.set_axis_off()
        gram = class_gram(experiment, bias)
        if gram is None or len(gram) != 3:
            axes.text2D(0.5, 0.5, "no run with $K=3$", transform=axes.transAxes, ha="center")
            continue
        measured, target = vectors(gram), vectors(frame_gram(3, bias))
        for k in range(3):
            axes.plot(*np.c_[np.zeros(3), measured[k]], color=colours[k], linewidth=2.5)
            axes.plot(*np.c_[np.zeros(3), 1.15 * target[k]], **THEORY)
            axes.text(*(1.3 * target[k]), f"class {k}", fontsize=7, ha="center", va="center")
        # What the vectors span, for depth: the plane of the ETF, the faces between orthogonal axes.
        faces = [target] if bias else [[0 * t, t, t + u, u] for t, u in combinations(target, 2)]
        axes.add_collection3d(Poly3DCollection(faces, facecolor="0.5", alpha=0.12))
        axes.view_init(elev=12, azim=-12 if bias else 30)
        low, high = (-0.75, 1.0) if bias else (0, 1.15)
        axes.set(xlim=(low, high), ylim=(low, high), zlim=(low, high))
        axes.set_box_aspect((1, 1, 1), zoom=1.2 if bias else 1.0)
        name = "simplex ETF" if bias else "orthogonal frame"
        figure.text(0.25 + 0.46 * index, 0.425, f"$K=3$, {FRAME[bias]}: {name}", ha="center")
        for rows, series in ((measured, "measured"), (target, "theory")):
            drawn.append(_long(rows, "frames", bias, series))
    return drawn


def _long(matrix: np.ndarray, panel: str, bias: bool, series: str) -> pd.DataFrame:
    rows, columns = np.indices(matrix.shape)
    return pd.DataFrame(
        {
            "panel": panel,
            "head": FRAME[bias],
            "series": series,
            "row": rows.ravel(),
            "column": columns.ravel(),
            "value": matrix.ravel(),
        }
    )
