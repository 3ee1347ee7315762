"""The linear hierarchical variational autoencoder of two levels (Dang et al. 2024)."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collapse.config.autoencoders import LinearAutoencoder
from collapse.config.section import Extent, Positive, fault


class Section(LinearAutoencoder):
    """A linear Markovian hierarchical variational autoencoder, z1 of held std, z2 of a learned."""

    batched: ClassVar = LinearAutoencoder.batched | {"beta_1", "beta_2", "encoder_std"}

    kind: Literal["linear_mhvae"] = Field(description="Problem module.")
    latent_dim_2: Extent | None = Field(
        None, description="Variables of z2, at most those of z1; null for as many."
    )
    beta_1: Positive = Field(1.0, description="Weight of KL(q(z1|x) || p(z1|z2)).")
    beta_2: Positive = Field(1.0, description="Weight of KL(q(z2|z1) || p(z2)).")
    encoder_std: Positive = Field(1.0, description="Held std of each variable of z1 given x.")

    @model_validator(mode="after")
    def _two_levels(self) -> "Section":
        if self.latent_dim_2 is not None and self.latent_dim_2 > self.latent_dim:
            message = f"{self.latent_dim_2} found, allowed are up to latent_dim, {self.latent_dim}"
            raise fault("latent_dim_2", message)
        return self

    @property
    def entries(self) -> int:
        """Numbers in W1, W2, U1, U2 and log_std."""
        dim, first = len(self.covariance_eigenvalues), self.latent_dim
        second = self.latent_dim_2 or first
        return 2 * dim * first + (2 * first + 1) * second
