"""Figure: direct optimisation at the released width, from the released start and a narrower one."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from collapse.plotting import FLOAT64_FLOOR
from collapse.studies import Results
from collapse.studies.analysis import loss_gap
from collapse.studies.curves import curves, depth_legend, draw_panels, over_runs
from collapse.studies.deep_linear.heads import metric_panels


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    experiment = experiments["direct_width"]
    gaps = loss_gap(experiment)

    def curve(scale: float, metric: str) -> pd.DataFrame:
        if metric == "loss_gap":
            return over_runs(gaps, init_scale=scale)
        return curves(experiment, metric, "H1", init_scale=scale)

    # The released one first: of its runs the note says which diverged.
    scales = sorted(experiment.metrics["init_scale"].unique(), reverse=True)
    gap = ("loss_gap", "relative loss gap", FLOAT64_FLOOR)
    panels = {scale: metric_panels(False, FLOAT64_FLOOR, gap) for scale in scales}
    figure, axes, rows = draw_panels(experiment, panels, curve, "step", height=1.5)
    for scale in scales:
        axes[scale, 0].set_title(f"initial scale {scale:g}", loc="left")
    problem = experiment.config["problem"]
    sizes, width = problem["class_sizes"], problem["widths"]
    text = f"free features, $K={len(sizes)}$, $N={sum(sizes)}$, $d={width}$, bias-free"
    depth_legend(figure, text, experiment)
    return figure, pd.concat(rows, ignore_index=True).rename(columns={"head": "init_scale"})
