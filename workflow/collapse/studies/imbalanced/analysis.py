"""Numbers that figures and claims of the imbalanced study share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from collapse.grid import format_value
from collapse.studies import Results
from collapse.studies.analysis import by_class
from collapse.studies.sentences import listed, number
from collapse.studies.verdicts import lost, missing
from collapse.theory.direction import logit_fraction, minimiser
from collapse.theory.frame import Lengths, lengths

PAPER = "Dang et al. 2023"
DERIVED = "derived from the objective of Dang et al. 2023"
LENGTHS = {
    "first_layer": r"singular value of $W_1$",
    "weight_norm": "norm of row of $P$",
    "feature_norm": "norm of class mean",
}
"""The lengths of the frame, as axis labels."""

NAMES = {
    "NC1": "NC1",
    "NC2_W_GOF": "NC2 of the weights",
    "NC2_GOF": "NC2 of the class means",
    "NC3_GOF": "NC3",
    "duality_GOF": "duality",
    "loss_gap": "relative loss gap",
}
"""What the metrics of the panels are called in sentences."""

TO_BALANCED = {"NC2_W_GOF": "NC2_W", "NC2_GOF": "NC2_OF", "NC3_GOF": "NC3_product"}
"""Distances to the general orthogonal frame, and the same to the frame of equal lengths."""


def frame_panels(floor: float, last: tuple) -> dict[int, tuple[tuple, ...]]:
    """Return two rows of panels: NC1, the distances to the frame, and one more, `last`.

    `floor` is the rounding of the number format, in which NC1 is quadratic.
    """
    return {
        0: (
            ("NC1", "NC1", floor**2),
            ("NC2_W_GOF", "NC2$_W$", floor),
            ("NC2_GOF", "NC2$_H$", floor),
        ),
        1: (("NC3_GOF", "NC3", floor), ("duality_GOF", "duality", floor), last),
    }


def by_depth(values: pd.Series) -> str:
    """Spell numbers by depth, ``0.1 (M = 1) and 0.2 (M = 3)``; none are empty."""
    parts = [f"{number(value)} (M = {depth:g})" for depth, value in values.items()]
    return listed(parts) if parts else ""


def runs_lost(experiment: Results, depth: int | None = None) -> list[str]:
    """Return, in words, how many runs diverged, of all or of one depth."""
    rows = experiment.values("diverged")
    return lost(len(rows if depth is None else rows[rows["depth"] == depth]))


def depths_missing(experiment: Results, wanted: Sequence[int]) -> list[str]:
    """Return, in words, which depths this scale leaves out."""
    return missing(wanted, experiment.metrics["depth"].unique(), "M")


def decays(config: Mapping[str, Any], depth: int) -> tuple[list[float], float]:
    """Return the decays of W_1 to W_M and of the features."""
    weight = config["weight_decay"]
    return list(weight) if isinstance(weight, list) else [weight] * depth, config["feature_decay"]


def weight_decays(config: Mapping[str, Any]) -> dict[Any, list[float]]:
    """Return the weight decays of a network experiment's grid by their name in its tables."""
    depth = config["head"]["depth"]
    values = config["grid"].get("weight_decay", [config["weight_decay"]])
    return {
        format_value(value) if isinstance(value, list) else value: (
            value if isinstance(value, list) else [value] * depth
        )
        for value in values
    }


def frame_of(config: Mapping[str, Any], depth: int, sizes: np.ndarray, total: float) -> Lengths:
    """Return the lengths that theory gives classes of any size among N samples."""
    return lengths(sizes, total, *decays(config, depth))


def released_target(config: Mapping[str, Any], depth: int, sizes: np.ndarray) -> Lengths:
    """Return the frame that the released code of Dang et al. 2023 compares its MLP with.

    Its data term is 1/K of the one here, so that its decays are 1/K of those of the config in its
    own units; its target is the frame of these, as if its data term were unscaled.
    """
    weight, feature = decays(config, depth)
    classes = len(sizes)
    return lengths(sizes, sizes.sum(), [decay / classes for decay in weight], feature / classes)


def of_lengths(predicted: Lengths) -> dict[str, np.ndarray]:
    """Return predicted lengths by the names of `LENGTHS`."""
    return {
        "first_layer": predicted.first_layer,
        "weight_norm": predicted.weights,
        "feature_norm": predicted.features,
    }


def measured_lengths(experiment: Results) -> pd.DataFrame:
    """Return the measured lengths of every run at the last step, and what theory says.

    With the run's keys, ``class``, ``class_size``, ``length`` (a key of `LENGTHS`), ``value`` and
    ``predicted``. The singular values of W_1 are given to the classes by size.
    """
    parts = [
        experiment.at_last(by_class(experiment, name)).assign(length=name)
        for name in ("weight_norm", "feature_norm")
    ]
    # W_1 has singular values, not rows by class; theory gives the largest to the largest class.
    parts.append(_first_layer(experiment, parts[0]).assign(length="first_layer"))
    rows = pd.concat(parts, ignore_index=True)
    total = sum(experiment.config["problem"]["class_sizes"])
    predicted = pd.Series(np.nan, rows.index)
    for (depth, length), group in rows.groupby(["depth", "length"]):
        frame = frame_of(experiment.config, depth, group["class_size"].to_numpy(), total)
        predicted[group.index] = of_lengths(frame)[length]
    return rows.assign(predicted=predicted)


def _first_layer(experiment: Results, classes: pd.DataFrame) -> pd.DataFrame:
    """Return the singular values of W_1, descending, for classes of descending size."""
    keys = experiment.keys
    rows = experiment.completed(experiment.metrics)
    rows = rows[(rows["layer"] == "W1") & rows["metric"].str.startswith("layer_singular_values[")]
    rows = experiment.at_last(rows).sort_values([*keys, "value"], ascending=False)
    order = classes.sort_values([*keys, "class_size"], ascending=False)
    rank = order.groupby(keys).cumcount()
    values = rows.assign(rank=rows.groupby(keys).cumcount())[[*keys, "rank", "value"]]
    return order.assign(rank=rank).drop(columns="value").merge(values, on=[*keys, "rank"])


def logit_fractions(experiment: Results) -> pd.DataFrame:
    """Return each class's logit norm at each stage of a sweep, with the class's scaled decay.

    With the run's keys, ``step``, ``class``, ``class_size``, ``scaled_decay`` (that of the class),
    ``value``, and ``predicted``, the global minimum.
    """
    keys = [*experiment.keys, "step"]
    rows = by_class(experiment, "logit_norm").merge(
        experiment.values("scaled_decay")[[*keys, "value"]], on=keys, suffixes=("", "_decay")
    )
    # The measured scaled decay b/n is that of the largest class.
    largest = max(experiment.config["problem"]["class_sizes"])
    class_decay = rows["value_decay"] * largest / rows["class_size"]
    return rows.assign(
        scaled_decay=class_decay,
        predicted=predicted_fraction(class_decay.to_numpy(), rows["depth"].to_numpy()),
    ).drop(columns="value_decay")


def predicted_fraction(scaled_decay: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return a class's logit norm at the global minimum, its label's being 1."""
    return logit_fraction(minimiser(scaled_decay, depth), depth)


def gof_distances(predicted: Lengths, weights: np.ndarray, means: np.ndarray) -> dict[str, float]:
    """Return ``NC2_W_GOF`` and ``NC2_GOF``, the distances of Gram matrices to a frame.

    They are those, K x K, of the rows of P (`weights`) and of the class `means`.
    """
    pairs = {
        "NC2_W_GOF": (weights, predicted.weights**2),
        "NC2_GOF": (means, predicted.features**2),
    }
    return {
        name: float(np.linalg.norm(gram / np.linalg.norm(gram) - np.diag(squares / _norm(squares))))
        for name, (gram, squares) in pairs.items()
    }


def released_floor(config: Mapping[str, Any], depth: int, sizes: np.ndarray) -> dict[str, float]:
    """Return how far the optimum is from the target of the released code, by metric.

    ``NC2_W_GOF``, ``NC2_GOF`` and ``NC3_GOF`` between the two frames.
    """
    optimum = frame_of(config, depth, sizes, sizes.sum())
    target = released_target(config, depth, sizes)
    pairs = {
        "NC2_W_GOF": (optimum.weights**2, target.weights**2),
        "NC2_GOF": (optimum.features**2, target.features**2),
        "NC3_GOF": (optimum.weights * optimum.features, target.weights * target.features),
    }
    return {
        name: _norm(one / _norm(one) - other / _norm(other)) for name, (one, other) in pairs.items()
    }


def _norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values))
