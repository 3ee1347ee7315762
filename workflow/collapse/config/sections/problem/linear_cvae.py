"""The linear conditional variational autoencoder (Dang et al. 2024)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from collapse.config.autoencoders import LinearAutoencoder
from collapse.config.section import Positive, Real


class Section(LinearAutoencoder):
    """A linear conditional variational autoencoder over a population of pairs (x, y).

    x = r y + sqrt(1 - r^2) n, n independent of y and with its second moment.
    """

    batched: ClassVar = LinearAutoencoder.batched | {"beta", "correlation"}

    kind: Literal["linear_cvae"] = Field(description="Problem module.")
    correlation: Annotated[Real, Field(ge=0, le=1)] = Field(
        description="Correlation r of each direction of y with the same one of x."
    )
    beta: Positive = Field(1.0, description="Weight of the KL divergence.")
    encoder_std: Positive | None = Field(
        None, description="Held std of each latent given the data; null learns it."
    )

    @property
    def entries(self) -> int:
        """Numbers in W1, W2, U1, U2 and log_std."""
        dim = len(self.covariance_eigenvalues)
        return (3 * dim + 1) * self.latent_dim + dim**2
