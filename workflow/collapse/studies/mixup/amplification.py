"""Figure: how far mixed features reach along the decision boundary."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, over_seeds, power, seed_band
from collapse.studies import Results
from collapse.studies.mixup.mixed import (
    LOSSES,
    at_alpha,
    colours,
    curves,
    first_view,
    heading,
    probed,
    spelt,
    toned,
)
from collapse.studies.sentences import UNFINISHED, listed, number, span
from collapse.theory.mixup import amplification

KAPPAS = (1e2, 1e6)
"""Of the closed form: m^2 K/((K - 1) feature_decay)."""
_BINS = 24
# What lies further out is not in the picture, but in the density's whole.
_TAIL = 0.002


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    figure, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.9))
    drawn = _draw_theory(axes[0], len(experiments["network_mixup"].config["labels"]["classes"]))
    drawn += _draw_curves(axes[0], experiments)
    drawn += _draw_density(axes[1], experiments)
    handles, _ = axes[0].get_legend_handles_labels()
    figure.legend(
        handles=handles, loc="outside lower center", columnspacing=1.5,
        ncols=len(handles) if len(handles) < 6 else 4,
    )  # fmt: skip
    figure.suptitle(heading(experiments), x=0.01, ha="left", fontsize=7)
    return figure, pd.concat(drawn, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    half = rows[np.isclose(rows["mix"], 0.5)] if len(rows) else rows
    measured = half[half["series"] == "measured"] if len(half) else half
    if measured.empty:
        return UNFINISHED
    kappas = rows["kappa"].dropna()
    closed = half.loc[half["series"] == "theory", "median"]
    arms = map(_arm, measured["loss"], measured["alpha"])
    parts = [f"{text} with {arm}" for text, arm in zip(spelt(measured), arms, strict=True)]
    return (
        f"A(1/2) is {listed(parts)}, medians over seeds with their range; the closed form has "
        f"{span(closed)} for cross-entropy with mixup, kappa from {number(kappas.min())} to "
        f"{number(kappas.max())}, and {number(rows.loc[_of_squares(rows), 'median'].mean())} for "
        "MSE."
    )


def _arm(loss: str, alpha: float | None) -> str:
    return loss if pd.isna(alpha) else f"{loss} at alpha = {alpha:g}"


def _of_squares(rows: pd.DataFrame) -> pd.Series:
    return (rows["series"] == "theory") & (rows["loss"] == "MSE")


def _draw_theory(axes: Axes, classes: int) -> list[pd.DataFrame]:
    """Draw the closed form of cross-entropy at both kappa, and of MSE."""
    mix, drawn = np.linspace(0, 1, 201), []
    for kappa in KAPPAS:
        decay = classes / ((classes - 1) * kappa)
        curve = amplification(classes, 1.0, decay, mix)
        axes.plot(mix, curve, **THEORY)
        axes.annotate(
            rf"$\kappa={power(kappa)}$", (0.5, curve.max()), ha="center", va="top", fontsize=6,
            xytext=(0, -2), textcoords="offset points",
        )  # fmt: skip
        drawn.append(pd.DataFrame({"mix": mix, "median": curve, "kappa": kappa, "loss": "CE"}))
    axes.fill_between(
        mix, *(table["median"] for table in drawn), color="0.92", linewidth=0, zorder=0
    )
    ends = mix[[0, -1]]
    axes.plot(ends, [1, 1], **THEORY)
    drawn.append(pd.DataFrame({"mix": ends, "median": 1.0, "loss": "MSE"}))
    return [table.assign(series="theory") for table in drawn]


def _draw_curves(axes: Axes, experiments: Mapping[str, Results]) -> list[pd.DataFrame]:
    """Draw A against lambda, one line for each loss and alpha."""
    drawn = []
    for name, loss in LOSSES.items():
        experiment = experiments[name]
        rows = experiment.at_last(curves(experiment))
        for alpha, runs in rows.groupby("alpha") if "alpha" in rows else [(None, rows)]:
            colour = colours()[loss] if alpha is None else toned(colours()[loss], alpha)
            label = loss if alpha is None else rf"{loss}, $\alpha={alpha:g}$"
            table = over_seeds(runs, ["mix"])
            seed_band(axes, table, "mix", color=colour, label=label)
            drawn.append(table.assign(series="measured", loss=loss, alpha=alpha))
    axes.plot([], [], **THEORY, label="closed form")
    axes.set_xlabel(r"$\lambda$")
    axes.set_ylabel(r"amplification $A(\lambda)$")
    return drawn


def _draw_density(axes: Axes, experiments: Mapping[str, Results]) -> list[pd.DataFrame]:
    """Draw the density at lambda = 1/2 of u + v over the convex combination's mean."""
    places = {loss: _along(experiments[name]) for name, loss in LOSSES.items()}
    # Nothing is left of a loss whose runs all diverged.
    places = {loss: rows for loss, rows in places.items() if len(rows)}
    drawn, edges = [], _edges([rows["along"] for rows in places.values()])
    for loss, rows in places.items():
        table = over_seeds(_histograms(rows, edges), ["left", "right"], "density")
        colour = colours()[loss]
        axes.stairs(table["median"], edges, baseline=None, color=colour, label=loss)
        axes.fill_between(
            edges, *(np.append(table[end], table[end].iloc[-1]) for end in ("low", "high")),
            step="post", color=colour, alpha=0.2, linewidth=0,
        )  # fmt: skip
        drawn.append(table.assign(series="density", loss=loss))
    axes.axvline(1, color="0.7", linewidth=0.6, zorder=0)
    axes.set_xlabel(r"$u+v$ of single pairs / convex combination, $\lambda=1/2$")
    axes.set_ylabel("density")
    axes.set_ylim(bottom=0)
    return drawn


def _edges(places: Sequence[pd.Series]) -> np.ndarray:
    """Return the edges of the bins, which nearly all the values are in."""
    ends = np.quantile(np.concatenate(places), [_TAIL, 1 - _TAIL]) if places else (0.0, 2.0)
    return np.linspace(*ends, _BINS + 1)


def _along(experiment: Results) -> pd.DataFrame:
    """Return ``along`` of pairs of two classes at lambda = 1/2, in units of the convex mean.

    At the last step of each seed, in evaluation mode where that is measured.
    """
    rows = experiment.at_last(probed(experiment, "mixed_points"))
    view = "eval" if "eval" in set(rows["view"]) else first_view(experiment, "mixed_points")
    rows = at_alpha(experiment, rows[(rows["view"] == view) & (rows["layer"] == "H1")])
    rows = rows[(rows["mix"] == 0.5) & (rows["first"] != rows["second"])]
    convex = rows.groupby("seed")["convex_along"].transform("mean")
    return rows.assign(along=rows["along"] / convex)


def _histograms(rows: pd.DataFrame, edges: np.ndarray) -> pd.DataFrame:
    """Return the density of each seed, bin by bin."""
    tables = []
    for seed, run in rows.groupby("seed"):
        counts, _ = np.histogram(run["along"], edges)
        density = counts / (len(run) * np.diff(edges))
        bins = {"left": edges[:-1], "right": edges[1:], "density": density}
        tables.append(pd.DataFrame({"seed": seed, **bins}))
    return pd.concat(tables, ignore_index=True)
