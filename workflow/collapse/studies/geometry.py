"""Geometry in figures: Gram matrices beside those of theory, and frames of three vectors in space.

Every function that draws returns the numbers drawn: a row per entry of a matrix, with ``panel``,
``head``, ``series`` (measured or theory), ``row``, ``column`` and ``value``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from mpl_toolkits.mplot3d.proj3d import proj_transform

from collapse.plotting import THEORY, category_colours
from collapse.studies.analysis import relative
from collapse.studies.sentences import UNFINISHED, listed, number

_SHADES, _COLOURS = Normalize(-1, 1), colormaps["RdBu_r"].with_extremes(over="black")
_SAME_SHADE = 1.05
_RESOLVED = 1e-12
"""Share of the largest eigenvalue of a Gram matrix in float64 below which there is none."""


@dataclass(frozen=True)
class Comparison:
    """A measured Gram matrix and that of theory, K x K, of Frobenius norm 1.

    None where there is no such run, or no theory of it. `panel` says what was optimised, `head`
    what else tells it apart, `frame` is the name of the frame of theory.
    """

    panel: str
    head: str
    frame: str
    measured: np.ndarray | None
    theory: np.ndarray | None


def unit_norm(gram: np.ndarray | None) -> np.ndarray | None:
    """Return a matrix at Frobenius norm 1; None for none, or for zero."""
    return None if gram is None or not gram.any() else gram / np.linalg.norm(gram)


def draw_grams(figure: Figure, columns: Sequence[Comparison]) -> list[pd.DataFrame]:
    """Draw a column of two panels for each comparison into the upper half of a figure."""
    axes = figure.subplots(
        2, len(columns), squeeze=False,
        gridspec_kw={"left": 0.05, "right": 0.9, "bottom": 0.5, "top": 0.86, "hspace": 0.1},
    )  # fmt: skip
    figure_rows = [
        rows
        for panels, column in zip(axes.T, columns, strict=True)
        for rows in _draw_column(panels, column)
    ]
    axes[0, 0].set_ylabel("measured")
    axes[1, 0].set_ylabel("theory")
    bar = figure.colorbar(
        ScalarMappable(_SHADES, _COLOURS), cax=figure.add_axes((0.92, 0.56, 0.012, 0.26)),
        ticks=(-1, 0, 1), extend="max" if any(map(_beyond, columns)) else "neither",
    )  # fmt: skip
    bar.set_label("Gram entry / largest of theory")
    bar.outline.set_visible(False)
    return figure_rows


def _beyond(column: Comparison) -> bool:
    """Return whether an entry is larger than theory's largest, by more than its shade would show.

    A column without a run has none.
    """
    if column.measured is None or column.theory is None:
        return False
    return bool(column.measured.max() > _SAME_SHADE * column.theory.max())


def _draw_column(axes: Sequence[Axes], column: Comparison) -> list[pd.DataFrame]:
    for panel in axes:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    if column.measured is None or column.theory is None:
        axes[0].text(0.5, 0.5, "no such\nrun", ha="center", va="center", color="0.4")
        return []
    # One scale for both, whose largest entry need not be the measured one's.
    largest = column.theory.max()
    grams = {"measured": column.measured / largest, "theory": column.theory / largest}
    for panel, gram in zip(axes, grams.values(), strict=True):
        shown = gram if _beyond(column) else gram.clip(max=1)
        panel.imshow(shown, cmap=_COLOURS, norm=_SHADES)
    text = f"{column.panel}\n{column.head}, $K={len(column.measured)}$"
    if _beyond(column):
        text += f"\nblack: above 1, to {number(grams['measured'].max())}"
    axes[0].set_title(text, loc="left", fontsize=7)
    axes[1].set_xlabel(column.frame, fontsize=7)
    return [long(gram, column.panel, column.head, series) for series, gram in grams.items()]


def vectors(gram: np.ndarray) -> np.ndarray:
    """Return K vectors in space with this Gram matrix (K = 3), a row each, unit length on average.

    A Gram matrix fixes its vectors up to a rotation: they are turned onto the frame of theory,
    the axes of space or their projections orthogonal to (1, 1, 1).
    """
    values, basis = np.linalg.eigh(gram)
    # The symmetric root. Of eigenvalues that are zero only rounding is left, whose root is larger.
    values = np.where(values > _RESOLVED * values.max(), values, 0)
    rows = basis * np.sqrt(values) @ basis.T
    return rows / np.linalg.norm(rows, axis=1).mean()


def draw_frame(
    axes: Axes3D, grams: Comparison, names: Sequence[str], plane: bool
) -> list[pd.DataFrame]:
    """Draw three measured vectors in space and those of theory, dashed.

    `names` stand at the three tips; in a `plane` lie those of a simplex ETF.
    """
    axes.set_axis_off()
    if grams.measured is None or grams.theory is None or len(grams.measured) != 3:
        axes.text2D(0.5, 0.5, "no run with $K=3$", transform=axes.transAxes, ha="center")
        return []
    colours = list(category_colours(range(3)).values())
    measured, target = vectors(grams.measured), vectors(grams.theory)
    for k in range(3):
        axes.plot(*np.c_[np.zeros(3), measured[k]], color=colours[k], linewidth=2.5)
        axes.plot(*np.c_[np.zeros(3), 1.15 * target[k]], **THEORY)
    # What the vectors span, for depth: the plane of the ETF, the faces between orthogonal axes.
    faces = [target] if plane else [[0 * t, t, t + u, u] for t, u in combinations(target, 2)]
    axes.add_collection3d(Poly3DCollection(faces, facecolor="0.5", alpha=0.12))
    axes.view_init(elev=12, azim=-12 if plane else 30)
    low, high = (-0.75, 1.0) if plane else (0, 1.15 * np.linalg.norm(target, axis=1).max())
    axes.set(xlim=(low, high), ylim=(low, high), zlim=(low, high))
    axes.set_box_aspect((1, 1, 1), zoom=1.2 if plane else 1.0)
    for name, vector in zip(names, target, strict=True):
        _name(axes, name, 1.15 * vector)
    rows = {"measured": measured, "theory": target}
    return [long(matrix, grams.panel, grams.head, series) for series, matrix in rows.items()]


def _name(axes: Axes3D, name: str, tip: np.ndarray) -> None:
    """Write a name beyond a tip, in the direction in which it is seen from the origin."""
    origin, seen = (
        np.array(proj_transform(*point, axes.get_proj())[:2]) for point in (np.zeros(3), tip)
    )
    x, y = (seen - origin) / np.linalg.norm(seen - origin)
    # Beside a tip that points to the side, above or below one that does not.
    side = "center" if abs(x) < 0.5 else "left" if x > 0 else "right"
    axes.annotate(
        name, seen, xytext=(3 * x, 6 * y), textcoords="offset points", fontsize=7,
        ha=side, va="bottom" if y > 0.5 else "top" if y < -0.5 else "center",
    )  # fmt: skip


def long(matrix: np.ndarray, panel: str, head: str, series: str) -> pd.DataFrame:
    """Return a matrix as a table, a row per entry."""
    rows, columns = np.indices(matrix.shape)
    return pd.DataFrame(
        {
            "panel": panel,
            "head": head,
            "series": series,
            "row": rows.ravel(),
            "column": columns.ravel(),
            "value": matrix.ravel(),
        }
    )


def distances_told(rows: pd.DataFrame) -> str:
    """Return, in a sentence, how far the Gram matrices drawn are from theory's."""
    if rows.empty:
        return UNFINISHED
    distances = [
        f"{number(_distance(entries))} ({' on '.join(panel.splitlines())}, {head.replace('$', '')})"
        for (panel, head), entries in rows.groupby(["panel", "head"], sort=False)
    ]
    return (
        "The distance from what was measured to theory, relative to the Frobenius norm of theory, "
        f"is {listed(distances)}, where theory has 0."
    )


def _distance(rows: pd.DataFrame) -> float:
    places = ["row", "column"]
    values = {series: part.set_index(places)["value"] for series, part in rows.groupby("series")}
    return relative(values["measured"], values["theory"])
