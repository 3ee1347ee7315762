"""Figure: how doubling and halving each decay changes what the minimiser does to NC1_ratio."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, category_colours, over_seeds, range_bars
from collapse.studies import Results
from collapse.studies.perturbation.analysis import arms, of_arm, responses

_LABELS = {
    "1/2 weight": r"$\lambda_W/2$",
    "2 weight": r"$2\lambda_W$",
    "1/2 feature": r"$\lambda_H/2$",
    "2 feature": r"$2\lambda_H$",
}
_COLOURS = category_colours(list(_LABELS))


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    near, far = experiments["near_collapse"], experiments["far_from_collapse"]
    panels = [(near, "near collapse", beta) for beta in sorted(near.metrics["beta"].unique())[:1]]
    panels += [(far, "far from it", beta) for beta in sorted(far.metrics["beta"].unique())[:2]]
    figure, axes = plt.subplots(1, len(panels), figsize=(TWO_COLUMNS, 2.4), squeeze=False)
    drawn = []
    for panel, (experiment, where, beta) in zip(axes[0], panels, strict=True):
        rows = _relative(experiment, responses(experiment, "NC1_ratio"), beta)
        drawn.append(_draw_arms(panel, rows).assign(where=where, series="measured"))
        if experiment is near:
            theory = _predicted(experiment, beta)
            drawn.append(_draw_theory(panel, theory).assign(where=where, series="closed form"))
        panel.set_title(rf"{where}, $\beta={beta:g}$", loc="left")
    axes[0, 0].set_ylabel("NC1_ratio out / in,\nover that of the baseline")
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
    for place, (name, label) in enumerate(_LABELS.items()):
        row = points[points["arm"] == name]
        if len(row):
            axes.errorbar(
                [place], row["median"], yerr=range_bars(row), fmt="o", color=_COLOURS[name],
                markersize=4, label=label,
            )  # fmt: skip
    axes.axhline(1, color="0.7", linewidth=0.8, zorder=0)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xticks(range(len(_LABELS)), list(_LABELS.values()))
    axes.set_xlim(-0.5, len(_LABELS) - 0.5)
    return points


def _draw_theory(axes: Axes, rows: pd.DataFrame) -> pd.DataFrame:
    points = over_seeds(rows, ["arm", "beta"])
    for place, name in enumerate(_LABELS):
        for value in points.loc[points["arm"] == name, "median"]:
            axes.plot(np.array([place - 0.3, place + 0.3]), [value, value], **THEORY)
    return points
