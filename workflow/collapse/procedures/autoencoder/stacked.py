"""ReLU networks of one shape side by side, and the divergences of their Gaussian latents."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Stacked = Mapping[str, Tensor]
"""Parameters of R networks by name, R x ... each."""


def initial(widths: Mapping[str, Sequence[int]], seeds: Sequence[int]) -> dict[str, Tensor]:
    """Return starts of one network a seed, stacked: uniform in +-1/sqrt(inputs), as PyTorch's.

    `widths` are those of each network from input to output. Float32, on the CPU.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    parameters = {}
    for name, sizes in widths.items():
        for layer, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
            for kind, shape in (("weight", (inputs, outputs)), ("bias", (1, outputs))):
                drawn = torch.stack([torch.rand(shape, generator=g) for g in generators])
                parameters[f"{name}.{layer}.{kind}"] = (2 * drawn - 1) / math.sqrt(inputs)
    return parameters


def apply(parameters: Stacked, name: str, values: Tensor) -> Tensor:
    """Return what networks of a name make of their inputs, R x B x d; ReLU between layers."""
    layer = 0
    while f"{name}.{layer}.weight" in parameters:
        if layer:
            values = values.relu()
        weight, bias = (parameters[f"{name}.{layer}.{kind}"] for kind in ("weight", "bias"))
        values = torch.baddbmm(bias, values, weight)
        layer += 1
    return values


def sampled(mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
    """Return latents of given mean, std and standard normal numbers."""
    return mean + std * noise


def from_prior(mean: Tensor, log_std: Tensor, prior_std: Tensor) -> Tensor:
    """Return twice the KL divergence of each latent from N(0, prior_std^2), R x B x d.

    `prior_std` is R.
    """
    # As a product of ratios: near the prior a difference of logarithms is rounding.
    log_ratio = log_std - prior_std.log().view(-1, 1, 1)
    return (mean / prior_std.view(-1, 1, 1)).square() + (2 * log_ratio).exp() - 2 * log_ratio - 1


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error of each sample, summed over outputs, R x B."""
    return (outputs - targets).square().sum(2)
