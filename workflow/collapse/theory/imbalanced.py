"""Closed forms of the imbalanced study: general orthogonal frames and minority collapse.

Source: Dang, Tran, Osher, Tran-The, Ho, Nguyen, "Neural Collapse in Deep Linear Networks: From
Balanced to Imbalanced Data", ICML 2023, arXiv 2301.00437, the imbalanced case. The problem is that
of `collapse.theory.linear_head`; here stands what is said class by class. Without a bias each
class is a direction of its own, with features and weights along one axis of an orthogonal frame
whose lengths follow from the class's size (the general orthogonal frame, GOF). A class below the
critical size collapses to zero. With an unpenalised last-layer bias, an extension of the paper,
the directions mix the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from collapse.theory.decay import decay_at, scaled_decay
from collapse.theory.direction import threshold
from collapse.theory.frame import lengths
from collapse.theory.hyperparameters import check_range
from collapse.theory.linear_head import (
    KEYS,
    OBJECTIVE,
    LinearHead,
    frame_of_run,
    hyperparameters,
    read,
    sweep_thresholds,
)
from collapse.theory.minimum import global_minimum

__all__ = ["KEYS", "OBJECTIVE", "frame_of_run", "of_run", "predict"]


def predict(**hyperparameters: object) -> dict[str, object]:
    """Return what the closed form says of the global minimum, class by class.

    Hyperparameters are described in `KEYS`; the decays are in the units of `OBJECTIVE`.

    Returns
    -------
    dict
        Those of ``deep_linear`` too.

        With loss=mse, in class order:

        ``gof_singular_values``
            s_k, the singular value of W_1 in the direction of class k; zero if it is collapsed.
        ``critical_decay``
            The decay, equal for all layers and the features, from which on class k is collapsed.
        ``weight_norm_ratio``, ``feature_norm_ratio``
            Norms of row k of P and of the class-mean feature, over those of the largest class.
        ``critical_class_size``
            The real number n_crit below which a class is collapsed at these decays.
        ``collapsed_directions``
            Directions without signal, of K without a bias and of K - 1 with one.

        With a bias the directions are not classes: all but the last are None. None is also what
        the minimum leaves open (see ``deep_linear``), and ratios to a class that is collapsed.

    Raises
    ------
    InputError
        A hyperparameter is unknown, missing, out of range or at odds with another, or the
        result leaves the range of double precision.

    Notes
    -----
    Dang et al. 2023 (arXiv 2301.00437); with a bias, and critical values, derived. Checked
    numerically.
    """
    prediction = global_minimum(**hyperparameters)
    head = read(hyperparameters)
    if head.loss != "mse":
        return prediction
    by_class = dict.fromkeys(
        ("gof_singular_values", "critical_decay", "weight_norm_ratio", "feature_norm_ratio")
    )
    critical_size = None
    if not head.bias:
        # A value out of range becomes infinite, and `check_range` names it.
        with np.errstate(all="ignore"):
            by_class |= _by_class(head, prediction)
        decays = head.weight_decay, head.feature_decay
        # b/n falls as 1/n: b over the threshold is the n at which they meet.
        critical_size = float(scaled_decay(1, head.total, *decays) / threshold(head.depth))
    class_values = by_class | {
        "critical_class_size": critical_size,
        "collapsed_directions": _collapsed_directions(head, prediction),
    }
    check_range(class_values)
    return prediction | class_values


def of_run(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, object]:
    """Return what the closed form says of a run; see `collapse.theory.deep_linear.of_run`."""
    # Without a sweep there are no thresholds, and `or` goes on.
    return sweep_thresholds(config) or predict(**hyperparameters(config, facts))


def _by_class(head: LinearHead, prediction: dict[str, object]) -> dict[str, list[float] | None]:
    sizes, depth = head.class_sizes, head.depth
    critical = decay_at(threshold(depth), sizes, head.total, depth)
    values = {"critical_decay": critical.tolist()}
    # Open at the threshold or in a bottleneck: then so are the lengths.
    if prediction["collapsed_classes"] is None:
        return values
    # A bottleneck lets the largest classes through.
    alive = np.array(prediction["feature_norms_squared"]) > 0
    frame = lengths(sizes, head.total, head.weight_decay, head.feature_decay)
    return values | {
        "gof_singular_values": (alive * frame.first_layer).tolist(),
        "weight_norm_ratio": _over_largest(alive * frame.weights, sizes),
        "feature_norm_ratio": _over_largest(alive * frame.features, sizes),
    }


def _over_largest(lengths: np.ndarray, sizes: np.ndarray) -> list[float] | None:
    largest = lengths[np.argmax(sizes)]
    # The largest class is the last to collapse: a ratio to it exists unless all did.
    return (lengths / largest).tolist() if largest else None


def _collapsed_directions(head: LinearHead, prediction: dict[str, object]) -> int | None:
    spectrum = prediction["product_eigenvalues"]
    if spectrum is None:
        return None
    # An unpenalised bias takes the direction in which all classes agree.
    return len(head.class_sizes) - int(head.bias) - int(np.count_nonzero(spectrum))
