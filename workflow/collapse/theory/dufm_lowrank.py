"""Collapsed solutions of the deep unconstrained features model: an axis a class, or a graph.

Source: Sukenik, Lampert, Mondelli, "Neural collapse versus low-rank bias: Is deep neural collapse
really optimal?", NeurIPS 2024, arXiv 2405.14468. The paper's theorem was at hand in the words of
others and as its figures' captions: the formulas here are derived from the objective, the strongly
regular graph (SRG) solution is reconstructed, and both are checked numerically. They give the
thresholds of the theorem: deep neural collapse (DNC) is not optimal for L >= 3 and K >= 10, and for
L >= 4 and K >= 6.

H_1 = H, H_(l+1) = W_l relu(H_l) without a ReLU on H_1, Z = H_(L+1). With all samples of a class
alike the n samples cost what one does at n feature_decay; c = n feature_decay prod_l
weight_decay_l. A block of K_b classes that shares nothing with others and whose L + 1 factors have
fixed shapes of squared norms g_j puts out a I at the least cost

    K_b/(2K) (1 - a)^2 + (L+1)/2 (c G a^2)^(1/(L+1)),   G = prod_j g_j.

DNC is K blocks with G = 1. A block of C(r, 2) classes can be the edges of the complete graph of r
vertices: with B its vertex-edge incidence (r x K_b) H_2 to H_(L-1) are multiples of B and H_L of
J - B^T B, whose ReLU, the adjacency of the Kneser graph, W_L inverts.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from collapse.errors import InputError
from collapse.theory.decay import root_of_product
from collapse.theory.hyperparameters import Hyperparameter, integer, number, one_or_list, parse

OBJECTIVE = (
    "min 1/(2N) ||W_L relu(W_(L-1) ... relu(W_1 H)) - Y||_F^2 + sum_l weight_decay_l/2 ||W_l||_F^2"
    " + feature_decay/2 ||H||_F^2, H summed over all N = K n samples, no bias, no ReLU on H, no"
    " layer narrower than K"
)
"""The objective whose units the decays are in."""

KEYS = {
    "classes": Hyperparameter(
        integer(2, 10**6),
        "number of classes K; loss_srg and alpha_srg are there if K = r (r - 1)/2 with r >= 5 (10,"
        " 15, 21, ...): the graph of r = 4 (K = 6) is no optimum of its kind, see loss_blocks",
    ),
    "depth": Hyperparameter(integer(2, 1000), "number of layers L, with L - 1 ReLUs between them"),
    "samples_per_class": Hyperparameter(integer(1, 10**15), "samples n of each class"),
    "weight_decay": Hyperparameter(
        one_or_list(number(0)),
        "penalty of W_1 to W_L in units of 1/2 ||W_l||_F^2; one number holds for all layers",
    ),
    "feature_decay": Hyperparameter(
        number(0), "penalty of the features in units of 1/2 ||H||_F^2, summed over samples"
    ),
}
"""The hyperparameters of `predict`."""

SMALLEST_GRAPH = 4
"""Vertices from which on the ReLU of J - B^T B has an inverse."""
OPTIMAL_GRAPH = 5
"""Vertices from which on descent from the graph gains next to nothing; with 4 it gains 2 %."""
TIE = 1e-12
"""Relative distance of two losses below which they count as equal: rounding."""
ZERO = 0.5
"""The loss of zero: half the mean squared norm of a one-hot label."""


def predict(**hyperparameters: object) -> dict[str, object]:
    """Return the losses of the collapsed solutions, and at what decay DNC is worth its penalty.

    Parameters
    ----------
    **hyperparameters
        As described in `KEYS`, in the units of `OBJECTIVE`.

    Returns
    -------
    dict
        ``loss_dnc``, ``alpha_dnc``
            The least loss with an axis a class, and a, the output for its own class. From
            ``threshold_dnc`` on these are the loss of zero and 0; at the threshold both tie and a
            is None.
        ``loss_srg``, ``alpha_srg``
            The same with all classes as edges of a complete graph of 5 vertices or more; absent
            where K is not their number, or with two layers, which hold no graph.
        ``loss_blocks``, ``graph_classes``
            The least loss with the first ``graph_classes`` classes as edges of a graph, also one of
            4 vertices, and an axis for each other class; with 0 of them it is DNC. An upper bound
            of the minimum, as ``loss_srg`` is.
        ``loss_zero``
            1/2.
        ``scaled_decay``, ``threshold_dnc``
            c = n feature_decay prod_l weight_decay_l, and (L-1)^(L-1)/(K^(L+1) L^(2L)), the c
            from which on zero is better than DNC; each None beyond the range of double precision.
        ``rank_dnc``, ``rank_srg``
            Rank of H_2 to H_(L-1) in each: K and r, absent like ``loss_srg``.

    Raises
    ------
    InputError
        A hyperparameter is unknown, missing or out of range, or there is not one decay a layer.
    """
    values = parse(KEYS, hyperparameters)
    classes, depth = values["classes"], values["depth"]
    decays = _decays(values)
    level = root_of_product(decays, depth + 1)
    loss, alpha = _loss(_blocks(classes, depth, 0), classes, depth, level)
    best = min(
        ((_loss(_blocks(classes, depth, e), classes, depth, level)[0], e)
         for e in graph_sizes(classes, depth)),
        default=(math.inf, 0),
    )  # fmt: skip
    blocks, edges = best if best[0] < loss * (1 - TIE) else (loss, 0)
    prediction = {
        "loss_dnc": loss,
        "alpha_dnc": alpha,
        "loss_blocks": blocks,
        "graph_classes": edges,
        "loss_zero": ZERO,
        "scaled_decay": _product(decays),
        "threshold_dnc": _in_range(threshold(classes, depth)),
        "rank_dnc": classes,
    }
    vertices = graph_vertices(classes)
    if vertices is None or vertices < OPTIMAL_GRAPH or depth < 3:
        return prediction
    loss, alpha = _loss(_blocks(classes, depth, classes), classes, depth, level)
    return prediction | {"loss_srg": loss, "alpha_srg": alpha, "rank_srg": vertices}


def threshold(classes: int, depth: int) -> float:
    """Return the scaled decay from which on zero has a smaller loss than DNC.

    (L-1)^(L-1)/(K^(L+1) L^(2L)): there a = (L-1)/L. By logarithms, as powers alone overflow.
    """
    top = (depth - 1) * math.log(depth - 1)
    return math.exp(top - (depth + 1) * math.log(classes) - 2 * depth * math.log(depth))


def graph_vertices(classes: int) -> int | None:
    """Return r if `classes` are r (r - 1)/2 edges, r >= 4; else None."""
    vertices = (1 + math.isqrt(1 + 8 * classes)) // 2
    exact = math.comb(vertices, 2) == classes and vertices >= SMALLEST_GRAPH
    return vertices if exact else None


def graph_sizes(classes: int, depth: int) -> list[int]:
    """Return how many classes can be the edges of a complete graph, up to all; none for L = 2."""
    if depth < 3:
        return []
    largest = (1 + math.isqrt(1 + 8 * classes)) // 2
    return [math.comb(vertices, 2) for vertices in range(SMALLEST_GRAPH, largest + 1)]


def collapsed_loss(edges: int, **hyperparameters: object) -> float:
    """Return the least loss with the first `edges` classes as a graph and an axis for each other.

    Zero included, block by block. The hyperparameters are those of `predict`.

    Raises
    ------
    InputError
        As `predict`, or if there is no such graph.
    """
    values = parse(KEYS, hyperparameters)
    classes, depth = values["classes"], values["depth"]
    if edges and edges not in graph_sizes(classes, depth):
        raise InputError(
            f"graph_classes: found {edges}, allowed: 0, or 6, 10, 15 and so on up to the number of"
            " classes, with 3 layers or more"
        )
    level = root_of_product(_decays(values), depth + 1)
    return _loss(_blocks(classes, depth, edges), classes, depth, level)[0]


def limit_ratio(vertices: int, depth: int) -> float:
    """Return the loss of the graph of r = `vertices` over that of DNC as decays vanish.

    r >= 4, L >= 3: (G/K^(L+1))^(1/(L+1)), K = C(r, 2). Below 1 but for r = 4, L = 3.
    """
    classes = math.comb(vertices, 2)
    return _graph_root(vertices, depth) / classes


def of_run(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, object]:
    """Return what the closed forms say of a run: a problem's, or a network's with a ReLU head.

    Of a network `facts` give ``class_sizes``, the samples of each class. Its features are taken
    for free: the losses are then lower bounds of what these structures cost it.

    Raises
    ------
    InputError
        It is another problem or head, its classes differ in size, its backbone is penalised, or a
        layer is narrower than the classes are many.
    """
    decays = {key: config[key] for key in ("weight_decay", "feature_decay")}
    if "problem" in config:
        shape = config["problem"]
        # A deep linear problem of as many layers has other keys.
        if not {"depth", "classes", "samples_per_class"} <= shape.keys():
            raise InputError("no ReLU problem: the closed forms are those of one")
        _check_widths(shape["widths"], shape["classes"])
        keys = ("classes", "depth", "samples_per_class")
        return predict(**{key: shape[key] for key in keys}, **decays)
    head, sizes = config["head"], facts.get("class_sizes", [])
    fits = (
        head.get("activation") == "relu",
        config["loss"]["kind"] == "mse",
        not head["bias"],
        not config["backbone_decay"],
        len(set(sizes)) == 1,
    )
    if not all(fits):
        raise InputError(
            "the closed forms are of a ReLU head without bias on equal classes, MSE, and features"
            " that are free: no decay of the backbone"
        )
    _check_widths([facts["width"] or len(sizes), head["width"] or len(sizes)], len(sizes))
    shape = {"classes": len(sizes), "depth": head["depth"], "samples_per_class": sizes[0]}
    return predict(**shape, **decays)


def _check_widths(widths: int | Sequence[int], classes: int) -> None:
    if np.min(widths) < classes:
        raise InputError(f"widths: {np.min(widths)} found, the closed forms need {classes}")


def _decays(values: Mapping[str, Any]) -> list[float]:
    """Return the decays of W_1 to W_L and n times that of the features."""
    decay, depth = values["weight_decay"], values["depth"]
    layers = decay if isinstance(decay, list) else [decay] * depth
    if len(layers) != depth:
        raise InputError(f"weight_decay: found {len(layers)} numbers, allowed: one, or {depth}")
    return [*layers, values["feature_decay"], values["samples_per_class"]]


def _product(factors: Sequence[float]) -> float | None:
    """Return a product, None beyond double precision, which parts of it may leave."""
    mantissas, exponents = zip(*map(math.frexp, factors), strict=True)
    try:
        return _in_range(math.ldexp(math.prod(mantissas), sum(exponents)))
    except OverflowError:
        return None


def _in_range(value: float) -> float | None:
    """Return a number above 0, None where it underflows."""
    return value if value >= sys.float_info.min else None


def _blocks(classes: int, depth: int, edges: int) -> list[tuple[int, int, float]]:
    """Return the kinds of blocks: how many, the classes in each, and its G^(1/(L+1))."""
    blocks = [(classes - edges, 1, 1.0)]
    if edges:
        blocks.append((1, edges, _graph_root(graph_vertices(edges), depth)))
    return blocks


def _graph_root(vertices: int, depth: int) -> float:
    """Return G^(1/(L+1)) of the graph of r vertices.

    The nuclear norm of B twice, r for each of L - 3 multiples of I, K r/4 of 11^T/2 - B^T, and the
    squared norm of the inverse of the Kneser graph's adjacency, whose eigenvalues are C(r-2, 2),
    -(r-3) (r-1 times) and 1.
    """
    r, classes = vertices, math.comb(vertices, 2)
    nuclear = math.sqrt(2 * r - 2) + (r - 1) * math.sqrt(r - 2)
    inverse = math.comb(r - 2, 2) ** -2.0 + (r - 1) / (r - 3) ** 2 + classes - r
    factors = [nuclear, nuclear, *[r] * (depth - 3), classes * r / 4, inverse]
    return root_of_product(factors, depth + 1)


def _loss(
    blocks: Sequence[tuple[int, int, float]], classes: int, depth: int, level: float
) -> tuple[float, float | None]:
    """Return the loss of independent blocks, and a of the last kind; `level` is c^(1/(L+1))."""
    total, alpha = 0.0, None
    for count, size, root in blocks:
        if count:
            share = size / classes
            cost, alpha = _block(share, level * root, depth)
            total += count * cost
    return total, alpha


def _block(share: float, level: float, depth: int) -> tuple[float, float | None]:
    """Return the least of share/2 (1 - a)^2 + (L+1)/2 level a^(2/(L+1)) over a >= 0, and a.

    Stationary is (1 - a) a^((L-1)/(L+1)) = level/share, whose left side has its peak at
    (L-1)/(2L); the larger root is the only local minimum beside 0.
    """
    power, peak = (depth - 1) / (depth + 1), (depth - 1) / (2 * depth)
    zero, relative = share / 2, level / share

    def excess(a: float) -> float:
        return (1 - a) * a**power - relative

    if excess(peak) <= 0:
        return zero, 0.0
    a = scipy.optimize.brentq(excess, peak, 1.0, xtol=1e-15, rtol=1e-15)
    loss = share / 2 * (1 - a) ** 2 + (depth + 1) / 2 * level * a ** (2 / (depth + 1))
    if abs(loss / zero - 1) <= TIE:
        return zero, None
    return (loss, a) if loss < zero else (zero, 0.0)
