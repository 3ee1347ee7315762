"""Figure: where the closed form puts the features of mixed samples."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import THEORY, TWO_COLUMNS, power
from collapse.studies import Results
from collapse.studies.mixup import triangle
from collapse.studies.mixup.mixed import left_out
from collapse.studies.sentences import UNFINISHED, listed, number
from collapse.theory.mixup import coordinates

# The directions of three classes in the plane of their rows, as the projection has them.
_ANGLES = np.deg2rad([-30.0, 210.0, 90.0])
CORNERS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
_PAIRS = ((0, 1), (0, 2), (1, 2))
# Nodes of a quadrature are 1/2 up to rounding.
_HALF = (0.5 - 1e-9, 0.5 + 1e-9)


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    crossed, squared = experiments["fixed_classifier"], experiments["fixed_classifier_mse"]
    decays = sorted(crossed.metrics["feature_decay"].unique(), reverse=True)
    # At most three of cross-entropy: the largest, the middle and the smallest.
    shown = [decays[i] for i in sorted({0, len(decays) // 2, len(decays) - 1})]
    panels = [(crossed, "CE", decay) for decay in shown]
    panels.append((squared, "MSE", squared.metrics["feature_decay"].max()))
    figure, axes = plt.subplots(1, len(panels), figsize=(TWO_COLUMNS, 2.3))
    drawn = []
    for panel, (experiment, loss, decay) in zip(axes, panels, strict=True):
        names = {"loss": loss, "feature_decay": decay}
        rows = triangle.panel(panel, _points(experiment, decay), size=3)
        drawn.append(triangle.table(rows, **names))
        for curve in _curves(experiment, loss, decay):
            panel.plot(curve["x"], curve["y"], **THEORY, zorder=0)
            drawn.append(curve.assign(view="theory", **names))
        panel.set_title(rf"{loss}, $\lambda_H={power(decay)}$")
        _scale(panel, rows)
    figure.suptitle(left_out(experiments), x=0.01, ha="left", fontsize=7)
    triangle.legend(figure, [Line2D([], [], label="closed form", **THEORY)])
    return figure, pd.concat(drawn, ignore_index=True)


def _scale(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the triangle of unmixed features in one size in all panels."""
    arrows = rows[rows["view"] == "weights"]
    reach = np.hypot(arrows["x"], arrows["y"]).max()
    axes.set(xlim=(-1.05 * reach, 1.05 * reach), ylim=(-1.0 * reach, 1.1 * reach))


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    panels = rows.groupby(["loss", "feature_decay"], sort=False) if len(rows) else ()
    halves = {names: _halves(panel) for names, panel in panels}
    halves = {names: pair for names, pair in halves.items() if np.isfinite(pair[0])}
    if not halves:
        return UNFINISHED
    parts = [
        f"{number(found)} with {loss} at a decay of {number(decay)}"
        for (loss, decay), (found, _) in halves.items()
    ]
    away = max(abs(found / closed - 1) for found, closed in halves.values())
    return (
        "At lambda = 1/2 the optimiser's features of two classes lie this many times as far from "
        f"the centre as the convex combination of both classes': {listed(parts)}; the closed form "
        f"has {listed([number(closed) for _, closed in halves.values()])}, and the largest "
        f"relative difference is {number(away)}."
    )


def _halves(panel: pd.DataFrame) -> tuple[float, float]:
    """Return how far out features of two classes lie at lambda = 1/2: found, and in theory."""
    solved, curves = (panel[panel["view"] == view] for view in ("solved", "theory"))
    return triangle.reach(solved, _HALF), triangle.reach(_with_corners(curves), _HALF)


def _with_corners(curves: pd.DataFrame) -> pd.DataFrame:
    """Return curves with their ends as pairs of one class too."""
    ends = curves[curves["mix"].isin([0.0, 1.0])]
    whole = ends["first"].where(ends["mix"] == 1, ends["second"])
    return pd.concat([ends.assign(first=whole, second=whole), curves])


def _points(experiment: Results, decay: float) -> pd.DataFrame:
    """Return where the optimiser put the features of three classes, in one run."""
    rows = experiment.completed(experiment.points("mixed_columns"))
    rows = rows[(rows["feature_decay"] == decay) & (rows["seed"] == rows["seed"].min())]
    rows = rows[(rows["first"] < 3) & (rows["second"] < 3)]
    places = _placed(rows["first"], rows["second"], rows["u"], rows["v"])
    arrows = pd.DataFrame({"first": range(3), "second": range(3), "view": "weights"})
    return pd.concat(
        [
            rows.assign(view="solved", x=places[:, 0], y=places[:, 1]),
            arrows.assign(x=CORNERS[:, 0], y=CORNERS[:, 1]),
        ],
        ignore_index=True,
    )


def _placed(first: object, second: object, u: object, v: object) -> np.ndarray:
    """Return u p_i + v p_j: h in the plane, in units that leave out W's own."""
    ends = (CORNERS[np.asarray(classes)] for classes in (first, second))
    scales = (np.asarray(value)[..., np.newaxis] for value in (u, v))
    return sum(scale * end for scale, end in zip(scales, ends, strict=True))


def _curves(experiment: Results, loss: str, decay: float) -> list[pd.DataFrame]:
    """Return the channels of the closed form."""
    problem, mix = experiment.config["problem"], np.linspace(0, 1, 201)
    place = problem["classes"], problem["classifier_norm"], decay
    u, v = coordinates(*place, mix, problem["loss"])
    curves = []
    for first, second in _PAIRS:
        places = _placed(np.full(len(mix), first), np.full(len(mix), second), u, v)
        curves.append(
            pd.DataFrame(
                {"first": first, "second": second, "mix": mix}
                | {"x": places[:, 0], "y": places[:, 1]}
            )
        )
    return curves
