"""Mixed samples of a trained network: what the probes of them share."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics.frames import defined
from collapse.probes import State
from collapse.training.extract import features_of
from collapse.training.order import BORDER

# The same classes and samples at every step, and for all networks of a data set.
SEED = 0


def members(state: State) -> list[np.ndarray]:
    """Return the places of each class's samples among the training samples; refuse no labels."""
    if state.network is None or state.samples is None or state.targets.ndim != 1:
        raise InputError("probes: mixed samples need a network that is trained on labels")
    labels = state.targets.cpu().numpy()
    return [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]


def mixed_features(
    state: State,
    view: str,
    batches: Sequence[tuple[Tensor, Tensor, Tensor]],
    settings: Mapping[str, Any],
    hidden: bool,
) -> dict[str, Tensor]:
    """Return the features of mixed samples by layer, N x d.

    `batches` hold the places of the first and the second of each pair, B each, and the first's
    weight lambda, B. `view` is the network's mode, ``eval`` or ``train``, with ``_augmented`` if
    both of a pair are moved as the settings' ``augmentation`` says. `hidden` gives hidden layers
    too. Layers that are not finite everywhere, in a network that went on to diverge, are left out.
    """
    mode, _, augmented = view.partition("_")
    moves = settings["augmentation"] if augmented else []
    # In the state's products, or, where values leave their range, in float32.
    for products in dict.fromkeys((state.products, "float32")):
        features = features_of(
            state.network,
            _mixed(state, batches, moves),
            hidden=hidden,
            training=mode == "train",
            products=products,
        )
        finite = {name: values for name, values in features.items() if values.isfinite().all()}
        if len(finite) == len(features):
            break
    return finite


def _mixed(
    state: State, batches: Sequence[tuple[Tensor, Tensor, Tensor]], moves: Sequence[str]
) -> Iterator[Tensor]:
    generator, device = torch.Generator().manual_seed(SEED), state.targets.device
    for first, second, mix in batches:
        weight = mix.to(device, torch.float32).view(-1, 1, 1, 1)
        one, other = (
            _moved(state, places.to(device), moves, generator) for places in (first, second)
        )
        yield weight * one + (1 - weight) * other


def _moved(
    state: State, places: Tensor, moves: Sequence[str], generator: torch.Generator
) -> Tensor:
    if not moves:
        return state.samples.take(places)
    count, shift, flip = len(places), None, None
    # On the CPU: the same moves on every device.
    if "crop" in moves:
        shift = torch.randint(-BORDER, BORDER + 1, (count, 2), generator=generator)
    if "flip" in moves:
        flip = torch.rand(count, generator=generator) < 0.5
    moved = (None if move is None else move.to(places.device) for move in (shift, flip))
    return state.samples.take_moved(places, *moved)


def triple(settings: Mapping[str, Any], classes: int) -> list[int]:
    """Return the three classes that the settings name, or three at random."""
    if settings["classes"] is not None:
        return list(settings["classes"])
    return sorted(np.random.default_rng(SEED).choice(classes, 3, replace=False).tolist())


def classifier(state: State, layer: str, means: Tensor) -> Tensor:
    """Return the rows, K x d float64, whose products with a layer's features are its logits.

    Of the last layer the head's product; of a hidden one, which has no classifier, the centred
    `means` of its classes.
    """
    if layer != "H1":
        return means - means.mean(0)
    product = state.head[0].double()
    for weight in state.head[1:]:
        product = weight.double() @ product
    return product


def readings(layer: str, **values: Tensor | float) -> Iterator[tuple[str, str, float]]:
    """Yield those of the values that are defined as rows of a layer."""
    for name, value in values.items():
        number = defined(value)
        if number is not None:
            yield layer, name, number
