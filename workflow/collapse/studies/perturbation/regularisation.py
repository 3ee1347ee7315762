"""Figure: how doubling and halving each decay changes what the minimiser does to the NC1 ratio."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, category_colours, over_seeds, seed_points
from collapse.studies import Results
from collapse.studies.perturbation.analysis import arms, of_arm, responses
from collapse.studies.perturbation.common import RATIO
from collapse.studies.sentences import UNFINISHED, listed, number

_LABELS = {
    "1/2 weight": r"$\lambda_W/2$",
    "2 weight": r"$2\lambda_W$",
    "1/2 feature": r"$\lambda_H/2$",
    "2 feature": r"$2\lambda_H$",
}
_WORDS = {
    "1/2 weight": "half lambda_W",
    "2 weight": "twice lambda_W",
    "1/2 feature": "half lambda_H",
    "2 feature": "twice lambda_H",
}
_COLOURS = category_colours(list(_LABELS))
_TOO_SMALL = 0.01
"""Largest change that an axis shared with others would not show."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    near, far = experiments["near_collapse"], experiments["far_from_collapse"]
    panels = [(near, "near collapse", beta) for beta in sorted(near.metrics["beta"].unique())[:1]]
    panels += [
        (far, "far from collapse", beta) for beta in sorted(far.metrics["beta"].unique())[:2]
    ]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(TWO_COLUMNS, 2.4), squeeze=False, sharey=True
    )
    drawn = []
    for panel, (experiment, where, beta) in zip(axes[0], panels, strict=True):
        rows = _relative(experiment, responses(experiment, "NC1_ratio"), beta)
        points = _draw_arms(panel, rows)
        _magnify(panel, points)
        drawn.append(points.assign(where=where, series="measured"))
        if experiment is near:
            theory = _predicted(experiment, beta)
            drawn.append(_draw_theory(panel, theory).assign(where=where, series="closed form"))
        panel.set_title(rf"{where}, $\beta={beta:g}$", loc="left")
    axes[0, 0].set_ylabel(f"{RATIO} out / in,\nover that of the baseline")
    return figure, pd.concat(drawn, ignore_index=True)


def _relative(experiment: Results, rows: pd.DataFrame, beta: float) -> pd.DataFrame:
    """Return each arm's values over the baseline's of the same seed."""
    rows = rows[rows["beta"] == beta]
    decays = arms(experiment)
    baseline = of_arm(rows, decays["baseline"]).set_index("seed")["value"]
    parts = []
    for name in _LABELS:
        if name in decays:
            arm = of_arm(rows, decays[name]).set_index("seed")["value"]
            parts.append((arm / baseline).dropna().reset_index().assign(arm=name, beta=beta))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["seed", "value", "arm", "beta"])


def _predicted(experiment: Results, beta: float) -> pd.DataFrame:
    return _relative(experiment, experiment.predicted("nc1_ratio_response"), beta)


def _draw_arms(axes: Axes, rows: pd.DataFrame) -> pd.DataFrame:
    points = over_seeds(rows, ["arm", "beta"])
    _draw_points(axes, points, 1)
    axes.set_xticks(range(len(_LABELS)), list(_LABELS.values()))
    axes.set_xlim(-0.5, len(_LABELS) - 0.5)
    return points


def _draw_points(axes: Axes, points: pd.DataFrame, unchanged: float) -> None:
    """Draw a point with its range for each arm, and a line where nothing changes."""
    for place, name in enumerate(_LABELS):
        row = points[points["arm"] == name]
        if len(row):
            seed_points(axes, row.assign(place=place), "place", color=_COLOURS[name], markersize=4)
    axes.axhline(unchanged, color="0.7", linewidth=0.8, zorder=0)


def _magnify(axes: Axes, points: pd.DataFrame) -> None:
    """Show changes that are too small for the panel in a window of its own axis."""
    largest = (points[["low", "high"]] - 1).abs().max(axis=None)
    if not 0 < largest <= _TOO_SMALL:
        return
    exponent = int(np.floor(np.log10(largest)))
    numbers = ["median", "low", "high"]
    window = axes.inset_axes([0.16, 0.05, 0.8, 0.27])
    _draw_points(window, points.assign(**(points[numbers] - 1) / 10.0**exponent), 0)
    window.set_xticks([])
    window.set_xlim(axes.get_xlim())
    window.tick_params(labelsize=6)
    window.set_title(rf"the same, less 1, in $10^{{{exponent}}}$", fontsize=6, loc="right", pad=3)


def _draw_theory(axes: Axes, rows: pd.DataFrame) -> pd.DataFrame:
    points = over_seeds(rows, ["arm", "beta"])
    for place, name in enumerate(_LABELS):
        for value in points.loc[points["arm"] == name, "median"]:
            axes.plot(np.array([place - 0.36, place + 0.36]), [value, value], **THEORY)
    return points


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    panels = [
        f"by {_changes(part)} {where} at beta = {beta:g}"
        for (where, beta), part in rows.groupby(["where", "beta"], sort=False)
        if (part["series"] == "measured").any()
    ]
    if not panels:
        return UNFINISHED
    return f"As a fraction the {RATIO} out over in differs from the baseline's {'; '.join(panels)}."


def _changes(rows: pd.DataFrame) -> str:
    """Spell what each arm changes, measured and by the closed form where there is one."""
    change = rows.set_index(["series", "arm"])["median"] - 1
    closed = "closed form"
    return listed(
        [
            f"{number(change['measured', arm])} ({words}"
            + (f", {closed} {number(change[closed, arm])})" if (closed, arm) in change else ")")
            for arm, words in _WORDS.items()
            if ("measured", arm) in change
        ]
    )
