"""The posterior of a linear variational autoencoder."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import ProbeKind


class Section(ProbeKind):
    """Singular values, stds and KL divergences of a linear variational autoencoder."""

    of_problems: ClassVar = True

    kind: Literal["posterior"] = Field(description="Probe.")
