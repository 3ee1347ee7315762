"""Collapse of a real network against the epoch: what the network figures share."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.plotting import FLOAT32_FLOOR
from collapse.studies import Experiment
from collapse.studies.deep_linear.analysis import NC2
from collapse.studies.deep_linear.curves import (
    FRAME,
    clipped,
    curves,
    depth_colours,
    depth_legend,
    diverged_note,
    draw_curves,
    grid_of_panels,
)

_PANELS = {
    bias: (
        ("NC1", "NC1", FLOAT32_FLOOR**2),
        (NC2[bias], f"NC2 ({'ETF' if bias else 'OF'})", FLOAT32_FLOOR),
        ("NC3_product", "NC3", FLOAT32_FLOOR),
        ("error", "training error", None),
    )
    for bias in (False, True)
}
_NAMES = {
    "fashion_mnist": "Fashion-MNIST",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "digits": "digits (8x8)",
}


def model_name(config: dict[str, Any]) -> str:
    """Return the architecture actually used, in a few words."""
    model = config["model"]
    if model["kind"] == "resnet18":
        return "ResNet18"
    if model["kind"] == "cnn":
        return "CNN " + "-".join(map(str, model["channels"]))
    hidden = model["hidden"]
    equal = len(set(hidden)) == 1
    return f"MLP {len(hidden)}x{hidden[0]}" if equal else "MLP " + "-".join(map(str, hidden))


def data_name(config: dict[str, Any]) -> str:
    """Return the name of the data actually used."""
    name = config["data"]["name"]
    return _NAMES.get(name, name)


def describe(config: dict[str, Any]) -> str:
    """Return the architecture, the data and the loss actually used, in a line."""
    size = config["data"]["samples_per_class"]
    images = f"{size} images a class" if size else "all images"
    return f"{model_name(config)} on {data_name(config)}, {images}, {config['loss'].upper()}"


def draw_network(experiment: Experiment) -> tuple[Figure, pd.DataFrame]:
    """Return NC1 to NC3 and the training error against the epoch, a row per kind of head."""
    heads = sorted(experiment.metrics["bias"].unique())
    colours = depth_colours(experiment)
    figure, axes = grid_of_panels(heads, _PANELS, height=1.5)
    drawn = []
    for (bias, column), panel in axes.items():
        metric, _, limit = _PANELS[bias][column]
        rows = curves(experiment, metric, bias, "all" if metric == "error" else "H1")
        if metric == "error":
            draw_curves(panel, rows, colours, None)
            panel.set_yscale("linear")
            panel.set_ylim(bottom=0)
        else:
            rows = clipped(rows, limit)
            draw_curves(panel, rows, colours, None)
            _mark_zero_error(panel, rows, curves(experiment, "error", bias, "all"), colours)
        drawn.append(rows.assign(head=FRAME[bias], metric=metric))
    for bias in heads:
        axes[bias, 0].set_title(FRAME[bias], loc="left")
    for column in range(4):
        axes[heads[-1], column].set_xlabel("epoch")
    diverged_note(axes[heads[0], 1], experiment)
    depth_legend(figure, colours, describe(experiment.config), experiment)
    return figure, pd.concat(drawn, ignore_index=True)


def _mark_zero_error(axes: Axes, rows: pd.DataFrame, errors: pd.DataFrame, colours: dict) -> None:
    """Circle each curve at the first recorded epoch whose median training error is zero."""
    for depth, error in errors.groupby("depth"):
        zero = error.loc[error["median"] == 0, "step"]
        if len(zero):
            at = rows[(rows["depth"] == depth) & (rows["step"] == zero.min())]
            axes.plot(
                at["step"], at["median"], "o", markersize=4, markerfacecolor="white",
                color=colours[depth], zorder=3,
            )  # fmt: skip
