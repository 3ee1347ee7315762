"""Figure: class means and Gram matrices of DNC, of the graph, and of what descent finds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS
from collapse.studies import Results
from collapse.studies.dufm_lowrank.analysis import (
    alive,
    class_means,
    draw_matrix,
    entries,
    matrix_bar,
    relative_losses,
)
from collapse.studies.moving import of_run
from collapse.studies.sentences import UNFINISHED, number

RESOLVED = 1e-2
"""Share of the largest singular value from which on one counts, as the probe has it."""


@dataclass(frozen=True)
class Solution:
    """Class means (d x K) of layers L - 1 and L, the latter also behind its ReLU, and L/L_DNC."""

    name: str
    before: np.ndarray
    last: np.ndarray
    behind: np.ndarray
    ratio: float


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    solutions = list(_solutions(experiments))
    if not solutions:
        return plt.figure(figsize=(TWO_COLUMNS, 1.0)), pd.DataFrame()
    figure, axes = plt.subplots(
        len(solutions), 4, figsize=(TWO_COLUMNS, 1.65 * len(solutions) + 0.2), squeeze=False
    )
    drawn = [
        rows
        for panels, solution in zip(axes, solutions, strict=True)
        for rows in _draw_row(panels, solution, experiments["descent"].config["problem"]["depth"])
    ]
    matrix_bar(figure, axes, axes[0, 0].images[0])
    return figure, pd.concat(drawn, ignore_index=True)


def _solutions(experiments: Mapping[str, Results]) -> Iterator[Solution]:
    """Yield both closed forms, where they were computed, and the lowest end of descent."""
    structures = experiments.get("structures")
    if structures is not None:
        losses = relative_losses(structures, first=True).set_index("graph_classes")["value"]
        for graph, name in ((max(losses.index, default=0), "SRG"), (0, "DNC")):
            if graph in losses.index:
                run = of_run(structures, {"graph_classes": graph})
                # In the order of the closed form.
                yield _solution(run, name, losses[graph], first=True)
    descent = experiments["descent"]
    losses = relative_losses(descent).set_index("seed")["value"]
    if len(losses):
        seed = losses.idxmin()
        name = f"descent (lowest of {len(losses)})"
        yield _solution(of_run(descent, {"seed": seed}), name, losses[seed], first=False)


def _solution(run: Results, name: str, ratio: float, first: bool) -> Solution:
    """Return the solution that a run began at, or ended in."""
    depth = run.config["problem"]["depth"]
    before, last = (
        alive(class_means(run, f"H{number}", first), ordered=not first)
        for number in (depth - 1, depth)
    )
    return Solution(name, before, last, class_means(run, f"H{depth}", first, rectified=True), ratio)


def _draw_row(axes: np.ndarray, solution: Solution, depth: int) -> Iterator[pd.DataFrame]:
    behind = solution.behind
    # Beside each matrix what its rank is counted of: squares would hide small singular values.
    matrices = {
        f"$M_{depth - 1}$": (solution.before, solution.before),
        f"$M_{depth}$": (solution.last, solution.last),
        rf"$M_{depth}^\top M_{depth}$": (solution.last.T @ solution.last, solution.last),
        rf"$\sigma(M_{depth})^\top\sigma(M_{depth})$": (behind.T @ behind, behind),
    }
    for panel, (label, (matrix, factor)) in zip(axes, matrices.items(), strict=True):
        draw_matrix(panel, matrix)
        panel.set_title(f"{label}, rank {rank(factor)}", loc="left", fontsize=7)
        told = {"solution": solution.name, "ratio": solution.ratio, "rank": rank(factor)}
        yield entries(matrix).assign(panel=label, **told)
    text = (
        f"{solution.name}\n" + rf"$\mathcal{{L}}/\mathcal{{L}}_\mathrm{{DNC}}={solution.ratio:.4f}$"
    )
    axes[0].set_ylabel(text, fontsize=7)


def rank(matrix: np.ndarray) -> int:
    """Return how many singular values are above a hundredth of the largest."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return int((values > RESOLVED * values[0]).sum())


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    parts = []
    for name, part in rows.groupby("solution", sort=False):
        before, last, _, behind = part.groupby("panel", sort=False)["rank"].first()
        ratio = number(part["ratio"].iloc[0])
        parts.append(f"{name}: {before}, {last} and {behind}, {ratio}")
    return (
        "Ranks of the last two layers and behind the last ReLU, and the loss over that of DNC: "
        f"{'; '.join(parts)}."
    )
