"""Figure: networks with penalised features on pairs of noisy experts, against the closed form."""

from collections.abc import Mapping
from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import THEORY, TWO_COLUMNS, category_colours, over_seeds, seed_points
from collapse.studies import Results
from collapse.studies.networks import data_name
from collapse.studies.regression.analysis import (
    DATA,
    NORMALISED,
    chosen,
    products,
    theory_mse,
)
from collapse.studies.regression.panels import (
    decay_colours,
    diverged,
    draw_against_epoch,
    from_zero,
    heading,
    key,
    label_rows,
    line,
    logarithmic,
    say,
    theory_lines,
)
from collapse.studies.regression.wording import on_each
from collapse.studies.sentences import UNFINISHED, span

_KINDS = {
    "features": "expert without noise",
    "noisy": "noisy expert",
    "batchnorm": "noisy expert, BatchNorm",
}
_WORDS = {
    "noisy": "With a noisy expert",
    "batchnorm": "With a noisy expert and BatchNorm",
    "features": "With an expert without noise",
}
"""The same as a sentence begins."""
_COLOURS = category_colours(list(_KINDS))
_MARKS = {"features": "o", "noisy": "s", "batchnorm": "D"}
# They often lie on each other: the later, smaller ones leave the earlier ones visible.
_SIZES = {"features": 4.5, "noisy": 5.5, "batchnorm": 2.8}


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    noisy = {
        (name, kind): chosen(experiments[f"{name}_noisy"], normalisation=normalisation)
        for name, (kind, normalisation) in product(DATA, NORMALISED.items())
    }
    shown = list(noisy.values())
    colours = decay_colours(shown)
    figure, axes = plt.subplots(
        3, len(DATA), figsize=(TWO_COLUMNS, 5.0), squeeze=False, sharey="row"
    )
    figure_rows = []
    for column, name in zip(axes.T, DATA, strict=True):
        shown_name = data_name(experiments[f"{name}_features"].config)
        by_kind = {"features": experiments[f"{name}_features"]}
        by_kind |= {kind: noisy[name, kind] for kind in NORMALISED}
        key(column[0], experiments[f"{name}_noisy"], colours, r"\lambda_W=\lambda_H")
        for panel, kind in zip(column, NORMALISED, strict=False):
            if by_kind[kind].metrics.empty:
                say(panel, "not run at this scale")
                continue
            rows = draw_against_epoch([panel], by_kind[kind], ["mse"], colours)
            rows.append(theory_lines(panel, by_kind[kind], colours))
            figure_rows += [table.assign(kind=kind, data=shown_name) for table in rows]
            diverged(panel, by_kind[kind])
        column[0].set_xlabel("")
        figure_rows += [table.assign(data=shown_name) for table in _draw_ends(column[-1], by_kind)]
    for row in axes:
        logarithmic(row)
    label_rows(axes, ["MSE, training\nno BatchNorm", "MSE, training\nBatchNorm", "MSE at the end"])
    handles = [
        line(label, color=_COLOURS[kind], marker=_MARKS[kind], linestyle="")
        for kind, label in _KINDS.items()
    ]
    handles.append(line("closed form", **THEORY))
    heading(figure, shown, handles)
    return figure, pd.concat(figure_rows, ignore_index=True)


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    if not (rows["series"] == "at the last epoch").any():
        return UNFINISHED
    by_kind = dict(iter(rows[rows["metric"] == "mse"].groupby("kind")))
    return " ".join(
        f"{words} the mean squared error ends, over the decays, at {on_each(by_kind[kind], _told)}."
        for kind, words in _WORDS.items()
        if kind in by_kind and (by_kind[kind]["series"] == "at the last epoch").any()
    )


def _told(rows: pd.DataFrame) -> str:
    """Say the range of the errors, and of theory's."""
    ends, theory = (
        rows.loc[rows["series"] == series, "median"] for series in ("at the last epoch", "theory")
    )
    beside = f" (theory: {span(theory)})" if len(theory) else ""
    return f"{span(ends) if len(ends) else 'no value'}{beside}"


def _draw_ends(axes: Axes, by_kind: Mapping[str, Results]) -> list[pd.DataFrame]:
    """Draw the error at the end against c, with and without noise, and theory's."""
    figure_rows = []
    for kind, experiment in by_kind.items():
        rows = over_seeds(products(experiment, experiment.last("mse")), ["c"])
        style = {"color": _COLOURS[kind], "fmt": _MARKS[kind], "markersize": _SIZES[kind]}
        seed_points(axes, rows, "c", **style)
        figure_rows.append(rows.assign(kind=kind, metric="mse", series="at the last epoch"))
    levels = pd.concat(figure_rows)["c"]
    # The covariance with the noise, or without where no such run is left.
    own = next(each for each in reversed(by_kind.values()) if len(each.metrics))
    theory = theory_mse(own, levels)
    axes.plot(theory["c"], theory["median"], **THEORY)
    from_zero(axes, levels)
    axes.set_xlabel(r"$c=\lambda_W\lambda_H$")
    return [*figure_rows, theory.assign(metric="mse", series="theory against c")]
