"""Figure: NRC3 of the last weight as a function of gamma."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS, category_colours
from collapse.studies import Results
from collapse.studies.analysis import matrix
from collapse.studies.networks import data_name
from collapse.studies.regression.analysis import (
    PAPER_GAMMA,
    at_working_decay,
    covariance,
    finals,
    on_data,
    runs,
)
from collapse.studies.regression.panels import (
    STYLES,
    diverged,
    ending_handles,
    endings_of,
    heading,
    line,
    logarithmic,
    say,
    strongest,
    title,
)
from collapse.studies.regression.wording import on_each
from collapse.studies.sentences import UNFINISHED, span
from collapse.theory.regression import nrc3

_COLOUR = category_colours(["NRC1", "NRC2", "NRC3"])["NRC3"]
_SHORT = {"relu": "with ReLU", "linear": "without", "signed": "with a linear layer"}
_GRID = np.linspace(0, 1, 201)
"""gamma/lambda_min."""


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_data = {
        name: at_working_decay(experiment) for name, experiment in on_data(experiments).items()
    }
    figure, axes = plt.subplots(
        1, len(by_data), figsize=(TWO_COLUMNS, 2.3), squeeze=False, sharey=True
    )
    figure_rows = []
    for panel, experiment in zip(axes[0], by_data.values(), strict=True):
        title(panel, experiment, f"{strongest(experiment)}\n{_fit(experiment)}")
        panel.set_xlabel(r"$\gamma/\lambda_{\min}$")
        panel.set_xlim(-0.03, 1.03)
        if len(covariance(experiment)) > 1:
            rows = _draw_panel(panel, experiment)
            rows += _mark_paper(panel, experiment.config["data"]["name"])
            figure_rows += [table.assign(data=data_name(experiment.config)) for table in rows]
        else:
            say(panel, "one target: NRC3 is trivially 0")
        diverged(panel, experiment)
    logarithmic(axes[0])
    # Room for the marks of the paper and their word.
    axes[0, 0].set_ylim(bottom=axes[0, 0].get_ylim()[0] / 3)
    axes[0, 0].set_ylabel(r"NRC3$(\gamma)$ of the last $W$")
    handles = ending_handles(endings_of(by_data.values()))
    handles.append(line("minimum", color=_COLOUR, marker="o", linestyle="", markersize=4))
    heading(figure, by_data.values(), handles)
    # Named here too: without any run there would be no columns.
    columns = ["data", "ending", "weight_decay", "seed", "series", "gamma_ratio", "value"]
    return figure, pd.concat([pd.DataFrame(columns=columns), *figure_rows], ignore_index=True)[
        columns
    ]


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    least = rows[rows["series"].isin(["minimum", "paper"])]
    # Without a run there is no minimum beside the paper's.
    least = least[least["data"].isin(least.loc[least["series"] == "minimum", "data"])]
    if least.empty:
        return UNFINISHED
    return (
        "NRC3 is smallest at a gamma, in units of the smallest eigenvalue of the targets' "
        f"covariance, of {on_each(least, _told)}."
    )


def _told(least: pd.DataFrame) -> str:
    measured, paper = (least[least["series"] == series] for series in ("minimum", "paper"))
    beside = f"; the paper has {span(paper['gamma_ratio'])}" if len(paper) else ""
    return f"{span(measured['gamma_ratio'])} (NRC3 {span(measured['value'])}{beside})"


def _fit(experiment: Results) -> str:
    """Name R2 on the training samples by ending: without fit the geometry of W means little."""
    fits = finals(experiment, "r2").set_index("ending")["median"]
    # Adding 0 turns -0.0, which would be printed as such, into 0.0.
    values = [f"{round(fits[ending], 2) + 0:.2f} {_SHORT[ending]}" for ending in fits.index]
    return "$R^2$: " + ", ".join(values)


def _draw_panel(axes: Axes, experiment: Results) -> list[pd.DataFrame]:
    """Draw one line per run, a point at its minimum in closed form; return both."""
    target_covariance = covariance(experiment)
    least = np.linalg.eigvalsh(target_covariance)[0]
    keys = experiment.keys
    best = experiment.last("gamma").set_index(keys)["value"].to_dict()
    figure_rows = []
    for run, rows in runs(experiment, "gram"):
        gram = matrix(rows, "gram")
        # W = 0 has no direction to compare.
        if not gram.any():
            continue
        values = nrc3(gram, target_covariance, _GRID * least)
        axes.plot(_GRID, values, color=_COLOUR, linestyle=STYLES[run["ending"]], linewidth=0.9)
        gamma = best[tuple(run.values())]
        lowest = float(nrc3(gram, target_covariance, gamma))
        axes.plot(gamma / least, lowest, "o", color=_COLOUR, markersize=4, zorder=3)
        line = pd.DataFrame({**run, "gamma_ratio": _GRID, "value": values, "series": "NRC3"})
        point = {**run, "gamma_ratio": gamma / least, "value": lowest, "series": "minimum"}
        figure_rows += [line, pd.DataFrame([point])]
    return figure_rows


def _mark_paper(axes: Axes, name: str) -> list[pd.DataFrame]:
    """Mark on the abscissa where the paper finds the minimum on its data; return the place."""
    if name not in PAPER_GAMMA:
        return []
    place, ratio = axes.get_xaxis_transform(), PAPER_GAMMA[name]
    axes.plot([ratio] * 2, [0, 0.07], color="0.5", linewidth=1.6, transform=place)
    axes.annotate(
        "paper", (ratio, 0.08), xycoords=place, ha="center" if ratio > 0.1 else "left", va="bottom",
        fontsize=6, color="0.4",
    )  # fmt: skip
    return [pd.DataFrame([{"gamma_ratio": ratio, "series": "paper"}])]
