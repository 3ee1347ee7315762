"""Figure: collapse at every layer, before and behind its projection and its random features."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from collapse.plotting import TWO_COLUMNS, category_colours, decades, over_seeds, seed_band
from collapse.studies import Results
from collapse.studies.deep_rfm.layers import ARMS, PLACES, of_map
from collapse.studies.networks import data_name, model_name, setting
from collapse.studies.sentences import UNFINISHED, listed, number, span

_EXPERIMENTS = ("rfm", "rfm_digits")
_METRICS = {"NC1_ratio": "NC1 ratio", "NC2_ETF": "NC2 (ETF)"}
_MARKERS = {"X": "o", "MX": "v", "Phi": "s"}
_LINES = {"agop": "-", "identity": ":", "shuffled": "-."}
# Behind the places of a layer stands the next layer's X.
_OFFSETS = {"X": 0.0, "MX": 1 / 3, "Phi": 2 / 3}
_FOURIER = "Fourier features"
# Of a marker: larger ones of more layers would be a beam.
_LARGEST, _ALL_LAYERS = 2.4, 24


def draw(experiments: Mapping[str, Results]) -> tuple[Figure, pd.DataFrame]:
    """Return the figure and the numbers drawn in it."""
    colours = category_colours(list(_EXPERIMENTS))
    columns = [*ARMS, _FOURIER]
    figure, axes = plt.subplots(
        len(_METRICS) + 1, len(columns), figsize=(TWO_COLUMNS, 5.0), sharex="col", sharey="row"
    )
    size, own_size = _size(*experiments.values()), _size(experiments["rfm_digits"])
    drawn = []
    for line, metric in zip(axes, _METRICS, strict=False):
        for panel, arm in zip(line, ARMS, strict=False):
            for name in _EXPERIMENTS:
                rows = _curve(experiments[name], metric, "relu", arm)
                _draw_line(panel, rows, colours[name], size)
                drawn.append(rows.assign(experiment=name, metric=metric))
        for arm in ARMS:
            rows = _curve(experiments["rfm_digits"], metric, "fourier", arm)
            _draw_line(line[-1], rows, colours["rfm_digits"], own_size, arm)
            drawn.append(rows.assign(experiment="rfm_digits", metric=metric))
        line[0].set_ylabel(_METRICS[metric])
        decades(line[0])
    drawn += _draw_accuracies(axes[-1], experiments, colours)
    for panel, title in zip(axes[0], [*ARMS.values(), _FOURIER], strict=True):
        panel.set_title(title, loc="left")
    for panel in axes[-1]:
        panel.set_xlabel("layer")
        panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    _legend(figure, experiments, colours)
    table = pd.concat(drawn, ignore_index=True)
    return figure, table.assign(
        **{
            column: table["experiment"].map(lambda n, named=named: named(experiments[n].config))
            for column, named in (("model", model_name), ("data", data_name))
        }
    )


def _curve(experiment: Results, metric: str, feature_map: str, arm: str) -> pd.DataFrame:
    """Return median and range over seeds of a metric by layer and place."""
    rows = of_map(experiment, feature_map, experiment.values(metric))
    rows = rows[(rows["projection"] == arm) & rows["layer"].isin(PLACES)]
    table = over_seeds(rows, ["step", "layer"]).rename(columns={"step": "number", "layer": "place"})
    at = table["number"] + table["place"].map(_OFFSETS).astype(float)
    return table.assign(feature_map=feature_map, projection=arm, at=at).sort_values("at")


def _size(*experiments: Results) -> float:
    """Return the size of the markers of experiments that share an axis."""
    return min(_LARGEST, _ALL_LAYERS / max(each.metrics["step"].max() for each in experiments))


def _draw_line(
    axes: Axes, rows: pd.DataFrame, colour: tuple, size: float, arm: str = "agop"
) -> None:
    """Draw a line through all places of all layers, a marker of a size for each place."""
    seed_band(axes, rows, "at", color=colour, linewidth=0.8, linestyle=_LINES[arm])
    for place, marker in _MARKERS.items():
        part = rows[rows["place"] == place]
        face = "white" if place == "MX" else colour
        axes.plot(
            part["at"], part["median"], marker, color=colour, markersize=size,
            markerfacecolor=face, markeredgewidth=size / 4,
        )  # fmt: skip


def _draw_accuracies(
    axes: Sequence[Axes], experiments: Mapping[str, Results], colours: Mapping
) -> list[pd.DataFrame]:
    """Draw the accuracy of every layer's kernel regression, held out and, paler, in training."""
    drawn = []
    curves = [
        (name, "relu", arm, panel)
        for name in _EXPERIMENTS
        for arm, panel in zip(ARMS, axes, strict=False)
    ]
    curves += [("rfm_digits", "fourier", arm, axes[-1]) for arm in ARMS]
    for name, feature_map, arm, panel in curves:
        line = {"color": colours[name], "linewidth": 0.9}
        line["linestyle"] = "-" if feature_map == "relu" else _LINES[arm]
        # Below the others: it is the same for all.
        broad = {"color": "0.8", "linewidth": 3, "zorder": 0}
        for metric, style in (("test_accuracy", line), ("accuracy", broad)):
            rows = _accuracy(experiments[name], metric, feature_map, arm)
            seed_band(panel, rows, "at", **style)
            drawn.append(rows.assign(experiment=name, metric=metric))
    axes[0].set_ylabel("accuracy")
    handles = [Line2D([], [], color=colours["rfm_digits"], linewidth=0.9, linestyle=_LINES[arm],
                      label=name) for arm, name in ARMS.items()]  # fmt: skip
    axes[-1].legend(handles=handles, loc="lower left", fontsize=6, borderaxespad=0, handlelength=2)
    return drawn


def _accuracy(experiment: Results, metric: str, feature_map: str, arm: str) -> pd.DataFrame:
    if metric == "accuracy":
        rows = experiment.values("error", "all")
        rows = rows.assign(value=1 - rows["value"])
    else:
        rows = experiment.values(metric, "all")
    rows = of_map(experiment, feature_map, rows)
    table = over_seeds(rows[rows["projection"] == arm], ["step"]).rename(columns={"step": "number"})
    return table.assign(feature_map=feature_map, projection=arm, place="X", at=table["number"])


def _legend(figure: Figure, experiments: Mapping[str, Results], colours: Mapping) -> None:
    handles = [
        Line2D([], [], color=colours[name], label=setting(experiments[name].config))
        for name in _EXPERIMENTS
    ]
    handles += [
        Line2D([], [], color="0.3", linestyle="", marker=marker, markersize=3, label=PLACES[place],
               markerfacecolor="white" if place == "MX" else "0.3")
        for place, marker in _MARKERS.items()
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), borderaxespad=0.2,
        columnspacing=1.0, handletextpad=0.4, fontsize=6,
    )  # fmt: skip


def findings(rows: pd.DataFrame) -> str:
    """Return what was measured, in sentences."""
    ratio = rows[rows["metric"] == "NC1_ratio"]
    if ratio.empty:
        return UNFINISHED
    relu, fourier = (ratio[ratio["feature_map"] == name] for name in ("relu", "fourier"))
    parts = [_of_ends(relu, "From the first layer's inputs to the last layer's features")]
    parts.append(_of_layers(relu[relu["projection"] == "agop"]))
    if len(fourier):
        parts.append(_of_ends(fourier, "With random Fourier features"))
    parts.append(_of_accuracies(rows))
    return " ".join(parts)


def _of_ends(rows: pd.DataFrame, begin: str) -> str:
    """Say from where to where the median goes, arm by arm and data set by data set."""
    sentences = []
    # Both may be on one data set.
    for (_, model, data), part in rows.groupby(["experiment", "model", "data"], sort=False):
        texts = []
        for arm, name in (
            ("agop", "the AGOP"),
            ("identity", "M = I"),
            ("shuffled", "a shuffled basis"),
        ):
            line = part[part["projection"] == arm]
            if len(line):
                first, last = line["median"].iloc[0], line["median"].iloc[-1]
                texts.append(f"{number(first)} to {number(last)} with {name}")
        sentences.append(
            f"{begin} the median NC1 ratio of a {model} on {data} goes from {listed(texts)}."
        )
    return " ".join(sentences)


def _of_layers(rows: pd.DataFrame) -> str:
    """Say by which factors projection and map change the median in a layer, over all layers."""
    table = rows.pivot(index=["experiment", "number"], columns="place", values="median")
    return (
        "With the AGOP and ReLU features the projection multiplies it by "
        f"{span(table['MX'] / table['X'])} in a layer, the random features by "
        f"{span(table['Phi'] / table['MX'])}."
    )


def _of_accuracies(rows: pd.DataFrame) -> str:
    """Say that the fit is the same everywhere, and what it is worth on samples held out."""
    training, test = (
        rows.loc[rows["metric"] == name, "median"] for name in ("accuracy", "test_accuracy")
    )
    return (
        f"The median accuracy of kernel regression on the training samples is {span(training)} in "
        f"all layers of all arms, on samples held out {span(test)}."
    )
