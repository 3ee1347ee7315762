"""The linear Markovian hierarchical variational autoencoder of two levels, over a population.

Objective of one problem, z1 ~ N(W1 x, s^2 I), z2 ~ N(W2 z1, S), S = diag(exp(2 log_std)), z1 ~
N(U2 z2, e^2 I) and x ~ N(U1 z1, e^2 I), prior of z2 N(0, p^2 I), C = E[xx^T], T = W1 C W1^T + s^2
I the second moment of z1, d and d2 latents::

    1/e^2 [tr (U1 W1 - I) C (U1 W1 - I)^T + s^2 ||U1||^2]
        + beta_1 [(tr (I - U2 W2) T (I - U2 W2)^T + tr U2 S U2^T)/e^2 + 2 d log(e/s) - d]
        + beta_2 [(tr W2 T W2^T + tr S)/p^2 - log det S + 2 d2 log p - d2]

Twice the expected negative log-likelihood, without its constant, and twice the KL divergences of
both levels times their beta. s is held; S is a variable. Source: Dang et al. 2024 (arXiv
2306.05023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapse.problems.linear_vae import (
    ACTIVE,
    Population,
    answers,
    divergence,
    identity,
    log_std_slope,
    second_order,
    spread,
    stacked,
)
from collapse.problems.moments import root, second_moment
from collapse.problems.parameters import Parameters

__all__ = ["LinearMHVAE", "answers", "build"]


@dataclass(frozen=True)
class LinearMHVAE(Population):
    """A batch of B problems of one shape.

    Attributes
    ----------
    moment
        C, (B, D, D).
    latent_dim, latent_dim_2
        d and d2.
    beta_1, beta_2, decoder_std, prior_std, encoder_std
        beta_1, beta_2, e, p and s, (B,) each.
    """

    latent_dim: int
    latent_dim_2: int
    beta_1: Tensor
    beta_2: Tensor
    decoder_std: Tensor
    prior_std: Tensor
    encoder_std: Tensor

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """W1 is d x D, W2 d2 x d, U1 D x d, U2 d x d2; log_std are d2 numbers."""
        dim, first, second = self.moment.shape[-1], self.latent_dim, self.latent_dim_2
        return {
            "W1": (first, dim),
            "W2": (second, first),
            "U1": (dim, first),
            "U2": (first, second),
            "log_std": (second,),
        }

    def _parts(self, named: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return U1 W1 - I, I - U2 W2, T and the diagonal of S."""
        encoder = named["W1"]
        missed = named["U1"] @ encoder - identity(encoder.shape[2], encoder)
        unit = identity(self.latent_dim, encoder)
        inner = unit - named["U2"] @ named["W2"]
        noise = self._noise() * unit
        first = encoder @ self.moment @ encoder.mT + noise
        return missed, inner, first, (2 * named["log_std"]).exp()

    def _divergences(
        self, named: Mapping[str, Tensor], inner: Tensor, first: Tensor, variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return twice the KL divergences of both levels, (B,) each."""
        own = 2 * (self.decoder_std / self.encoder_std).log() - 1
        left = second_order(inner, first) + spread(named["U2"], variance)
        lower = left / self.decoder_std.square() + self.latent_dim * own
        means = second_order(named["W2"], first)
        return lower, divergence(means, variance, self.prior_std)

    def objective(self, parameters: Parameters) -> Tensor:
        """Return the objective of each problem, (B,)."""
        named = parameters.named
        missed, inner, first, variance = self._parts(named)
        noise = self.encoder_std.square() * named["U1"].square().sum((1, 2))
        fit = (second_order(missed, self.moment) + noise) / self.decoder_std.square()
        lower, upper = self._divergences(named, inner, first, variance)
        return fit + self.beta_1 * lower + self.beta_2 * upper

    def gradient(self, parameters: Parameters) -> Parameters:
        """Return the objective's gradient, shapes as `parameters`."""
        named = parameters.named
        missed, inner, first, variance = self._parts(named)
        encoder, decoder, upper = named["W1"], named["U1"], named["W2"]
        precision = (2 / self.decoder_std.square()).view(-1, 1, 1)
        weight = (2 * self.beta_2 / self.prior_std.square()).view(-1, 1, 1)
        held = self.beta_1.view(-1, 1, 1) * precision
        slope = precision * missed @ self.moment
        # By T, of which W1 C is one half.
        through = held * inner.mT @ inner + weight * upper.mT @ upper
        outer = held * inner @ first
        slopes = {
            "W1": decoder.mT @ slope + through @ encoder @ self.moment,
            "W2": weight * upper @ first - named["U2"].mT @ outer,
            "U1": slope @ encoder.mT + precision * self._noise() * decoder,
            "U2": held * named["U2"] * variance.unsqueeze(1) - outer @ upper.mT,
            "log_std": log_std_slope(named["U2"], variance, held, weight, self.beta_2),
        }
        return Parameters(**{name: slopes[name] for name in named})

    def _noise(self) -> Tensor:
        """Return s^2, (B, 1, 1)."""
        return self.encoder_std.square().view(-1, 1, 1)

    def posterior(self, parameters: Parameters) -> Iterator[tuple[str, Tensor]]:
        """Yield what closed forms say something of, by their names, (B, ...) each."""
        named = parameters.named
        _, inner, first, variance = self._parts(named)
        signal = torch.linalg.svdvals(named["W1"] @ root(self.moment))
        # z2 as z1 has it, its noise included.
        above = torch.linalg.svdvals(named["W2"] @ root(first))
        lower, upper = self._divergences(named, inner, first, variance)
        prior = self.prior_std.square().unsqueeze(1)
        yield "lambda", signal
        yield "omega", torch.linalg.svdvals(named["U2"])
        yield "decoder_singular_values", torch.linalg.svdvals(named["U1"])
        yield "encoder_std_2", variance.sqrt().sort(1).values
        yield "active", (signal.square() > ACTIVE * self._noise().flatten(1)).sum(1)
        yield "active_2", (above.square() > ACTIVE * prior).sum(1)
        yield "KL_1", lower / 2
        yield "KL_2", upper / 2


def build(configs: Sequence[Mapping], device: torch.device | str = "cpu") -> LinearMHVAE:
    """Return the batch of problems that resolved configs of one shape describe, one each.

    It takes a config's ``problem``: covariance_eigenvalues, latent_dim and latent_dim_2 (the same
    for all), beta_1, beta_2, decoder_std, prior_std and encoder_std.
    """
    shape = configs[0]["problem"]
    moment = second_moment(shape["covariance_eigenvalues"]).to(device)
    keys = ("beta_1", "beta_2", "decoder_std", "prior_std", "encoder_std")
    return LinearMHVAE(
        moment=moment.expand(len(configs), -1, -1),
        latent_dim=shape["latent_dim"],
        latent_dim_2=shape["latent_dim_2"] or shape["latent_dim"],
        **{key: stacked(configs, key, device) for key in keys},
    )
