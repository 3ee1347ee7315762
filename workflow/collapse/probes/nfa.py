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

    ``(1/N) sum_i J_i^T J_i``, J_i the K x d Jacobian of the outputs at sample i. It is
    ``W^T P W``, P the same by W x: fewer numbers where a layer has more inputs than outputs.
    """
    weights = [linear.weight.detach().double() for linear in network.backbone.linear]
    totals = [weight.new_zeros(len(weight), len(weight)) for weight in weights]
    device = samples.pixels.device
    size = BATCH[device.type]
    network.eval()
    with full_precision(device), torch.enable_grad():
        for start in range(0, len(samples), size):
            products, outputs = _passed(network, samples.take(slice(start, start + size)))
            for column in outputs.unbind(1):
                # Samples do not mix: the gradient of their sum is that of each.
                gradients = torch.autograd.grad(column.sum(), products, retain_graph=True)
                for total, gradient in zip(totals, gradients, strict=True):
                    wide = gradient.double()
                    total.addmm_(wide.T, wide)
    return [
        weight.T @ total @ weight / len(samples)
        for weight, total in zip(weights, totals, strict=True)
    ]


def _passed(network: Network, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return what each linear layer of the backbone gives, B x width, and the outputs, B x K."""
    products, values = [], images
    for layer in network.backbone.layers:
        values = layer(values)
        if isinstance(layer, torch.nn.Linear):
            products.append(values)
    return products, network.head(values)


def correlation(one: Tensor, other: Tensor) -> float | None:
    """Return Pearson's correlation of the entries of two matrices; None where one is constant."""
    first, second = (each.flatten() - each.mean() for each in (one, other))
    norms = first.norm() * second.norm()
    return (first @ second / norms).item() if norms > 0 else None
