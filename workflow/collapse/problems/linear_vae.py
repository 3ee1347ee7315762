"""The linear variational autoencoder over a population: its objective without samples.

Objective of one problem, z ~ N(W1 x, S), S = diag(exp(2 log_std)), x ~ N(U1 z, e^2 I), prior
N(0, p^2 I), C = E[xx^T], d latents::

    1/e^2 [tr (U1 W1 - I) C (U1 W1 - I)^T + tr U1 S U1^T]
        + beta [(tr W1 C W1^T + tr S)/p^2 - log det S + 2 d log p - d]

Twice the expected negative log-likelihood, without its constant, and beta times twice the KL
divergence. With ``encoder_std`` S is held at its square. Sources: Lucas et al. 2019; Dang et al.
2024 (arXiv 2306.05023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from collapse.problems.base import Problem
from collapse.problems.moments import root, second_moment
from collapse.problems.parameters import Parameters

ACTIVE = 0.01
"""Share of the prior's variance above which a posterior mean varies (Burda et al. 2016)."""


@dataclass(frozen=True)
class Population(Problem):
    """A batch of B problems over populations, each tensor with one entry a problem.

    Attributes
    ----------
    moment
        The second moment of what is given and reconstructed, (B, D, D).
    """

    moment: Tensor

    @property
    def batch(self) -> int:
        """The number of problems, B."""
        return len(self.moment)

    @property
    def device(self) -> torch.device:
        """Where the problem's tensors live."""
        return self.moment.device

    def select(self, index: slice) -> Self:
        """Return the problems of a slice of the batch."""
        return replace(self, **{n: t[index] for n, t in vars(self).items() if torch.is_tensor(t)})


@dataclass(frozen=True)
class LinearVAE(Population):
    """A batch of B problems of one shape.

    Attributes
    ----------
    moment
        C, (B, D, D).
    latent_dim
        d.
    beta, decoder_std, prior_std
        (B,) each.
    encoder_std
        The held root of S, (B,); None where S is a variable.
    """

    latent_dim: int
    beta: Tensor
    decoder_std: Tensor
    prior_std: Tensor
    encoder_std: Tensor | None = None

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """W1 is d x D, U1 is D x d; log_std are d numbers, absent where they are held."""
        dim, latent = self.moment.shape[-1], self.latent_dim
        shapes = {"W1": (latent, dim), "U1": (dim, latent)}
        return shapes if self.encoder_std is not None else {**shapes, "log_std": (latent,)}

    def objective(self, parameters: Parameters) -> Tensor:
        """Return the objective of each problem, (B,)."""
        named = parameters.named
        variance = self._variances(named)
        encoder, decoder = named["W1"], named["U1"]
        missed = decoder @ encoder - identity(decoder.shape[1], decoder)
        fit = second_order(missed, self.moment) + spread(decoder, variance)
        return fit / self.decoder_std.square() + self.beta * divergence(
            second_order(encoder, self.moment), variance, self.prior_std
        )

    def gradient(self, parameters: Parameters) -> Parameters:
        """Return the objective's gradient, shapes as `parameters`."""
        named = parameters.named
        variance = self._variances(named)
        encoder, decoder = named["W1"], named["U1"]
        precision, weight = self._weights()
        missed = decoder @ encoder - identity(decoder.shape[1], decoder)
        slope = precision * missed @ self.moment
        slopes = {
            "W1": decoder.mT @ slope + weight * encoder @ self.moment,
            "U1": slope @ encoder.mT + precision * decoder * variance.unsqueeze(1),
        }
        if "log_std" in named:
            slopes["log_std"] = log_std_slope(decoder, variance, precision, weight, self.beta)
        return Parameters(**{name: slopes[name] for name in named})

    def _weights(self) -> tuple[Tensor, Tensor]:
        """Return 2/e^2 and 2 beta/p^2, (B, 1, 1)."""
        precision = 2 / self.decoder_std.square()
        return (
            precision.view(-1, 1, 1),
            (2 * self.beta / self.prior_std.square()).view(-1, 1, 1),
        )

    def _variances(self, named: Mapping[str, Tensor]) -> Tensor:
        """Return the diagonal of S, (B, d)."""
        if self.encoder_std is None:
            return (2 * named["log_std"]).exp()
        return self.encoder_std.square().unsqueeze(1).expand(-1, self.latent_dim)

    def posterior(self, parameters: Parameters) -> Iterator[tuple[str, Tensor]]:
        """Yield what closed forms say something of, by their names, (B, ...) each."""
        named = parameters.named
        variance = self._variances(named)
        encoder = named["W1"]
        yield from posterior_of(
            named["U1"],
            torch.linalg.svdvals(encoder @ root(self.moment)),
            (encoder @ self.moment * encoder).sum(2),
            variance,
            self.prior_std,
        )


def identity(size: int, like: Tensor) -> Tensor:
    """Return the identity in a tensor's format, made on its device: a captured step copies none."""
    return torch.eye(size, dtype=like.dtype, device=like.device)


def second_order(matrix: Tensor, moment: Tensor) -> Tensor:
    """Return tr M C M^T, (B,)."""
    return (matrix @ moment * matrix).sum((1, 2))


def spread(decoder: Tensor, variance: Tensor) -> Tensor:
    """Return tr U S U^T of a diagonal S, (B, d), as (B,)."""
    return (decoder.square().sum(1) * variance).sum(1)


def divergence(means: Tensor, variance: Tensor, prior_std: Tensor) -> Tensor:
    """Return twice the KL divergence from the prior, of the sum of squared means, (B,)."""
    dim = variance.shape[1]
    return (
        (means + variance.sum(1)) / prior_std.square()
        - variance.log().sum(1)
        + 2 * dim * prior_std.log()
        - dim
    )


def log_std_slope(
    decoder: Tensor, variance: Tensor, precision: Tensor, weight: Tensor, beta: Tensor
) -> Tensor:
    """Return the objective's derivative by log_std, (B, d)."""
    each = precision.flatten(1) * decoder.square().sum(1) + weight.flatten(1)
    return variance * each - 2 * beta.unsqueeze(1)


def posterior_of(
    decoder: Tensor, encoder: Tensor, means: Tensor, variance: Tensor, prior_std: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Yield the numbers of a posterior with diagonal S, (B, ...), latents in descending order.

    Parameters
    ----------
    decoder
        U1.
    encoder
        Singular values of the posterior mean, (B, d or fewer).
    means
        E of each latent's squared posterior mean, (B, d).
    variance
        The diagonal of S, (B, d).
    prior_std
        (B,).
    """
    prior = prior_std.square().unsqueeze(1)
    ratio = variance / prior
    divergences = (means / prior + ratio - ratio.log() - 1) / 2
    yield "decoder_singular_values", torch.linalg.svdvals(decoder)
    yield "encoder_singular_values", encoder
    # The more a latent carries the smaller its std.
    yield "encoder_std", variance.sqrt().sort(1).values
    yield "active", (encoder.square() > ACTIVE * prior).sum(1)
    yield "KL_latent", divergences.sort(1, descending=True).values
    yield "KL", divergences.sum(1)


def answers(config: Mapping) -> None:
    """Return None: there are no samples."""


def stacked(configs: Sequence[Mapping], key: str, device: torch.device | str) -> Tensor | None:
    """Return a key of the section ``problem`` of all configs, (B,), None where it is null."""
    values = [config["problem"][key] for config in configs]
    if values[0] is None:
        return None
    return torch.tensor(values, dtype=torch.float64, device=device)


def build(configs: Sequence[Mapping], device: torch.device | str = "cpu") -> LinearVAE:
    """Return the batch of problems that resolved configs of one shape describe, one each.

    It takes a config's ``problem``: covariance_eigenvalues, latent_dim (the same for all), beta,
    decoder_std, prior_std and encoder_std.
    """
    shape = configs[0]["problem"]
    moment = second_moment(shape["covariance_eigenvalues"]).to(device)
    keys = ("beta", "decoder_std", "prior_std", "encoder_std")
    return LinearVAE(
        moment=moment.expand(len(configs), -1, -1),
        latent_dim=shape["latent_dim"],
        **{key: stacked(configs, key, device) for key in keys},
    )
