"""Moving pictures: how recorded states become points of a plane, frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from collapse.studies import Curve, Results
from collapse.studies.sentences import number

_ANGLES = np.radians([90, 210, 330])
DIAGONAL = np.sqrt(2 / 3) * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])
"""Three orthonormal axes seen along their diagonal, 2 x 3: 120 degrees apart, of one length."""


@dataclass(frozen=True)
class Layer:
    """Points that move.

    Attributes
    ----------
    name
        What they are, in the legend.
    at
        Frames x points x 2.
    colour
        A number for each colour that is to be told apart: of all points, or of each.
    rays
        Whether they are drawn as lines from the origin, or else as dots.
    """

    name: str
    at: np.ndarray
    colour: int | np.ndarray
    rays: bool = False


@dataclass(frozen=True)
class Cells:
    """A matrix whose entries change their colour.

    Attributes
    ----------
    name
        What they are, in the legend.
    at
        Frames x n x n, from -1 to 1; the first row is on top, and the matrix fills -1 to 1.
    labels
        Names of rows and, in the same order, of columns; all or none.
    """

    name: str
    at: np.ndarray
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """What moves, and lines of theory that stand still: each n x 2, under one name.

    With names of both `axes` nothing has a coordinate below 0, and the origin is in a corner;
    without, it is in the middle and a coordinate has no name.
    """

    layers: tuple[Layer, ...] = ()
    theory: tuple[np.ndarray, ...] = ()
    theory_name: str = ""
    cells: Cells | None = None
    axes: tuple[str, str] | None = None

    @property
    def reach(self) -> float:
        """The largest coordinate of all frames, so that the axes can stand still."""
        parts = [*(layer.at for layer in self.layers), *self.theory]
        filled = [1.0] if self.cells else []
        return max([float(np.abs(part).max(initial=0)) for part in parts] + filled)


@dataclass(frozen=True)
class Film:
    """A scene with what is said of it.

    Attributes
    ----------
    heading
        Which run it shows.
    clock
        What a frame's place is: ``step``, ``time``.
    places
        That of each frame.
    curves
        What moves along: of each the values by frame, and what theory says, if anything.
    caption
        What is drawn, and how.
    """

    heading: str
    clock: str
    places: Sequence[float]
    scene: Scene
    curves: Sequence[tuple[Curve, np.ndarray, float | None]]
    caption: str


def along_diagonal(directions: np.ndarray) -> np.ndarray:
    """Return the projection that shows three directions as three axes seen along their diagonal.

    `directions` are vectors, at most 3 x d. The result P is 2 x d: the polar factor of the
    directions, the three orthonormal axes nearest to them, goes to `DIAGONAL`. It is linear and
    shortens whatever lies outside the plane; axes of one length stand 120 degrees apart, and so do
    the vectors of a simplex ETF.
    """
    count, dim = directions.shape
    # Fewer than three, or features in a plane, are filled up with zeros.
    padded = np.zeros((3, max(dim, 3)))
    padded[:count, :dim] = directions
    left, _, right = np.linalg.svd(padded, full_matrices=False)
    return (DIAGONAL @ left @ right)[:, :dim]


def means(features: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return the means of the first classes, count x d, of features with samples as columns."""
    return np.stack([features[:, labels == k].mean(1) for k in range(count)])


def blocks(groups: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the outlines, 5 x 2, of the blocks on the diagonal of `Cells` of sorted groups, n."""
    edges = np.flatnonzero(np.diff(groups, prepend=np.nan, append=np.nan))
    ends = 2 * edges / len(groups) - 1
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    # The first row is on top.
    return tuple(
        (low + (high - low) * corners) * (1, -1) for low, high in zip(ends, ends[1:], strict=False)
    )


def ray(tip: np.ndarray) -> np.ndarray:
    """Return the line from the origin to a point."""
    return np.stack([np.zeros(2), tip])


def of_run(experiment: Results, keys: dict[str, Any]) -> Results:
    """Return an experiment with the rows of one run alone, by its keys."""

    def chosen(rows: pd.DataFrame) -> pd.DataFrame:
        for key, value in keys.items():
            rows = rows[rows[key].isna() if value is None else rows[key] == value]
        return rows

    tables = (experiment.metrics, experiment.predictions, experiment.samples)
    return Results(experiment.config, *map(chosen, tables))


def places(run: Results, clock: str, steps: Sequence[int]) -> list[float]:
    """Return the place of each step: the metric of the clock's name, or the step itself."""
    rows = run.values(clock)
    return list(steps) if rows.empty else rows.set_index("step")["value"].loc[steps].tolist()


def spelt(place: float) -> str:
    """Spell the place of a frame: a step with all its digits."""
    return str(place) if isinstance(place, int) else number(place)


def along(
    run: Results, curves: Sequence[Curve], steps: Sequence[int]
) -> list[tuple[Curve, np.ndarray, float | None]]:
    """Return the curves that the run has, with their values at the steps and what is predicted."""
    found = []
    for curve in curves:
        rows = run.values(curve.metric, curve.layer)
        if rows.empty:
            continue
        theory = run.predicted(curve.predicted)["value"] if curve.predicted else ()
        values = rows.set_index("step")["value"].reindex(steps).to_numpy()
        found.append((curve, values, float(theory.iloc[0]) if len(theory) else None))
    return found
