"""What the sections of linear variational autoencoders have in common."""

from typing import ClassVar

from pydantic import Field, model_validator

from collapse.config.bases import ProblemKind
from collapse.config.section import Extent, NonNegative, Positive, fault


class LinearAutoencoder(ProblemKind):
    """Base of the sections of linear variational autoencoders over a population."""

    batched: ClassVar = frozenset({"decoder_std", "prior_std", "init_scale"})
    layered: ClassVar = False
    probes: ClassVar = ("posterior",)

    covariance_eigenvalues: list[NonNegative] = Field(
        min_length=1,
        max_length=1000,
        description="Eigenvalues of the second moment of what is reconstructed; its basis is drawn "
        "once for all runs.",
    )
    latent_dim: Extent = Field(description="Latent variables d, at most as many as eigenvalues.")
    decoder_std: Positive = Field(
        1.0, description="Std of each output given the latents, of two levels also of z1 given z2."
    )
    prior_std: Positive = Field(1.0, description="Std of the prior of each latent.")
    init_scale: Positive = Field(0.3, description="Std of the Gaussian start of every variable.")

    @model_validator(mode="after")
    def _fits(self) -> "LinearAutoencoder":
        most = len(self.covariance_eigenvalues)
        if self.latent_dim > most:
            message = f"{self.latent_dim} found, allowed are up to {most}, as many as eigenvalues"
            raise fault("latent_dim", message)
        return self

    @property
    def products(self) -> float:
        """Multiply-adds of a gradient: a few products of each variable with the moments."""
        return 10 * len(self.covariance_eigenvalues) * self.entries
