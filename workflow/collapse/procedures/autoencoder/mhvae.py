"""The hierarchical model of whole images x: latents z1, and z2 above them.

Objective of a sample, z1 = m1(x) + encoder_std * noise and z2 = m2(z1) + s2(z1) * noise::

    ||x - f(z1)||^2/decoder_std^2 + 2 beta_1 KL(q(z1|x) || N(g(z2), decoder_std^2))
        + 2 beta_2 KL(N(m2, s2^2) || N(0, prior_std^2))

The middle term takes z1 as sampled, so that it is the divergence in expectation over z2 only
together with the last: ||z1 - g(z2)||^2/decoder_std^2 + 2 d log(decoder_std/encoder_std) - d.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from collapse.procedures.autoencoder.gaussian import from_prior, sampled, squared_error
from collapse.training.ensemble import Ensemble

DIVERGENCES = ("KL_1", "KL_2")
"""KL divergences of the objective, by their columns in the history."""
HYPERPARAMETERS = ("beta_1", "beta_2", "decoder_std", "prior_std", "encoder_std")
"""Numbers of the objective, keys of an experiment."""


Places = tuple[Tensor, Tensor]
"""Which pixels of a flat image are given, here none, and which are reconstructed, here all."""


def places(shape: tuple[int, int]) -> Places:
    """Return which pixels are given and which are not."""
    return torch.arange(0), torch.arange(shape[0] * shape[1])


def widths(config: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, list[int]]:
    """Return the widths of its networks for images of a shape."""
    pixels, latent, hidden = shape[0] * shape[1], config["latent_dim"], config["hidden"]
    above = config["latent_dim_2"] or latent
    return {
        "encoder": [pixels, *hidden, latent],
        "encoder_2": [latent, *hidden, 2 * above],
        "decoder_2": [above, *hidden, latent],
        "decoder": [latent, *hidden, pixels],
    }


def noise_dim(config: Mapping[str, Any]) -> int:
    """Return how many normal numbers a sample takes: those of z1, then those of z2."""
    return config["latent_dim"] + (config["latent_dim_2"] or config["latent_dim"])


def _levels(
    networks: Ensemble, numbers: Mapping[str, Tensor], images: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the mean of z1 and a sample of it, mean and log std of z2, R x B x d each."""
    mean = networks.part("encoder", images)
    std = numbers["encoder_std"].view(-1, 1, 1)
    first = sampled(mean, std, noise[:, :, : mean.shape[2]])
    return mean, first, *networks.part("encoder_2", first).chunk(2, 2)


def terms(
    networks: Ensemble,
    numbers: Mapping[str, Tensor],
    images: Tensor,
    noise: Tensor,
    places: Places,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return squared errors and twice the KL divergences of images, R x B each.

    `images` are R x B x pixels, `noise` R x B x (d + d_2), `numbers` are `HYPERPARAMETERS`, R each.
    """
    _, first, mean, log_std = _levels(networks, numbers, images, noise)
    second = sampled(mean, log_std.exp(), noise[:, :, first.shape[2] :])
    centre = networks.part("decoder_2", second)
    ratio = (numbers["decoder_std"] / numbers["encoder_std"]).log().view(-1, 1)
    distance = ((first - centre) / numbers["decoder_std"].view(-1, 1, 1)).square().sum(2)
    return squared_error(networks.part("decoder", first), images), {
        "KL_1": distance + first.shape[2] * (2 * ratio - 1),
        "KL_2": from_prior(mean, log_std, numbers["prior_std"]).sum(2),
    }


def objective(
    errors: Tensor, divergences: Mapping[str, Tensor], numbers: Mapping[str, Tensor]
) -> Tensor:
    """Return the objective of each run from its mean error and divergences, (R,)."""
    penalty = sum(numbers[f"beta_{n}"] * divergences[f"KL_{n}"] for n in (1, 2))
    return errors / numbers["decoder_std"].square() + penalty


def latents(
    networks: Ensemble, numbers: Mapping[str, Tensor], images: Tensor, noise: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return posterior means and stds of the latents, by their layer, R x B x d each.

    Those of z2 are of z1 as sampled.
    """
    first, _, mean, log_std = _levels(networks, numbers, images, noise)
    held = numbers["encoder_std"].view(-1, 1, 1).expand_as(first)
    return {"z1": (first, held), "z2": (mean, log_std.exp())}


def pictures(networks: Ensemble, images: Tensor, places: Places) -> Iterator[tuple[str, Tensor]]:
    """Yield whole images by what makes them, R x B x pixels.

    ``posterior``: of the posterior mean of z1; ``second``: of the mean of z1 that the posterior
    mean of z2 gives, what is left of an image in the upper level.
    """
    mean = networks.part("encoder", images)
    yield "posterior", networks.part("decoder", mean)
    above, _ = networks.part("encoder_2", mean).chunk(2, 2)
    yield "second", networks.part("decoder", networks.part("decoder_2", above))
