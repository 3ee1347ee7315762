"""The conditional model: the bottom left quarter x of an image is given, y are its other pixels.

Objective of a sample, z = m + s * noise with m and s of an encoder that sees x and y::

    ||y - f(z, x)||^2/decoder_std^2 + 2 beta KL(N(m, s^2) || N(0, prior_std^2))
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from collapse.procedures.autoencoder.gaussian import from_prior, sampled, squared_error
from collapse.training.ensemble import Ensemble

DIVERGENCES = ("KL",)
"""KL divergences of the objective, by their columns in the history."""
HYPERPARAMETERS = ("beta", "decoder_std", "prior_std")
"""Numbers of the objective, keys of an experiment."""


Places = tuple[Tensor, Tensor]
"""Which pixels of a flat image are given, and which are reconstructed: two lists of numbers."""


def places(shape: tuple[int, int]) -> Places:
    """Return which pixels are given, the lower half of the left half, and which are not."""
    height, width = shape
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[height // 2 :, : width // 2] = True
    # Numbers, not a mask: of a mask a GPU would have to say each time how many it picks.
    return tuple(torch.nonzero(each.flatten())[:, 0] for each in (mask, ~mask))


def widths(config: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, list[int]]:
    """Return the widths of its networks for images of a shape."""
    given, wanted = map(len, places(shape))
    latent, hidden = config["latent_dim"], config["hidden"]
    return {
        "encoder": [given + wanted, *hidden, 2 * latent],
        "decoder": [latent + given, *hidden, wanted],
    }


def noise_dim(config: Mapping[str, Any]) -> int:
    """Return how many normal numbers a sample takes."""
    return config["latent_dim"]


def terms(
    networks: Ensemble,
    numbers: Mapping[str, Tensor],
    images: Tensor,
    noise: Tensor,
    places: Places,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return squared errors and twice the KL divergences of images, R x B each.

    `images` are R x B x pixels, `noise` R x B x d, `numbers` are `HYPERPARAMETERS`, R each.
    """
    given, wanted = (images.index_select(2, pixels) for pixels in places)
    mean, log_std = networks.part("encoder", images).chunk(2, 2)
    latents = sampled(mean, log_std.exp(), noise)
    outputs = networks.part("decoder", torch.cat([latents, given], 2))
    divergence = from_prior(mean, log_std, numbers["prior_std"]).sum(2)
    return squared_error(outputs, wanted), {"KL": divergence}


def objective(
    errors: Tensor, divergences: Mapping[str, Tensor], numbers: Mapping[str, Tensor]
) -> Tensor:
    """Return the objective of each run from its mean error and divergences, (R,)."""
    return errors / numbers["decoder_std"].square() + numbers["beta"] * divergences["KL"]


def latents(
    networks: Ensemble, numbers: Mapping[str, Tensor], images: Tensor, noise: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return posterior means and stds of the latents, by their layer, R x B x d each."""
    mean, log_std = networks.part("encoder", images).chunk(2, 2)
    return {"z": (mean, log_std.exp())}


def pictures(networks: Ensemble, images: Tensor, places: Places) -> Iterator[tuple[str, Tensor]]:
    """Yield whole images by what makes them, R x B x pixels.

    ``posterior``: the given quarter and what the decoder makes of it and of the posterior mean;
    ``prior``: the same with the mean of the prior, which has seen no other pixel.
    """
    given, wanted = places
    mean, _ = networks.part("encoder", images).chunk(2, 2)
    for name, values in (("posterior", mean), ("prior", torch.zeros_like(mean))):
        made = images.clone()
        inputs = torch.cat([values, images.index_select(2, given)], 2)
        made[:, :, wanted] = networks.part("decoder", inputs)
        yield name, made
