"""How the features of mixed samples go from one class to the other."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from collapse.metrics.mixup import (
    amplification,
    classifier_norm,
    convex_r2,
    etf_distance,
    logit_coordinates,
)
from collapse.probes import Reading, State
from collapse.probes.mixing import SEED, classifier, members, mixed_features, readings

# Samples in a batch, over which BatchNorm takes its statistics in training mode.
BATCH = 128


def rows(state: State, settings: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield, by layer and of the first view, how far mixed features are from convex combinations.

    ``amplification_half``, A(1/2) of all pairs of classes, and ``convex_r2``. Of the classifier,
    on ``H1``: ``classifier_ETF``, its distance from a simplex ETF, and ``classifier_norm``.
    """
    mix = _mixes(settings)
    for layer, means in _pair_means(state, settings["views"][0], settings).items():
        u, v = _coordinates(state, settings, layer, means)
        # All pairs at once: a ratio of sums, where that of one pair may divide by little.
        curve = amplification(u.sum(0), v.sum(0), mix)
        half = curve[len(mix) // 2]
        yield from readings(layer, amplification_half=half, convex_r2=convex_r2(means, mix))
    weight = classifier(state, "H1", torch.empty(0))
    values = {"classifier_ETF": etf_distance(weight), "classifier_norm": classifier_norm(weight)}
    yield from readings("H1", **values)


def points(state: State, settings: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return ``u`` and ``v``, means over the samples of a pair of classes, by view and ``mix``.

    The logits of the ``first`` and of the ``second`` class less the mean of the others; of hidden
    layers, products with the centred class means. ``mix`` is the weight of the first. Further
    views are of the last state only.
    """
    mix, pairs = _mixes(settings), _pairs(state, settings)
    # Of the states on the way one view.
    views = settings["views"] if state.last else settings["views"][:1]
    frames = []
    for view in views:
        for layer, means in _pair_means(state, view, settings).items():
            u, v = _coordinates(state, settings, layer, means)
            frames.append(
                pd.DataFrame(
                    {
                        "layer": layer,
                        "view": view,
                        "first": np.repeat([i for i, _ in pairs], len(mix)),
                        "second": np.repeat([j for _, j in pairs], len(mix)),
                        "mix": np.tile(mix.numpy(), len(pairs)),
                        "u": u.flatten().cpu().numpy(),
                        "v": v.flatten().cpu().numpy(),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True) if frames else None


def _mixes(settings: Mapping[str, Any]) -> Tensor:
    """Return lambda from 0 to 1, evenly spaced, float64."""
    return torch.linspace(0, 1, settings["mixes"], dtype=torch.float64)


def _pairs(state: State, settings: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return as many pairs of classes as asked for, at random, in order."""
    every = list(combinations(range(len(members(state))), 2))
    count = min(settings["pairs"], len(every))
    chosen = np.random.default_rng(SEED).choice(len(every), count, replace=False)
    return [every[place] for place in sorted(chosen)]


def _pair_means(state: State, view: str, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the means over samples of mixed features, P x L x d float64, by layer."""
    place = (__name__, view, repr(settings))
    if place not in state.memo:
        state.memo[place] = _measured(state, view, settings)
    return state.memo[place]


def _measured(state: State, view: str, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    pairs, mix = _pairs(state, settings), _mixes(settings)
    count = settings["samples"]
    first, second = (
        torch.from_numpy(np.stack([_chosen(state, pair[side], count, side) for pair in pairs], 1))
        for side in (0, 1)
    )
    # One lambda in each batch, and all pairs in it.
    parts = -(-first.numel() // BATCH)
    batches = [
        (*places, value.expand(len(places[0])))
        for value in mix
        for places in zip(
            first.flatten().tensor_split(parts), second.flatten().tensor_split(parts), strict=True
        )
    ]
    hidden = settings["layers"] == "all"
    features = mixed_features(state, view, batches, settings, hidden)
    shape = len(mix), count, len(pairs)
    return {
        layer: values.double().unflatten(0, shape).mean(1).transpose(0, 1)
        for layer, values in features.items()
    }


def _chosen(state: State, label: int, count: int, side: int) -> np.ndarray:
    """Return places of samples of a class, at random, again and again if it has too few."""
    # The two of a pair from streams of their own: a class's samples are not always the same.
    source = np.random.default_rng([SEED, label, side])
    return np.resize(source.permutation(members(state)[label]), count)


def _coordinates(
    state: State, settings: Mapping[str, Any], layer: str, means: Tensor
) -> tuple[Tensor, Tensor]:
    """Return u and v of pair means, P x L x d, each P x L."""
    pairs = _pairs(state, settings)
    labels = sorted({label for pair in pairs for label in pair})
    # At mix 1 the first class, at 0 the second; of a hidden layer only the classes that occur.
    ends: dict[int, list[Tensor]] = {}
    for (first, second), curve in zip(pairs, means, strict=True):
        ends.setdefault(first, []).append(curve[-1])
        ends.setdefault(second, []).append(curve[0])
    centres = torch.stack([torch.stack(ends[label]).mean(0) for label in labels])
    logits = means @ classifier(state, layer, centres).mT
    names = range(logits.shape[-1]) if layer == "H1" else labels
    place = {label: index for index, label in enumerate(names)}
    u, v = zip(
        *(
            logit_coordinates(curve, place[first], place[second])
            for (first, second), curve in zip(pairs, logits, strict=True)
        ),
        strict=True,
    )
    return torch.stack(u), torch.stack(v)
