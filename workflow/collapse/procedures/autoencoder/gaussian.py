"""ReLU networks of Gaussian latents, and the divergences of these."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def build(widths: Mapping[str, Sequence[int]], seed: int) -> nn.ModuleDict:
    """Build networks by name on the CPU, initialised from `seed` alone: ReLU between layers.

    `widths` are those of each network from input to output.
    """
    with torch.random.fork_rng(devices=[]):
        # `torch.manual_seed` would seed the GPUs too.
        torch.default_generator.manual_seed(seed)
        return nn.ModuleDict({name: _chain(sizes) for name, sizes in widths.items()})


def _chain(sizes: Sequence[int]) -> nn.Sequential:
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


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
