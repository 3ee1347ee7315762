"""Closed forms of the deep-linear study.

Source: Dang, Tran, Osher, Tran-The, Ho, Nguyen, "Neural Collapse in Deep Linear Networks: From
Balanced to Imbalanced Data", ICML 2023, arXiv 2301.00437. The model is that of
`collapse.theory.linear_head`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collapse.theory.decay import decay_at, scaled_decay
from collapse.theory.direction import (
    largest_root,
    logit_fraction,
    metastable_threshold,
    minimiser,
    threshold,
)
from collapse.theory.linear_head import (
    KEYS,
    OBJECTIVE,
    frame_of_run,
    hyperparameters,
    sweep_thresholds,
)
from collapse.theory.minimum import global_minimum

__all__ = [
    "KEYS",
    "OBJECTIVE",
    "decay_at",
    "frame_of_run",
    "largest_root",
    "logit_fraction",
    "metastable_threshold",
    "minimiser",
    "of_run",
    "predict",
    "scaled_decay",
    "threshold",
]


def predict(**hyperparameters: object) -> dict[str, object]:
    """Return what the closed form says of the global minimum.

    Hyperparameters are described in `KEYS`; the decays are in the units of `OBJECTIVE`.

    Returns
    -------
    dict
        With loss=mse:

        ``loss``
            Objective at the minimum.
        ``product_eigenvalues``, ``layer_singular_values``, ``logit_singular_values``
            Of P P^T, of W_1 and of the K x N logits P H without the bias; descending,
            zero-padded to length K.
        ``feature_norms_squared``
            Squared norms of the K class-mean features, in class order.
        ``threshold``
            The scaled decay at which a class collapses.
        ``scaled_decay``
            b/n_k of each class, what is compared with the threshold; None for unequal classes
            with a bias, whose directions are not classes.
        ``collapsed_classes``
            Classes (from 0) whose features, and row of P, are zero.

        What the minimum leaves open is None: the two keys of features where a bottleneck cuts
        through directions of equal strength, and besides the three spectra at the threshold
        itself for depth >= 2. The loss always stands.

        With loss=ce and depth 1:

        ``loss``, ``alpha``
            Objective at the minimum, and a of the logits a (I - 11^T/K), a column each sample;
            None where a width below K - 1 cannot hold them.

        With loss=ce and more depth, where the simplex ETF is not the global minimum in general:

        ``loss_etf``, ``alpha_etf``
            Those of the best of the ETF family (widths >= K - 1).
        ``loss_cross_polytope``, ``alpha_cross_polytope``
            Those of the best of the cross-polytope family (even K, widths >= K/2).

        None where a family does not exist. A bias, constant over classes at either, changes
        neither. An alpha is None where zero ties with it.

    Raises
    ------
    InputError
        A hyperparameter is unknown, missing, out of range or at odds with another, or the
        result leaves the range of double precision.

    Notes
    -----
    Dang et al. 2023 (arXiv 2301.00437); derived and checked numerically.
    """
    return global_minimum(**hyperparameters)


def of_run(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, object]:
    """Return what the closed form says of a run: of a sweep, which has many decays, its thresholds.

    The arguments are those of `collapse.theory.linear_head.hyperparameters`.

    Returns
    -------
    dict
        Those of `predict`.

        Of a sweep of the decays, in their place:

        ``threshold``
            The scaled decay from which on zero is the global minimum.
        ``metastable_threshold``
            The scaled decay up to which there is a local minimum beside zero.

    Raises
    ------
    InputError
        The run has no closed form.
    """
    # Without a sweep there are no thresholds, and `or` goes on.
    return sweep_thresholds(config) or predict(**hyperparameters(config, facts))
