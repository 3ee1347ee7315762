"""The linear conditional variational autoencoder over a population of pairs (x, y).

Objective of one problem, z ~ N(W1 x + W2 y, S), S = diag(exp(2 log_std)), y ~ N(U1 z + U2 x, e^2
I), prior N(0, p^2 I), d latents::

    1/e^2 [E||U1 (W1 x + W2 y) + U2 x - y||^2 + tr U1 S U1^T]
        + beta [(E||W1 x + W2 y||^2 + tr S)/p^2 - log det S + 2 d log p - d]

The expectations follow from the second moment of (x, y). With ``encoder_std`` S is held at its
square. Source: Dang et al. 2024 (arXiv 2306.05023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapse.problems.linear_vae import (
    LinearVAE,
    answers,
    divergence,
    identity,
    log_std_slope,
    posterior_of,
    second_order,
    spread,
    stacked,
)
from collapse.problems.moments import conditional, correlated_moment, root, second_moment
from collapse.problems.parameters import Parameters

__all__ = ["LinearCVAE", "answers", "build"]


@dataclass(frozen=True)
class LinearCVAE(LinearVAE):
    """A batch of B problems of one shape.

    Attributes
    ----------
    moment
        That of (x, y), (B, dx + dy, dx + dy).
    given
        dx.
    """

    given: int = 1

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """W1 is d x dx, W2 d x dy, U1 dy x d, U2 dy x dx; log_std d numbers, absent if held."""
        given, latent = self.given, self.latent_dim
        outputs = self.moment.shape[-1] - given
        shapes = {
            "W1": (latent, given),
            "W2": (latent, outputs),
            "U1": (outputs, latent),
            "U2": (outputs, given),
        }
        return shapes if self.encoder_std is not None else {**shapes, "log_std": (latent,)}

    def _maps(self, named: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return [W1 W2], and what the mean reconstruction misses, as maps of (x, y)."""
        encoder, decoder = torch.cat([named["W1"], named["W2"]], 2), named["U1"]
        minus = -identity(decoder.shape[1], decoder).expand(len(decoder), -1, -1)
        return encoder, decoder @ encoder + torch.cat([named["U2"], minus], 2)

    def objective(self, parameters: Parameters) -> Tensor:
        """Return the objective of each problem, (B,)."""
        named = parameters.named
        variance = self._variances(named)
        encoder, missed = self._maps(named)
        fit = second_order(missed, self.moment) + spread(named["U1"], variance)
        return fit / self.decoder_std.square() + self.beta * divergence(
            second_order(encoder, self.moment), variance, self.prior_std
        )

    def gradient(self, parameters: Parameters) -> Parameters:
        """Return the objective's gradient, shapes as `parameters`."""
        named, given = parameters.named, self.given
        variance = self._variances(named)
        encoder, missed = self._maps(named)
        decoder = named["U1"]
        precision, weight = self._weights()
        slope = precision * missed @ self.moment
        inner = decoder.mT @ slope + weight * encoder @ self.moment
        slopes = {
            "W1": inner[:, :, :given],
            "W2": inner[:, :, given:],
            "U1": slope @ encoder.mT + precision * decoder * variance.unsqueeze(1),
            "U2": slope[:, :, :given],
        }
        if "log_std" in named:
            slopes["log_std"] = log_std_slope(decoder, variance, precision, weight, self.beta)
        return Parameters(**{name: slopes[name] for name in named})

    def posterior(self, parameters: Parameters) -> Iterator[tuple[str, Tensor]]:
        """Yield what closed forms say something of, by their names, (B, ...) each."""
        named = parameters.named
        encoder, _ = self._maps(named)
        left = conditional(self.moment, self.given)
        yield from posterior_of(
            named["U1"],
            torch.linalg.svdvals(named["W2"] @ root(left)),
            (encoder @ self.moment * encoder).sum(2),
            self._variances(named),
            self.prior_std,
        )


def build(configs: Sequence[Mapping], device: torch.device | str = "cpu") -> LinearCVAE:
    """Return the batch of problems that resolved configs of one shape describe, one each.

    It takes a config's ``problem``: covariance_eigenvalues, those of y, and latent_dim (the same
    for all), correlation, beta, decoder_std, prior_std and encoder_std.
    """
    shape = configs[0]["problem"]
    moment = second_moment(shape["covariance_eigenvalues"])
    pairs = [correlated_moment(moment, config["problem"]["correlation"]) for config in configs]
    keys = ("beta", "decoder_std", "prior_std", "encoder_std")
    return LinearCVAE(
        moment=torch.stack(pairs).to(device),
        latent_dim=shape["latent_dim"],
        given=len(moment),
        **{key: stacked(configs, key, device) for key in keys},
    )
