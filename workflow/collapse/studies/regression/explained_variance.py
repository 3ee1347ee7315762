"""Figure: shares of the features' variance along their first principal components."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import TWO_COLUMNS, category_colours, seed_band, seed_points
from collapse.studies import Results
from collapse.studies.networks import data_name
from collapse.studies.regression.analysis import (
    at_working_decay,
    covariance,
    explained_variance,
    on_data,
)
from collapse.studies.regression.panels import (
    ENDINGS,
    WEIGHT_DECAY,
    decay_colours,
    diverged,
    endings_of,
    epochs,
    heading,
    key,
    label_rows,
    line,
    say,
    strongest,
    title,
)
from collapse.studies.regression.wording import at_last, by_ending, on_each
from collapse.studies.sentences import UNFINISHED, number

_COMPONENTS = range(1, 6)
# Unlike the decays'.
_COLOURS = category_colours(list(_COMPONENTS))
_LIMITS = (-0.03, 1.03)


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    by_data = on_data(experiments)
    endings = endings_of(by_data.values())
    colours = decay_colours(by_data.values())
    figure, axes = plt.subplots(
        2 * len(endings), len(by_data), figsize=(TWO_COLUMNS, 1.2 + 1.35 * 2 * len(endings)),
        squeeze=False, sharey=True,
    )  # fmt: skip
    figure_rows = []
    for column, experiment in zip(axes.T, by_data.values(), strict=True):
        curves, ends = column[: len(endings)], column[len(endings) :]
        rows = [_draw_curves(curves, at_working_decay(experiment), endings)]
        rows.append(_draw_ends(ends, experiment, endings, colours))
        key(ends[0], experiment, colours, WEIGHT_DECAY, named=False)
        figure_rows += [table.assign(data=data_name(experiment.config)) for table in rows]
        diverged(ends[-1], experiment)
    words = [ENDINGS[ending] for ending in endings]
    label_rows(axes, [f"variance share\n{each}" for each in words] * 2)
    components = [line(f"component {k}", color=_COLOURS[k]) for k in _COMPONENTS]
    heading(figure, by_data.values(), components)
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    ends = at_last(rows[rows["series"] == "against the epoch"])
    if ends.empty:
        return UNFINISHED
    within = ends[ends["component"] <= ends["targets"]]
    return " ".join(
        by_ending(
            within,
            lambda arm: (
                "the shares of the first n components end, under the decay of the upper panels, at "
                f"a sum of {on_each(arm, _told)}; collapse has 1."
            ),
        )
    )


def _told(shares: pd.DataFrame) -> str:
    return number(shares["median"].sum())


def _draw_curves(column: list[Axes], experiment: Results, endings: list[str]) -> pd.DataFrame:
    """Draw the shares against the epoch, a line per component; return them."""
    title(column[0], experiment, strongest(experiment))
    shares = explained_variance(experiment, every_step=True)
    count = len(covariance(experiment))
    for axes, ending in zip(column, endings, strict=True):
        panel_shares = shares[shares["ending"] == ending]
        if panel_shares.empty:
            say(axes, "not run at this scale")
        for component, rows in panel_shares.groupby("component"):
            # Those that collapse leaves are solid.
            style = "-" if component <= count else (0, (1, 1.2))
            seed_band(axes, rows, "step", color=_COLOURS[component], linestyle=style)
        axes.set_ylim(*_LIMITS)
    epochs(column, experiment)
    return shares.assign(series="against the epoch", targets=count)


def _draw_ends(
    column: list[Axes], experiment: Results, endings: list[str], colours: Mapping
) -> pd.DataFrame:
    """Draw the shares at the last epoch against the component, a line per decay; return them."""
    shares = explained_variance(experiment)
    for axes, ending in zip(column, endings, strict=True):
        _draw_panel(axes, shares[shares["ending"] == ending], colours, len(covariance(experiment)))
        axes.tick_params(labelbottom=axes is column[-1])
    column[-1].set_xlabel("principal component $k$")
    return shares.assign(series="at the last epoch", targets=len(covariance(experiment)))


def _draw_panel(axes: Axes, shares: pd.DataFrame, colours: Mapping, count: int) -> None:
    """Draw one line per decay, side by side, and a bound at the number of targets."""
    axes.axvline(count + 0.5, color="0.7", linewidth=0.7, zorder=0)
    if shares.empty:
        say(axes, "not run at this scale")
    present = [decay for decay in colours if decay in set(shares["weight_decay"])]
    for place, decay in enumerate(present):
        rows = shares[shares["weight_decay"] == decay]
        # Side by side, so that the bars do not hide each other.
        offset = 0.36 * (place / max(len(present) - 1, 1) - 0.5)
        rows = rows.assign(component=rows["component"] + offset)
        seed_points(
            axes, rows, "component", fmt="o-", color=colours[decay], linewidth=0.7, markersize=2.8
        )
    axes.set_ylim(*_LIMITS)
    axes.set_xticks(_COMPONENTS)
