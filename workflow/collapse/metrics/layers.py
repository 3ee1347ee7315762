"""Collapse at every layer of a linear head, the spectra of its factors, and its frame by class."""

from collections.abc import Iterator, Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from collapse.metrics.collapse import class_means
from collapse.metrics.frames import (
    defined,
    etf_gram,
    general_orthogonal_gram,
    gram,
    gram_distance,
    orthogonal_gram,
)
from collapse.metrics.measure import study_metrics
from collapse.metrics.rows import full_precision, row_blocks, widened

Reading = tuple[str, str, float]
"""Layer, metric, value."""


def head_readings(
    features: Tensor, labels: Tensor, weights: Sequence[Tensor], bias: Tensor | None
) -> Iterator[Reading]:
    """Yield the metrics of an M-layer linear head, layer by layer.

    Layer ``Hm`` holds the inputs H_m = W_{m-1} ... W_1 H_1 of W_m, read with the rest
    P_m = W_M ... W_m as classifier: every metric of `study_metrics`, and
    ``NC2_W`` = norm of P_m P_m^T/norm(.) - F/norm(F), F = I - J/K with a bias, I without
    (Dang et al. 2023). Layer ``W1``: ``layer_singular_values[i]`` of W_1. Layer ``Z``:
    ``logit_singular_values[i]`` of the K x N logits without the bias. Layer ``all``: ``error``, the
    fraction of samples whose largest logit (with the bias) is not their label's.

    `features` are H_1 as N x d_1, on any device, `labels` N from 0 to K-1, `weights` W_1 to W_M,
    d_{m+1} x d_m with K rows in the last, whose `bias` is K or None.
    """
    device = features.device
    products = _products(weights)
    classes = len(products[0])
    frame = orthogonal_gram(classes) if bias is None else etf_gram(classes)
    inputs = features
    for m, (weight, product) in enumerate(zip(weights, products, strict=True), 1):
        # The classes of a problem over free features may have a single sample each.
        readings = study_metrics(
            inputs, labels, weight=product.to(inputs.dtype), bias=bias, least=1
        )
        readings["NC2_W"] = gram_distance(product @ product.T, frame)
        yield from ((f"H{m}", name, value) for name, value in readings.items() if value is not None)
        # What the last layer makes are the logits, which `Z` measures.
        if m < len(weights):
            inputs = _mapped(inputs, weight)
    # Factorisations of matrices as small as these take a GPU longer than a CPU.
    yield from _spectrum("W1", "layer", torch.linalg.svdvals(weights[0].cpu().double())[:classes])
    product = products[0].to(device)
    logits = torch.cat([block @ product.T for block, _ in widened(row_blocks(features))])
    # The K x K factor of the logits has their singular values, without the squares of a Gram
    # matrix, in which the smallest would drown.
    triangle = torch.linalg.qr(logits, mode="r").R
    yield from _spectrum("Z", "logit", torch.linalg.svdvals(triangle.cpu()))
    choices = (logits if bias is None else logits + bias.to(device)).argmax(1)
    yield "all", "error", (choices != labels.to(device)).double().mean().item()


def frame_readings(
    features: Tensor,
    labels: Tensor,
    weights: Sequence[Tensor],
    lengths: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    grams: bool = False,
) -> Iterator[Reading]:
    """Yield what class means and the head's product P = W_M ... W_1 do class by class.

    On layer ``H1``, mu_k the uncentred class means and p_k the rows of P: ``feature_norm[k]`` and
    ``weight_norm[k]``, their norms; ``logit_norm[k]`` = norm of P mu_k and ``own_logit[k]`` =
    p_k mu_k; ``alignment[k]``, the cosine of p_k and mu_k. With `lengths`, the norms of the rows
    of P and of the class means that theory predicts, K each, also the distances to that general
    orthogonal frame, see `gof_readings`. With `grams` too ``class_gram[k,l]`` and
    ``product_gram[k,l]`` (k <= l), the inner products of the class means, and of the rows of P,
    and on layer ``all`` ``class_size[k]``.

    `features`, `labels` and `weights` are those of `head_readings`.
    """
    product = _products(weights)[0]
    means = class_means(features, labels, len(product), least=1).cpu()
    by_class = {
        "feature_norm": torch.linalg.vector_norm(means, dim=1),
        "weight_norm": torch.linalg.vector_norm(product, dim=1),
        "logit_norm": torch.linalg.vector_norm(means @ product.T, dim=1),
        "own_logit": (means * product).sum(1),
        # Without PyTorch's floor under the norms, which would bend the cosines of short vectors.
        "alignment": torch.cosine_similarity(means, product, dim=1, eps=0),
    }
    for name, values in by_class.items():
        yield from (
            ("H1", f"{name}[{k}]", value)
            for k, value in enumerate(values.tolist())
            # Not NaN: a zero vector has no direction, and its cosine is left out.
            if value == value
        )
    if lengths is not None:
        readings = gof_readings(means, product, *map(torch.as_tensor, lengths))
        yield from (("H1", name, value) for name, value in readings.items() if value is not None)
    if grams:
        sizes = torch.bincount(labels, minlength=len(product)).tolist()
        yield from (("all", f"class_size[{k}]", float(size)) for k, size in enumerate(sizes))
        yield from entries("H1", "class_gram", gram(means))
        yield from entries("H1", "product_gram", gram(product))


def gof_readings(
    means: Tensor, product: Tensor, weight_lengths: Tensor, feature_lengths: Tensor
) -> dict[str, float | None]:
    """Return the distances to a general orthogonal frame (GOF).

    With A^ = A/norm(A), p and h the lengths (K; zero for a collapsed class), P the product and
    Hbar the matrix of class means (K x d, float64) as columns: ``NC2_W_GOF`` = norm of
    (P P^T)^ - diag(p^2)^; ``NC2_GOF`` = norm of (Hbar^T Hbar)^ - diag(h^2)^; ``NC3_GOF`` = norm of
    (P Hbar)^ - diag(p h)^; ``duality_GOF`` = norm of P^ - (diag(p/h) Hbar^T)^; ``W_div_H`` = norm
    of diag(P P^T)/diag(Hbar^T Hbar) - (p/h)^2, not relative (Dang et al. 2023 and its released
    code). None where a side is zero; W_div_H also where a class of the frame is.
    """
    alive = feature_lengths > 0
    # 0/0 of a collapsed class is no ratio; its row of the frame is zero.
    ratio = torch.where(alive, weight_lengths / feature_lengths, 0.0)
    squares = product.square().sum(1) / means.square().sum(1)
    return {
        "NC2_W_GOF": gram_distance(gram(product), general_orthogonal_gram(weight_lengths**2)),
        "NC2_GOF": gram_distance(gram(means), general_orthogonal_gram(feature_lengths**2)),
        "NC3_GOF": gram_distance(
            product @ means.T, general_orthogonal_gram(weight_lengths * feature_lengths)
        ),
        "duality_GOF": gram_distance(product, ratio.unsqueeze(1) * means),
        "W_div_H": defined((squares - ratio**2).norm()) if alive.all() else None,
    }


def entries(layer: str, name: str, matrix: Tensor) -> Iterator[Reading]:
    """Yield the upper triangle of a symmetric matrix as readings ``name[k,l]``, k <= l."""
    rows, columns = torch.triu_indices(*matrix.shape).tolist()
    values = matrix[rows, columns].tolist()
    places = zip(rows, columns, values, strict=True)
    return ((layer, f"{name}[{k},{other}]", value) for k, other, value in places)


def accuracy_readings(logits: Tensor, labels: Tensor) -> Iterator[Reading]:
    """Yield ``test_accuracy`` of held-out samples, and ``test_accuracy[k]`` of class k, on ``all``.

    The fraction of samples whose largest logit (N x K) is their label's (N, 0 to K-1); a class
    without samples has none.
    """
    correct = (logits.argmax(1) == labels).double()
    yield "all", "test_accuracy", correct.mean().item()
    counts = torch.bincount(labels, minlength=logits.shape[1])
    sums = torch.zeros_like(counts, dtype=correct.dtype).scatter_add_(0, labels, correct)
    for label, (total, count) in enumerate(zip(sums.tolist(), counts.tolist(), strict=True)):
        # 0/0 of a class without held-out samples is no accuracy.
        if count:
            yield "all", f"test_accuracy[{label}]", total / count


def _products(weights: Sequence[Tensor]) -> list[Tensor]:
    """Return P_m = W_M ... W_m for m = 1 to M, float64, on the CPU."""
    products = [weights[-1].double()]
    for weight in reversed(weights[:-1]):
        # From the left: each product has K rows, and none is d x d.
        products.insert(0, products[0] @ weight.double())
    return [product.cpu() for product in products]


def _mapped(inputs: Tensor, weight: Tensor) -> Tensor:
    # With TF32 its rounding would be a floor under NC1 of the layers behind.
    with full_precision(inputs.device):
        return inputs @ weight.T.to(inputs)


def _spectrum(layer: str, of: str, values: Tensor) -> Iterator[Reading]:
    values = enumerate(values.tolist())
    return ((layer, f"{of}_singular_values[{i}]", value) for i, value in values)
