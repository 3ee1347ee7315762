"""How alike two sets of features of the same samples are, up to rotation and scale."""

import torch
from torch import Tensor

from collapse.errors import InputError


def cka(first: Tensor, second: Tensor) -> float:
    """Return the linear centred kernel alignment of two sets of features of the same samples.

    norm(X^T Y)^2 / (norm(X^T X) norm(Y^T Y)) of the centred features, N x d and N x d', from 0 to
    1; 1 exactly for features that differ by a rotation and a factor. Source: Kornblith, Norouzi,
    Lee, Hinton, "Similarity of Neural Network Representations Revisited" (ICML 2019), Sec. 3.

    Raises
    ------
    InputError
        If their samples differ in number, or do not differ from each other at all.
    """
    first, second = _centred(first, second)
    product = (first.T @ second).square().sum()
    return (product / ((first.T @ first).norm() * (second.T @ second).norm())).item()


def procrustes(first: Tensor, second: Tensor) -> float:
    """Return the squared orthogonal Procrustes distance of two sets of features.

    min over orthogonal Q of norm(X - Y Q)^2 = 2 - 2 (sum of singular values of X^T Y), X and Y
    centred and of norm 1, the narrower padded with zeros: from 0 to 2. Source: Ding, Denain,
    Steinhardt, "Grounding Representation Similarity with Statistical Testing" (NeurIPS 2021).

    Raises
    ------
    InputError
        As `cka`.
    """
    first, second = _centred(first, second)
    alike = torch.linalg.svdvals(first.T @ second).sum()
    # Rounding may leave equal features a distance below 0.
    return max(2 - 2 * alike.item(), 0.0)


def _centred(*features: Tensor) -> list[Tensor]:
    """Return features in float64, centred and of norm 1."""
    counts = [len(each) for each in features]
    if len(set(counts)) > 1:
        raise InputError(f"features: {counts[0]} and {counts[1]} samples found, needed are as many")
    deviations = [each.double() - each.double().mean(0) for each in features]
    norms = [torch.linalg.vector_norm(each) for each in deviations]
    if not all(norm > 0 for norm in norms):
        raise InputError("features: all samples are equal, their likeness is not defined")
    return [each / norm for each, norm in zip(deviations, norms, strict=True)]
