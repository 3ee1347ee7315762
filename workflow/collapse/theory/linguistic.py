"""The floor of the ETF error where there are more classes than dimensions.

Source of the study: Wu, Papyan, "Linguistic Collapse: Neural Collapse in (Large) Language Models",
NeurIPS 2024, arXiv 2405.17767. The floor is derived here from its library's definition of the ETF
error, norm(G/norm(G) - P/sqrt(K-1)) with G the Gram matrix of K class means less their unweighted
mean and P = I - J/K. As G P = G its square is 2 - 2 tr(G)/(norm(G) sqrt(K-1)), and tr(G)/norm(G) is
at most the root of G's rank, min(d, K - 1). Every centred tight frame reaches it, whatever its
lengths and angles: above the floor the ETF error says how flat G's spectrum is, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from collapse.theory.hyperparameters import Hyperparameter, integer, parse

OBJECTIVE = "mean cross-entropy of the next token; the floor holds whatever the objective is"
"""The objective of the models; the floor is one of geometry alone."""

KEYS = {
    "classes": Hyperparameter(integer(2, 10**9), "number of classes K: tokens behind a context"),
    "width": Hyperparameter(integer(1, 10**9), "dimension d of the features"),
}
"""The hyperparameters of `predict`."""


def predict(**hyperparameters: object) -> dict[str, object]:
    """Return the least ETF error of K class means in d dimensions.

    Parameters
    ----------
    **hyperparameters
        As described in `KEYS`.

    Returns
    -------
    dict
        ``NC2_ETF_floor``
            The value below which no NC2_ETF about the unweighted mean is.
        ``rank``
            The largest rank of the class means, which have to span it evenly to reach the floor.

    Raises
    ------
    InputError
        A hyperparameter is missing, unknown or out of its range.
    """
    given = parse(KEYS, hyperparameters)
    classes, width = given["classes"], given["width"]
    return {"NC2_ETF_floor": etf_floor(width, classes), "rank": min(width, classes - 1)}


def etf_floor(width: int, classes: int) -> float:
    """Return ``sqrt(2 - 2 sqrt(min(d, K - 1)/(K - 1)))``, the least ETF error."""
    # Without a difference of near numbers: 1 - sqrt(x) is (1 - x)/(1 + sqrt(x)), and 1 - x is of
    # whole ones.
    most = classes - 1
    rank = min(width, most)
    return math.sqrt(2 * (most - rank) / most / (1 + math.sqrt(rank / most)))


def of_run(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, float]:
    """Return ``NC2_ETF_floor`` of a run that is trained on a whole text.

    K is the number of tokens that the training text has behind a context: of the data `facts` has
    ``class_sizes``, of which all beyond the config's vocabulary are one. Of a part of the text
    that is not known.
    """
    if config["data"]["tokens"] is not None:
        return {}
    sizes = np.asarray(facts["class_sizes"])
    kept = config["data"]["vocabulary"] or len(sizes)
    classes = np.count_nonzero(sizes[: kept - 1]) + int(sizes[kept - 1 :].any())
    return {"NC2_ETF_floor": etf_floor(config["width"], int(classes))}
