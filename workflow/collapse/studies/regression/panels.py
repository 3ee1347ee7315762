"""What the regression figures share in drawing: axes with a zero, titles, headings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.plotting import (
    FLOAT32_FLOOR,
    THEORY,
    by_rows,
    decades,
    floor,
    number,
    ordered_colours,
    power,
    seed_band,
)
from collapse.studies import Results
from collapse.studies.networks import data_name, model_name
from collapse.studies.regression.analysis import (
    covariance,
    curves,
    decays,
    products,
    samples,
    theory_along,
)
from collapse.studies.sentences import diverged_runs, listed

STYLES = {"relu": "-", "linear": ":", "signed": "-."}
"""Line style by what precedes W."""
ENDINGS = {"relu": "ReLU before $W$", "linear": "no ReLU before $W$", "signed": "linear before $W$"}
"""The same in words."""
QUADRATIC_FLOOR = FLOAT32_FLOOR**2
"""Rounding of float32 in a quadratic metric."""
LOWEST_R2 = -0.3
"""Where the axis of R2 is cut off: a run that fails would flatten all others."""
WEIGHT_DECAY = r"\lambda_{\mathrm{WD}}"
"""The decay of all parameters."""
_KEY_COLUMNS = 3
"""Entries of a panel's key side by side."""
ZERO_WIDTH = 0.7
"""Room between zero and the smallest positive value of an axis, in decades."""


def decay_colours(experiments: Iterable[Results]) -> dict[float, tuple]:
    """Return one colour per weight decay of all the experiments, none the lightest."""
    return ordered_colours(
        sorted({decay for experiment in experiments for decay in decays(experiment)})
    )


def dataset(experiment: Results) -> str:
    """Name an experiment's data, with the number of targets and of samples."""
    count = len(covariance(experiment))
    if not count:
        return data_name(experiment.config)
    size = samples(experiment)
    size = number(size) if size >= 1e5 else size
    return f"{data_name(experiment.config)}, $n={count}$, $M={size}$"


def title(axes: Axes, experiment: Results, below: str = "") -> None:
    """Write above a panel which data it shows, and what else there is to say of it."""
    text = dataset(experiment)
    axes.set_title(f"{text}\n{below}" if below else text, loc="left")


def key(
    axes: Axes,
    experiment: Results,
    colours: Mapping[float, tuple],
    symbol: str,
    *,
    named: bool = True,
) -> None:
    """Write above a panel which data it shows and the decays of its own curves."""
    own = {decay: colours[decay] for decay in decays(experiment)}
    axes.legend(
        **by_rows([decay_handles(own, symbol)], _KEY_COLUMNS), loc="lower left",
        title=dataset(experiment) if named else None, bbox_to_anchor=(0, 1), alignment="left",
        title_fontsize=8, borderpad=0.2, borderaxespad=0, labelspacing=0.2, columnspacing=0.9,
        handlelength=1.1, handletextpad=0.4,
    )  # fmt: skip


def heading(
    figure: Figure, experiments: Iterable[Results], *handles: Sequence[Artist], data: str = ""
) -> None:
    """Put above the panels what was trained, what is not shown, and the legend.

    Of `handles` each is a row of the legend; `data` names the data where no panel does. Without
    experiments nothing is said of training.
    """
    experiments = list(experiments)
    what = trained([experiment.config for experiment in experiments])
    lines = [". ".join(part for part in (data, what) if part)]
    lines += dict.fromkeys(experiment.note for experiment in experiments if experiment.note)
    figure.legend(
        **by_rows(handles), loc="outside upper left", title="\n".join(lines), title_fontsize=7,
        alignment="left", borderaxespad=0.2, columnspacing=1.2, handlelength=1.8,
        handletextpad=0.5,
    )  # fmt: skip


def trained(configs: Sequence[Mapping[str, Any]]) -> str:
    """Say what was trained, and for how many epochs where that is one network on several data."""
    epochs_by_model: dict[str, list[str]] = {}
    for config in configs:
        if "model" not in config:
            problem = config["problem"]
            what = f"free features, $M={problem['samples']}$ samples, $d={problem['dim']}$"
            epochs_by_model.setdefault(what, [])
            continue
        what = f"{model_name(config)}, {config['labels']['optimiser']}"
        epochs_by_model.setdefault(what, []).append(str(config["training"]["epochs"]))
    return "; ".join(
        f"{what}, {listed(list(dict.fromkeys(epochs)))} epochs" if epochs else what
        for what, epochs in epochs_by_model.items()
    )


def strongest(experiment: Results) -> str:
    """Name the weight decay of an experiment's runs, the largest if there are several."""
    return f"${WEIGHT_DECAY}={power(decays(experiment)[-1])}$"


def line(label: str, **style: Any) -> Line2D:
    """Return a legend's entry."""
    return Line2D([], [], label=label, **style)


def decay_handles(colours: Mapping[float, tuple], symbol: str) -> list[Line2D]:
    """Return the legend's entries of the decays; the first has the symbol."""
    labels = [f"${power(decay)}$" for decay in colours]
    labels[:1] = [f"${symbol}={label[1:]}" for label in labels[:1]]
    return [line(label, color=colours[decay]) for label, decay in zip(labels, colours, strict=True)]


def ending_handles(endings: Iterable[str]) -> list[Line2D]:
    """Return the legend's entries of the line styles."""
    return [line(ENDINGS[ending], color="0.3", linestyle=STYLES[ending]) for ending in endings]


def endings_of(experiments: Iterable[Results]) -> list[str]:
    """Return which endings the experiments have, in the order of `STYLES`."""
    present = {
        ending for experiment in experiments for ending in experiment.metrics["ending"].unique()
    }
    return [ending for ending in STYLES if ending in present]


def from_zero(axes: Axes, values: Iterable[float]) -> None:
    """Make the abscissa logarithmic, with a zero at its left end if `values` have one."""
    values = sorted({float(value) for value in values})
    positive = [value for value in values if value > 0] or [1.0]
    low, high = _with_two_powers(positive[0], positive[-1])
    if values and values[0] == 0:
        axes.set_xscale("symlog", linthresh=low, linscale=ZERO_WIDTH)
        axes.set_xlim(-0.25 * low, high * 1.4)
    else:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.4, high * 1.4)
    powers = np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
    # At most four labels fit.
    powers = powers[:: max(1, -(-len(powers) // 4))].astype(int)
    zero = [0.0] if values and values[0] == 0 else []
    if zero and len(powers) > 2 and 10.0 ** powers[0] < 2 * low:
        # Its label would run into that of zero.
        powers = powers[1:]
    ticks = [*zero, *10.0**powers]
    axes.set_xticks(ticks, ["0"] * len(zero) + [f"$10^{{{power}}}$" for power in powers])
    axes.minorticks_off()


def _with_two_powers(low: float, high: float) -> tuple[float, float]:
    """Return a range, widened until it has two powers of ten: one tick would say no scale."""
    while np.floor(np.log10(high) + 1e-9) - np.ceil(np.log10(low) - 1e-9) < 1:
        low, high = low / 10**0.25, high * 10**0.25
    return low, high


def logarithmic(row: Iterable[Axes], limit: float | None = None) -> None:
    """Make the ordinate that panels share logarithmic, once all is drawn in them.

    Over two decades or more, so that what hardly moves looks like it. Where values come near the
    floor `limit`, it is shaded.
    """
    row = list(row)
    decades(row[0])
    low, high = row[0].get_ylim()
    widening = 10 ** max(0.0, 1 - np.log10(high / low) / 2)
    row[0].set_ylim(low / widening, high * widening)
    # The marks depend on the range.
    decades(row[0])
    if limit is not None and low < 10 * limit:
        for panel in row:
            floor(panel, limit)


def r2_axis(row: Iterable[Axes]) -> None:
    """Give panels the ordinate of R2, cut off below `LOWEST_R2`, with a line at zero."""
    row = list(row)
    lowest, _ = row[0].get_ylim()
    row[0].set_ylim(max(LOWEST_R2, min(lowest, -0.1)), 1.05)
    for panel in row:
        panel.axhline(0, color="0.8", linewidth=0.6, zorder=0)


NOTHING = "no run left anything\nto measure"
"""What a panel says whose runs all diverged at once."""


def say(axes: Axes, text: str) -> None:
    """Say in an empty panel what is missing and why."""
    # The ordinate of others is its own, too.
    if len(axes.get_shared_y_axes().get_siblings(axes)) == 1:
        axes.tick_params(left=False, labelleft=False)
    axes.annotate(
        text, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", fontsize=6,
        color="0.4",
    )  # fmt: skip


def diverged(axes: Axes, experiment: Results) -> None:
    """Say in a panel how many runs diverged."""
    count = len(experiment.values("diverged"))
    if count:
        axes.annotate(
            f"{diverged_runs(count)} left out", (0.98, 0.02), xycoords="axes fraction",
            ha="right", va="bottom", fontsize=6, color="firebrick",
        )  # fmt: skip


def label_rows(axes: np.ndarray, labels: Iterable[str]) -> None:
    """Label the ordinates of the first column of panels, aligned."""
    for panel, label in zip(axes[:, 0], labels, strict=True):
        panel.set_ylabel(label)
    axes[0, 0].figure.align_ylabels(axes[:, 0])


def draw_by_decay(
    axes: Axes, rows: pd.DataFrame, colours: Mapping[float, tuple], **style: Any
) -> None:
    """Draw one curve per weight decay against the step, the largest decay on top."""
    for decay, group in rows.groupby("weight_decay", sort=True):
        seed_band(axes, group, "step", color=colours[decay], **style)


def draw_against_epoch(
    column: Iterable[Axes], experiment: Results, metrics: Iterable[str], colours: Mapping
) -> list[pd.DataFrame]:
    """Draw metrics against the epoch, one below the other, a line per decay; return the rows."""
    figure_rows = []
    for panel, metric in zip(column, metrics, strict=True):
        # Of one target W W^T is a number, which some gamma always fits.
        if metric.startswith("NRC3") and len(covariance(experiment)) == 1:
            say(panel, "one target: NRC3 is trivially 0")
            continue
        rows = curves(experiment, metric)
        draw_by_decay(panel, rows, colours)
        figure_rows.append(rows.assign(metric=metric, series="against the epoch"))
    epochs(column, experiment)
    return figure_rows


def theory_lines(axes: Axes, experiment: Results, colours: Mapping) -> pd.DataFrame:
    """Draw across a panel, named by weight decay, the MSE of networks that reach the closed form.

    With penalised features and weights; return the values.
    """
    levels = products(experiment, experiment.values("mse"))
    levels = levels[levels["c"] > 0].drop_duplicates("weight_decay")
    root = np.sqrt(levels["c"])
    # The squared error depends on the product of the decays alone; MSE is its mean over targets.
    predictions = theory_along(covariance(experiment), root, root)
    values = [prediction["mse_sum"] / len(covariance(experiment)) for prediction in predictions]
    for decay, value in zip(levels["weight_decay"], values, strict=True):
        # As a curve, so that the axis reaches as far.
        axes.plot([0, 1], [value] * 2, transform=axes.get_yaxis_transform(), **THEORY)
        axes.annotate(
            f"${power(decay)}$", (0.02, value), xycoords=axes.get_yaxis_transform(), fontsize=6,
            xytext=(0, 1), textcoords="offset points", color=colours[decay],
        )  # fmt: skip
    drawn = {"weight_decay": levels["weight_decay"], "median": values}
    return pd.DataFrame(drawn).assign(metric="mse", series="theory")


def epochs(column: Iterable[Axes], experiment: Results) -> None:
    """Give panels that share their abscissa, top to bottom, an axis of epochs."""
    column = list(column)
    for panel in column:
        from_zero(panel, experiment.values("r2")["step"])
        panel.tick_params(labelbottom=panel is column[-1])
    column[-1].set_xlabel("epoch")
