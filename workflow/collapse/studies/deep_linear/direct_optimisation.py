"""Figure: NC1 to NC3 and the loss gap of direct optimisation against the step."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import FLOAT64_FLOOR
from collapse.studies import Results
from collapse.studies.analysis import loss_gap
from collapse.studies.curves import curves, over_runs
from collapse.studies.deep_linear.heads import draw_heads, largest
from collapse.studies.sentences import UNFINISHED


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["direct_optimisation"]
    # Once for both heads: it is the same table.
    gaps = loss_gap(experiment)

    def curve(bias: bool, metric: str) -> pd.DataFrame:
        if metric != "loss_gap":
            return curves(experiment, metric, "H1", bias=bias)
        return over_runs(gaps, bias=bias)

    problem = experiment.config["problem"]
    sizes, width = problem["class_sizes"], problem["widths"]
    text = f"free features, $K={len(sizes)}$, $N={sum(sizes)}$, $d={width}$"
    gap = ("loss_gap", "relative loss gap", FLOAT64_FLOOR)
    return draw_heads(experiment, FLOAT64_FLOOR, gap, curve, "step", text)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    step = rows["step"].max()
    return (
        f"At step {step} the largest values over depths, heads and seeds are "
        f"{largest(rows[rows['step'] == step])}, where theory has 0 for all."
    )
