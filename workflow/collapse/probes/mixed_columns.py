"""The free features of mixed samples, and their classifier (Fisher et al. 2024)."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics.frames import defined
from collapse.metrics.mixup import classifier_norm, etf_distance
from collapse.probes import Reading, State
from collapse.problems.mixup import Columns, classifier, columns

# Directions of W that are shorter, relative to its longest, are none of its.
ROUNDING = 1e-5


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield what describes the classifier, and the features as a whole.

    On layer ``H1``: ``classifier_ETF`` and ``classifier_norm``, as of networks;
    ``mean_square_norm``, the mean of ||h||^2 over pairs of classes and lambda, by the objective's
    weights; and, where 1/2 is a node, ``amplification_half``, the mean of u + v over pairs of
    different classes at lambda = 1/2, over that of the pairs of one class.
    """
    weights, mixed = _classifier(state), columns(state.config["problem"])
    u, v, _ = _coordinates((state.features @ weights.T).numpy(), mixed)
    same, half = mixed.first == mixed.second, np.isclose(mixed.mix, 0.5, rtol=0, atol=1e-12)
    values = {
        "classifier_ETF": etf_distance(weights),
        "classifier_norm": classifier_norm(weights),
        "mean_square_norm": mixed.weight @ state.features.square().sum(1).numpy(),
    }
    if half.any() and u.any():
        values["amplification_half"] = (u + v)[half].mean() / u[same].mean()
    for name, value in values.items():
        # A W of zeros has no direction.
        number = defined(value)
        if number is not None:
            yield "H1", name, number


def points(state: State, _: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return the features of the last state, a row for each.

    ``first``, ``second`` and ``mix``, lambda, the weight of the first; ``u`` and ``v``, logits of
    the first and of the second class less the mean of the others (of a pair of one class ``mix`` is
    1 and ``v`` 0); ``spread``, the largest distance of another's logit from that mean; ``norm``,
    ||h||; ``off_plane``, the share of the norm that is orthogonal to the rows of the classifier.
    """
    if not state.last:
        return None
    weights, mixed = _classifier(state), columns(state.config["problem"])
    u, v, spread = _coordinates((state.features @ weights.T).numpy(), mixed)
    _, lengths, directions = torch.linalg.svd(weights, full_matrices=False)
    span = directions[lengths > ROUNDING * lengths[0]]
    norms = state.features.norm(dim=1)
    outside = (state.features - state.features @ span.T @ span).norm(dim=1)
    return pd.DataFrame(
        {
            "layer": "H1",
            "first": mixed.first,
            "second": mixed.second,
            "mix": mixed.mix,
            "u": u,
            "v": v,
            "spread": spread,
            "norm": norms.numpy(),
            "off_plane": (outside / norms).numpy(),
        }
    )


def _classifier(state: State) -> Tensor:
    """Return W, K x d: the free one, or the one that the config gives."""
    problem = state.config.get("problem", {})
    if "nodes" not in problem:
        raise InputError("probe mixed_columns: a state of a mixup problem is needed")
    return state.weights[0] if state.weights else classifier(problem)


def _coordinates(logits: np.ndarray, mixed: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return u, v and the spread of the others' logits, (N,) each, of logits N x K."""
    place = np.arange(len(logits))
    others = np.ones(logits.shape, dtype=bool)
    others[place, mixed.first] = others[place, mixed.second] = False
    centre = logits.mean(1, where=others)
    u, v = logits[place, mixed.first] - centre, logits[place, mixed.second] - centre
    spread = np.abs(logits - centre[:, None]).max(1, where=others, initial=0.0)
    return u, np.where(mixed.first == mixed.second, 0.0, v), spread
