"""Residuals of a regression, sample by sample."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import RealProbe


class Section(RealProbe):
    """Points: target and residual of up to 250 evenly spaced samples, first and last step."""

    kind: Literal["residuals"] = Field(description="Probe.")
