"""The neural feature ansatz: weights beside the average gradient outer products of a network."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from collapse.metrics.rows import full_precision
from collapse.models.network import Network
from collapse.probes import Reading, State
from collapse.training.extract import BATCH
from collapse.training.samples import Samples


def rows(state: State, _: Mapping[str, Any]) -> Iterator[Reading]:
    """Yield ``NFA`` of each hidden layer (Radhakrishnan et al. 2024; Beaglehole et al. 2024).

    It is Pearson's correlation of the entries of W^T W and of the AGOP of the network's outputs by
    the layer's input, over the training set. There is none where all entries of one are equal.
    """
    network = state.network
    for number, (linear, agop) in enumerate(
        zip(network.backbone.linear, agops(network, state.samples), strict=True), 1
    ):
        weight = linear.weight.detach().double()
        value = correlation(weight.T @ weight, agop)
        if value is not None:
            yield f"hidden{number}", "NFA", value


def agops(network: Network, samples: Samples) -> list[Tensor]:
    """Return the AGOP by the input of each linear layer of the backbone, d x d float64 each.

    ``(1/N) sum_i J_i^T J_i``, J_i the K x d Jacobian of the outputs at sample i.
    """
    widths = [linear.in_features for linear in network.backbone.linear]
    device = samples.pixels.device
    totals = [torch.zeros(width, width, dtype=torch.float64, device=device) for width in widths]
    size = BATCH[device.type]
    network.eval()
    with full_precision(device), torch.enable_grad():
        for start in range(0, len(samples), size):
            inputs, outputs = _passed(network, samples.take(slice(start, start + size)))
            for column in outputs.unbind(1):
                # Samples do not mix: the gradient of their sum is that of each.
                gradients = torch.autograd.grad(column.sum(), inputs, retain_graph=True)
                for total, gradient in zip(totals, gradients, strict=True):
                    wide = gradient.double()
                    total.addmm_(wide.T, wide)
    return [total / len(samples) for total in totals]


def _passed(network: Network, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return what enters each linear layer of the backbone, B x d, and the outputs, B x K."""
    inputs, values = [], images.requires_grad_()
    for layer in network.backbone.layers:
        if isinstance(layer, torch.nn.Linear):
            inputs.append(values)
        values = layer(values)
    return inputs, network.head(values)


def correlation(one: Tensor, other: Tensor) -> float | None:
    """Return Pearson's correlation of the entries of two matrices; None where one is constant."""
    first, second = (each.flatten() - each.mean() for each in (one, other))
    norms = first.norm() * second.norm()
    return (first @ second / norms).item() if norms > 0 else None
