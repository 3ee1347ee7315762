"""NC1 to NC3 without a last-layer bias and with one, a row of panels each."""

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from collapse.studies import Results
from collapse.studies.curves import Panel, depth_legend, draw_panels
from collapse.studies.deep_linear.analysis import HEAD, NC2
from collapse.studies.sentences import listed, number

NAMES = {
    "NC1": "NC1",
    "NC2_OF": "NC2 to the orthogonal frame",
    "NC2_ETF": "NC2 to the simplex ETF",
    "NC3_product": "NC3",
    "loss_gap": "relative loss gap",
}
"""What the metrics of the panels are called in sentences."""


def draw_heads(
    experiment: Results,
    floor: float,
    last: Panel,
    curve: Callable[[bool, str], pd.DataFrame],
    time: str,
    text: str,
) -> tuple[Figure, pd.DataFrame]:
    """Return NC1 to NC3 of the features and one more metric, a row per kind of head.

    The key of a row, in `collapse.studies.curves.draw_panels`, is whether it has a bias. `floor` is
    the rounding of the number format, in which NC1 is quadratic; `last` is the panel that ends each
    row, `text` says in a line what was run.
    """
    panels = {
        bias: metric_panels(bias, floor, last)
        for bias in sorted(experiment.metrics["bias"].unique())
    }
    figure, axes, figure_rows = draw_panels(experiment, panels, curve, time, height=1.5)
    for bias in panels:
        axes[bias, 0].set_title(HEAD[bias], loc="left")
    depth_legend(figure, text, experiment)
    rows = pd.concat(figure_rows, ignore_index=True)
    return figure, rows.assign(head=rows["head"].map(HEAD))


def metric_panels(bias: bool, floor: float, last: Panel) -> tuple[Panel, ...]:
    """Return the panels of a row: NC1 to NC3 of a head with a bias or without, and the last."""
    return (
        ("NC1", "NC1", floor**2),
        (NC2[bias], f"NC2 ({'ETF' if bias else 'OF'})", floor),
        ("NC3_product", "NC3", floor),
        last,
    )


def largest(rows: pd.DataFrame) -> str:
    """Say of each metric the largest value of any run among rows of figures."""
    highs = rows.groupby("metric")["high"].max()
    return listed([f"{name} {number(highs[key])}" for key, name in NAMES.items() if key in highs])
