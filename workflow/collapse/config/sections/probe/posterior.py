"""The posterior of a linear variational autoencoder."""

from typing import Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """Singular values, stds and KL divergences of a linear variational autoencoder."""

    kind: Literal["posterior"] = Field(description="Probe.")
