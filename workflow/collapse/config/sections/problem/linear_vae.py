"""The linear variational autoencoder (Lucas et al. 2019; Dang et al. 2024)."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.autoencoders import LinearAutoencoder
from collapse.config.section import Positive


class Section(LinearAutoencoder):
    """A linear variational autoencoder over a population of given second moment."""

    batched: ClassVar = LinearAutoencoder.batched | {"beta"}

    kind: Literal["linear_vae"] = Field(description="Problem module.")
    beta: Positive = Field(1.0, description="Weight of the KL divergence.")
    encoder_std: Positive | None = Field(
        None, description="Held std of each latent given the data; null learns it."
    )

    @property
    def entries(self) -> int:
        """Numbers in W1, U1 and log_std."""
        return (2 * len(self.covariance_eigenvalues) + 1) * self.latent_dim
