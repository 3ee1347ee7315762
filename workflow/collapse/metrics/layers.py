"""Collapse at every layer of a linear head, and the spectra of its factors."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from collapse.metrics.collapse import class_means
from collapse.metrics.frames import etf_gram, gram_distance, orthogonal_gram
from collapse.metrics.measure import measure
from collapse.metrics.rows import full_precision, wide_blocks

Reading = tuple[str, str, float]
"""Layer, metric, value."""
Row = tuple[int, str, str, float]
"""Step, layer, metric, value."""


def head_readings(
    features: Tensor, labels: Tensor, weights: Sequence[Tensor], bias: Tensor | None
) -> Iterator[Reading]:
    """Yield the metrics of an M-layer linear head, layer by layer.

    Layer ``Hm`` holds the inputs H_m = W_{m-1} ... W_1 H_1 of W_m, read with the rest
    P_m = W_M ... W_m as classifier: every metric of `measure`, and
    ``NC2_W`` = norm of P_m P_m^T/norm(.) - F/norm(F), F = I - J/K with a bias, I without
    (Dang et al. 2023). Layer ``W1``: singular values of W_1. Layer ``Z``: singular values of the
    K x N logits without the bias, and ``error``, the fraction of samples whose largest logit
    (with the bias) is not their label's, on layer ``all``.

    Parameters
    ----------
    features
        N x d_1, on any device.
    labels
        N, 0 to K-1.
    weights
        W_1 to W_M, d_{m+1} x d_m, K rows in the last.
    bias
        K, of the last layer, or None.
    """
    device = features.device
    # Factorisations of matrices as small as these take a GPU longer than a CPU.
    weights = [weight.cpu().double() for weight in weights]
    products = [weights[-1]]
    for weight in reversed(weights[:-1]):
        products.insert(0, products[0] @ weight)
    classes = len(products[0])
    frame = orthogonal_gram(classes) if bias is None else etf_gram(classes)
    inputs = features
    for m, (weight, product) in enumerate(zip(weights, products, strict=True), 1):
        # The classes of a problem over free features may have a single sample each.
        readings = measure(inputs, labels, weight=product.to(inputs.dtype), bias=bias, least=1)
        readings["NC2_W"] = gram_distance(product @ product.T, frame)
        yield from ((f"H{m}", name, value) for name, value in readings.items() if value is not None)
        if m < len(weights):
            inputs = _mapped(inputs, weight)
    yield from _spectrum("W1", torch.linalg.svdvals(weights[0])[:classes])
    product = products[0].to(device)
    logits = torch.cat([block @ product.T for _, block in wide_blocks(features)])
    # The K x K factor of the logits has their singular values.
    triangle = torch.linalg.qr(logits, mode="r").R
    yield from _spectrum("Z", torch.linalg.svdvals(triangle.cpu()))
    chosen = (logits if bias is None else logits + bias.to(device)).argmax(1)
    yield "all", "error", (chosen != labels.to(device)).double().mean().item()


def gram_readings(features: Tensor, labels: Tensor, classes: int) -> Iterator[Reading]:
    """Yield ``class_gram[k,l]`` (k <= l) of layer H1: inner products of the class means."""
    means = class_means(features, labels, classes, least=1)
    gram = (means @ means.T).tolist()
    for k in range(classes):
        for other in range(k, classes):
            yield "H1", f"class_gram[{k},{other}]", gram[k][other]


def accuracy_readings(logits: Tensor, labels: Tensor) -> Iterator[Reading]:
    """Yield ``test_accuracy`` of held-out samples, and ``test_accuracy[k]`` of class k, on ``all``.

    The fraction of samples whose largest logit is their label's; a class without samples has none.

    Parameters
    ----------
    logits
        N x K.
    labels
        N, 0 to K-1, on their device.
    """
    right = (logits.argmax(1) == labels).double()
    yield "all", "test_accuracy", right.mean().item()
    counts = torch.bincount(labels, minlength=logits.shape[1])
    sums = torch.zeros_like(counts, dtype=right.dtype).scatter_add_(0, labels, right)
    for label, (total, count) in enumerate(zip(sums.tolist(), counts.tolist(), strict=True)):
        if count:
            yield "all", f"test_accuracy[{label}]", total / count


def _mapped(inputs: Tensor, weight: Tensor) -> Tensor:
    with full_precision(inputs.device):
        return inputs @ weight.T.to(inputs)


def _spectrum(layer: str, values: Tensor) -> Iterator[Reading]:
    return ((layer, f"singular_value[{i}]", value) for i, value in enumerate(values.tolist()))


def at_step(step: int, readings: Iterator[Reading]) -> list[Row]:
    """Return readings as rows of a step."""
    return [(step, *reading) for reading in readings]
