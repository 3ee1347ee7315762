"""What a layer does to its inputs: norms, projection by a root of the AGOP, random features.

Random numbers are drawn on the CPU, from the run's seed and the layer alone: the same on every
device, and in measuring what they were in computing.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse.data.dataset import Dataset, prepare

# What the numbers of a layer are drawn for.
_FEATURES, _BASIS = 0, 1


def inputs_of(
    dataset: Dataset, choice: Mapping[str, Any], device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training inputs, N x d, and labels, N, and those held out; float64 on a device.

    `choice` is the experiment's section ``data``. Each pixel gets mean 0 and variance 1 over the
    training samples; one that is constant becomes 0.
    """
    chosen = prepare(dataset, choice)
    train, test = (
        images.reshape(len(images), -1).astype(np.float64)
        for images in (chosen.inputs, chosen.test_inputs)
    )
    mean, deviation = train.mean(0), train.std(0)
    # A pixel that no training image uses may not decide anything about the others.
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=np.ptp(train, 0) > 0)
    standard = [torch.from_numpy((values - mean) * scale) for values in (train, test)]
    labels = [torch.from_numpy(values) for values in (chosen.targets, chosen.test_targets)]
    (train, test), (train_labels, test_labels) = (
        [values.to(device) for values in pair] for pair in (standard, labels)
    )
    return train, train_labels, test, test_labels


def signs(labels: Tensor, classes: int) -> Tensor:
    """Return targets of 1 for a sample's class and -1 for the others, N x K, float64."""
    return 2 * torch.nn.functional.one_hot(labels, classes).double() - 1


def normalised(values: Tensor) -> Tensor:
    """Return rows, N x d, at norm 1; a row of zeros stays one."""
    norms = values.norm(dim=1, keepdim=True)
    return values / norms.masked_fill(norms == 0, 1)


def root_of(agop: Tensor, projection: str, seed: int, layer: int) -> Tensor:
    """Return what a layer multiplies its inputs by, M^(1/2), symmetric, d x d.

    M is the AGOP over its largest entry, which only a map with a scale of its own notices.
    ``agop`` takes it as it is; ``shuffled`` has M's eigenvalues in a random orthonormal basis, of
    uniform distribution.
    """
    values, vectors = torch.linalg.eigh(agop / agop.max())
    if projection == "shuffled":
        vectors = _random_basis(len(agop), seed, layer).to(agop.device)
    # Rounding makes eigenvalues of zero slightly negative.
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def _random_basis(dim: int, seed: int, layer: int) -> Tensor:
    numbers = torch.randn(dim, dim, dtype=torch.float64, generator=_generator(seed, layer, _BASIS))
    basis, triangle = torch.linalg.qr(numbers)
    # Of all bases none is likelier than another only with a diagonal of one sign (Mezzadri 2007).
    return basis * triangle.diagonal().sign()


def projected(values: Tensor, root: Tensor | None) -> Tensor:
    """Return inputs times the root, N x d; as they are where there is none."""
    return values if root is None else values @ root


def relu(values: Tensor, width: int, scale: float, generator: torch.Generator) -> Tensor:
    """Return ``max(0, W x)``, N x width, W uniform in +-1/sqrt(d): PyTorch's start of a layer."""
    dim = values.shape[1]
    weights = torch.rand(width, dim, dtype=torch.float64, generator=generator)
    weights = (2 * weights - 1) / math.sqrt(dim)
    return (values @ weights.T.to(values.device)).relu_()


def fourier(values: Tensor, width: int, scale: float, generator: torch.Generator) -> Tensor:
    """Return ``sqrt(2/width) cos(W x + b)``, N x width (Rahimi & Recht 2007).

    Their products approach the Laplace kernel ``exp(-||x - z|| / scale)``: rows of W are
    multivariate Cauchy of scale 1/`scale`, a normal vector over the size of a normal number; b is
    uniform on the circle.
    """
    dim = values.shape[1]
    normal = torch.randn(width, dim + 1, dtype=torch.float64, generator=generator)
    weights = normal[:, 1:] / (scale * normal[:, :1].abs())
    phases = 2 * math.pi * torch.rand(width, dtype=torch.float64, generator=generator)
    angles = values @ weights.T.to(values.device) + phases.to(values.device)
    return angles.cos_().mul_(math.sqrt(2 / width))


MAPS = {"relu": relu, "fourier": fourier}


def features(values: Tensor, config: Mapping[str, Any], seed: int, layer: int) -> Tensor:
    """Return the untrained random features of a layer's projected inputs, N x width.

    `config` is the run's, of which ``feature_map``, ``width`` and ``length_scale`` are looked at.
    """
    generator = _generator(seed, layer, _FEATURES)
    return MAPS[config["feature_map"]](values, config["width"], config["length_scale"], generator)


def _generator(seed: int, layer: int, purpose: int) -> torch.Generator:
    """Return numbers of their own for each seed, layer and purpose."""
    state = np.random.SeedSequence([seed, layer, purpose]).generate_state(1, np.uint64)[0]
    # PyTorch takes seeds of 63 bits.
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
