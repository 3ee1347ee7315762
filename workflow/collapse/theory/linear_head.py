"""The deep linear unconstrained-features model: its hyperparameters, and those of a run.

Source: Dang, Tran, Osher, Tran-The, Ho, Nguyen, "Neural Collapse in Deep Linear Networks: From
Balanced to Imbalanced Data", ICML 2023, arXiv 2301.00437. The formulas are derived from the
objective and checked numerically.

K classes of n_k samples, N = sum n_k, W_m of shape d_(m+1) x d_m, P = W_M...W_1 (K x d_1) and H of
shape d_1 x N. Its minima are those of `collapse.theory.squared_error` and of
`collapse.theory.cross_entropy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapse.errors import InputError
from collapse.theory.direction import metastable_threshold, threshold
from collapse.theory.frame import lengths
from collapse.theory.hyperparameters import (
    Hyperparameter,
    boolean,
    choice,
    integer,
    list_of,
    number,
    one_or_list,
    parse,
)

OBJECTIVE = (
    "min 1/(2N) ||W_M...W_1 H + bias - Y||_F^2 + sum_m weight_decay_m/2 ||W_m||_F^2"
    " + feature_decay/2 ||H||_F^2, H summed over all N samples, bias not penalised;"
    " with loss=ce the first term is 1/N sum_i CE"
)
"""The objective whose units the decays are in."""

_DECAY = number(0)
_WIDTH = integer(1, 10**9)

KEYS = {
    "class_sizes": Hyperparameter(
        list_of(integer(1, 10**15), at_least=2), "samples per class n_1 to n_K; K is the length"
    ),
    "weight_decay": Hyperparameter(
        one_or_list(_DECAY),
        "penalty of W_1 to W_M in units of 1/2 ||W_m||_F^2; one number holds for all layers",
    ),
    "depth": Hyperparameter(
        integer(1, 1000),
        "linear layers M; if left out, the length of weight_decay (1 for one number)",
        default=None,
    ),
    "feature_decay": Hyperparameter(
        _DECAY, "penalty of the features in units of 1/2 ||H||_F^2, summed over samples"
    ),
    "loss": Hyperparameter(
        choice("mse", "ce"), "squared error, or cross-entropy of equal class sizes", default="mse"
    ),
    "bias": Hyperparameter(boolean(), "last-layer bias, not penalised", default=False),
    "widths": Hyperparameter(
        one_or_list(_WIDTH),
        "input widths d_1 to d_M of W_1 to W_M, or one number; if left out, at least K",
        default=None,
    ),
}
"""The hyperparameters of the model."""

TIE = 1e-12
"""Relative distance below which a scaled decay counts as equal to the threshold: rounding."""


def hyperparameters(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of `KEYS` that a run has.

    Parameters
    ----------
    config
        The config of a run: a problem's with ``problem``, a network's with ``head`` and ``loss``.
    facts
        Of a network ``class_sizes``, the samples of each class, and ``width``, its features'
        dimension, or None where that is not known.

    Raises
    ------
    InputError
        It is another problem or head, or a network without classes.
    """
    if "class_sizes" not in config.get("problem", facts):
        raise InputError("no linear head on features of classes: the closed form is that of one")
    values = {key: config[key] for key in ("weight_decay", "feature_decay")}
    if config.get("head", {}).get("activation", "linear") != "linear":
        raise InputError("head.activation: the closed form is that of a linear head")
    if "problem" in config:
        names = ("class_sizes", "depth", "widths", "loss", "bias")
        return values | {name: config["problem"][name] for name in names}
    values |= {"loss": config["loss"]["kind"], "class_sizes": facts["class_sizes"]}
    values |= {name: config["head"][name] for name in ("depth", "bias")}
    # A width that is not known counts as wide enough.
    return values | ({"widths": facts["width"]} if facts["width"] else {})


def sweep_thresholds(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the scaled decays at which the directions of a sweep vanish; empty without a sweep."""
    if not config.get("sweep"):
        return {}
    depth = config["problem"]["depth"]
    return {
        "threshold": float(threshold(depth)),
        "metastable_threshold": float(metastable_threshold(depth)),
    }


def frame_of_run(
    config: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, NDArray[np.float64]]:
    """Return the general orthogonal frame that a run is measured against.

    ``weight_norm`` and ``feature_norm``, the norms of the rows of P and of the class means, K each,
    in class order. Empty where the minimum is no such frame: with a bias, with cross-entropy, with
    a width below K or a decay of zero. The arguments are those of `hyperparameters`.
    """
    try:
        head = read(hyperparameters(config, facts))
    # Zero decays, or cross-entropy of unequal classes: trained, but without a closed form.
    except InputError:
        return {}
    sizes = head.class_sizes
    if head.bias or head.loss != "mse" or head.width < len(sizes):
        return {}
    frame = lengths(sizes, head.total, head.weight_decay, head.feature_decay)
    return {"weight_norm": frame.weights, "feature_norm": frame.features}


@dataclass(frozen=True)
class LinearHead:
    """The hyperparameters of `KEYS`, read: one decay per layer, and the smallest width."""

    class_sizes: NDArray[np.float64]
    weight_decay: list[float]
    feature_decay: float
    loss: str
    bias: bool
    width: int

    @property
    def depth(self) -> int:
        """The number of layers M."""
        return len(self.weight_decay)

    @property
    def total(self) -> float:
        """The number of samples N."""
        return float(self.class_sizes.sum())

    @property
    def balanced(self) -> bool:
        """Whether all classes have the same size."""
        return bool(np.all(self.class_sizes == self.class_sizes[0]))


def read(hyperparameters: Mapping[str, object]) -> LinearHead:
    """Check the hyperparameters of `KEYS`.

    Raises
    ------
    InputError
        One is unknown, missing, out of range or at odds with another.
    """
    values = parse(KEYS, hyperparameters)
    decay, depth, widths = values["weight_decay"], values["depth"], values["widths"]
    # The kinds parse one number to a float and several to a list.
    if isinstance(decay, float):
        decay = [decay] * (depth or 1)
    if depth not in (None, len(decay)):
        raise InputError(f"depth: found {depth}, allowed: {len(decay)}, the length of weight_decay")
    if isinstance(widths, list) and len(widths) != len(decay):
        raise InputError(
            f"widths: found {len(widths)} numbers, allowed: one, or {len(decay)} (one per layer)"
        )
    classes = len(values["class_sizes"])
    if values["loss"] == "ce" and len(set(values["class_sizes"])) > 1:
        raise InputError("class_sizes: found unequal sizes, allowed with loss=ce: equal sizes")
    return LinearHead(
        class_sizes=np.array(values["class_sizes"], dtype=np.float64),
        weight_decay=decay,
        feature_decay=values["feature_decay"],
        loss=values["loss"],
        bias=values["bias"],
        # The narrowest layer bounds the rank of the product.
        width=classes if widths is None else int(np.min(widths)),
    )
