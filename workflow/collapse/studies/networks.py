"""Real networks in figures: what was trained on what, and where the training error is gone."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

_NAMES = {
    "fashion_mnist": "Fashion-MNIST",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "digits": "digits (8x8)",
    "shuttle": "Shuttle",
    "reacher": "Reacher",
    "swimmer": "Swimmer",
    "hopper": "Hopper",
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
    chosen = _chosen(config["data"])
    return f"{model_name(config)} on {data_name(config)}, {chosen}, {config['loss'].upper()}"


def _chosen(data: dict[str, Any]) -> str:
    """Return which samples of its data set an experiment trains on."""
    size, sizes, ratio = (
        data[key] for key in ("samples_per_class", "class_sizes", "imbalance_ratio")
    )
    if sizes:
        return f"{min(sizes)} to {max(sizes)} samples a class"
    if ratio:
        return f"long tail of ratio {ratio:g}"
    return f"{size} samples a class" if size else "all samples"


def mark_zero_error(axes: Axes, rows: pd.DataFrame, errors: pd.DataFrame, colours: dict) -> None:
    """Circle each curve at the first recorded epoch whose median training error is zero."""
    for depth, error in errors.groupby("depth"):
        zero = error.loc[error["median"] == 0, "step"]
        if len(zero):
            at = rows[(rows["depth"] == depth) & (rows["step"] == zero.min())]
            axes.plot(
                at["step"], at["median"], "o", markersize=4, markerfacecolor="white",
                color=colours[depth], zorder=3,
            )  # fmt: skip
