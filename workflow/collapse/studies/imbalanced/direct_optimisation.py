"""Figure: distances to the general orthogonal frame and the loss gap against the step."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import FLOAT64_FLOOR, over_seeds
from collapse.studies import Results
from collapse.studies.analysis import loss_gap
from collapse.studies.curves import curves, depth_legend, draw_panels
from collapse.studies.imbalanced.analysis import NAMES, frame_panels
from collapse.studies.sentences import UNFINISHED, listed, number

_PANELS = frame_panels(FLOAT64_FLOOR, ("loss_gap", "relative loss gap", FLOAT64_FLOOR))


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["direct_optimisation"]
    gaps = loss_gap(experiment)

    def curve(_: int, metric: str) -> pd.DataFrame:
        if metric != "loss_gap":
            return curves(experiment, metric, "H1")
        return over_seeds(gaps[gaps["step"] > 0], ["depth", "step"])

    figure, _, figure_rows = draw_panels(experiment, _PANELS, curve, "step", height=1.5)
    problem = experiment.config["problem"]
    sizes = ", ".join(map(str, problem["class_sizes"]))
    text = f"free features, $n=({sizes})$, $d={problem['widths']}$"
    depth_legend(figure, text, experiment)
    return figure, pd.concat(figure_rows, ignore_index=True).drop(columns="head")


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if rows.empty:
        return UNFINISHED
    step = rows["step"].max()
    highs = rows[rows["step"] == step].groupby("metric")["high"].max()
    metrics = [f"{name} {number(highs[key])}" for key, name in NAMES.items() if key in highs]
    return (
        f"At step {step} the largest values over depths and seeds are {listed(metrics)}, where "
        "theory has 0 for all."
    )
