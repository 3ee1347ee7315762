"""Features of mixed samples of three classes, in the plane of these classes' classifier."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from collapse.metrics.mixup import logit_coordinates, triangle_plane
from collapse.probes import State
from collapse.probes.mixing import SEED, classifier, members, mixed_features, triple

Batches = list[tuple[Tensor, Tensor, Tensor]]


def rows(state: State, _: Mapping[str, Any]) -> tuple[()]:
    """Return no rows."""
    return ()


def points(state: State, settings: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return places ``x``, ``y`` in the plane of three classes by view, and their classifier.

    Samples are pairs of the classes ``first`` and ``second``, which may be one, the first weighted
    by ``mix``, one lambda a batch: uniform in [0, 1], then 1/2. Of two classes ``along`` is u + v,
    the logits of both less the others', and ``convex_along`` that of the convex combination of the
    class means. In view ``weights`` its three rows stand under their class. Further views, and
    hidden layers, are of the last state only.
    """
    labels = triple(settings, len(members(state)))
    pairs, halves = _mixed_batches(state, labels, settings)
    plain = _unmixed(state, labels, pairs)
    # Of the states on the way one picture each.
    views = settings["views"] if state.last else settings["views"][:1]
    frames, hidden = [], state.last and settings["layers"] == "all"
    for view in views:
        means = _means(state, view, plain, labels, settings, hidden)
        batches = [*pairs, *halves]
        first, second, mix = (torch.cat(part) for part in zip(*batches, strict=True))
        sides = tuple(state.targets.cpu()[places] for places in (first, second))
        features = mixed_features(state, view, batches, settings, hidden)
        frames += [
            _placed(state, layer, view, labels, means[layer], features[layer].double(), sides, mix)
            for layer in means
            if layer in features
        ]
    frames += [_rows(state, layer, labels, centres) for layer, centres in means.items()]
    return pd.concat(frames, ignore_index=True) if frames else None


def _mixed_batches(
    state: State, labels: Sequence[int], settings: Mapping[str, Any]
) -> tuple[Batches, Batches]:
    """Return the batches of the picture, and those at lambda = 1/2."""
    source, size = np.random.default_rng(SEED), settings["batch_size"]
    own = np.concatenate([members(state)[label] for label in labels])

    def batch(mix: float) -> tuple[Tensor, Tensor, Tensor]:
        first = torch.from_numpy(source.choice(own, size, replace=len(own) < size))
        # The partner is another of the batch, as in training.
        second = first[torch.from_numpy(source.permutation(size))]
        return first, second, torch.full((size,), mix, dtype=torch.float64)

    count = settings["batches"]
    # One lambda from each of as many intervals: few batches leave no gap.
    mixes = (np.arange(count) + source.random(count)) / count
    return [batch(mix) for mix in mixes], [batch(0.5) for _ in range(-(-count // 4))]


def _unmixed(state: State, labels: Sequence[int], pairs: Batches) -> Batches:
    """Return the first of each pair unmixed, for the class means: some of each class."""
    batches = [(first, first, torch.ones_like(mix)) for first, _, mix in pairs]
    places = batches[0][0].clone()
    drawn = state.targets.cpu()[torch.cat([first for first, *_ in pairs])]
    if not all((drawn == label).any() for label in labels):
        # One of each in the first batch: a rare class may be in none.
        places[:3] = torch.tensor([members(state)[label][0] for label in labels])
        batches[0] = (places, places, batches[0][2])
    return batches


def _means(
    state: State,
    view: str,
    plain: Batches,
    labels: Sequence[int],
    settings: Mapping[str, Any],
    hidden: bool,
) -> dict[str, Tensor]:
    """Return the class means of unmixed samples, 3 x d by layer, float64."""
    places = torch.cat([first for first, *_ in plain])
    own = state.targets.cpu()[places]
    features = mixed_features(state, view, plain, settings, hidden)
    return {
        layer: torch.stack([values[own == label].double().mean(0) for label in labels])
        for layer, values in features.items()
    }


def _plane(state: State, layer: str, labels: Sequence[int], means: Tensor) -> tuple[Tensor, ...]:
    """Return the three rows that span the plane, the projection on it and its centre."""
    # Of a hidden layer the class means themselves, around whose mean its features lie.
    rows = classifier(state, layer, means)[list(labels)] if layer == "H1" else means
    return rows, *triangle_plane(rows)


def _placed(
    state: State,
    layer: str,
    view: str,
    labels: Sequence[int],
    means: Tensor,
    features: Tensor,
    sides: tuple[Tensor, Tensor],
    mix: Tensor,
) -> pd.DataFrame:
    """Return where mixed samples lie, and how far along their channel."""
    _, projection, centre = _plane(state, layer, labels, means)
    places = ((features - centre) @ projection.T).cpu()
    frame = pd.DataFrame(
        {
            "layer": layer,
            "view": view,
            "first": sides[0].numpy(),
            "second": sides[1].numpy(),
            "mix": mix.numpy(),
            **_numbers(x=places[:, 0], y=places[:, 1]),
        }
    )
    different = sides[0] != sides[1]
    along = torch.full((2, len(mix)), torch.nan, dtype=torch.float64)
    # Where batches are small they may hold no pair of two classes.
    if different.any():
        pairs = [side[different] for side in sides]
        along[:, different] = torch.stack(
            _along(state, layer, labels, means, features.cpu()[different], pairs, mix[different])
        )
    return frame.assign(**_numbers(along=along[0], convex_along=along[1]))


def _along(
    state: State,
    layer: str,
    labels: Sequence[int],
    means: Tensor,
    features: Tensor,
    pairs: Sequence[Tensor],
    mix: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return u + v of mixed samples of two classes, and of the convex combination of their means.

    `features` are N x d, `pairs` the labels of the first and of the second, N each.
    """
    # Among the three classes, and among the columns of the layer's logits.
    ends = [_position(labels)[label] for label in pairs]
    columns = pairs if layer == "H1" else ends
    weights, means = classifier(state, layer, means).cpu().mT, means.cpu()
    first, second = (sum(logit_coordinates((means @ weights)[end], *columns)) for end in ends)
    found = sum(logit_coordinates(features @ weights, *columns))
    return found, mix * first + (1 - mix) * second


def _position(labels: Sequence[int]) -> Tensor:
    """Return, by label, its place among `labels`."""
    position = torch.zeros(max(labels) + 1, dtype=torch.int64)
    position[list(labels)] = torch.arange(len(labels))
    return position


def _rows(state: State, layer: str, labels: Sequence[int], means: Tensor) -> pd.DataFrame:
    rows, projection, centre = _plane(state, layer, labels, means)
    places = ((rows - centre) @ projection.T).cpu()
    names = {"layer": layer, "view": "weights", "first": labels, "second": labels}
    return pd.DataFrame({**names, **_numbers(x=places[:, 0], y=places[:, 1])})


def _numbers(**columns: Tensor) -> dict[str, np.ndarray]:
    # A picture needs no more digits, and they are many.
    return {name: column.numpy().astype(np.float32) for name, column in columns.items()}
