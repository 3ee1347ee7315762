"""Residuals of a regression, sample by sample."""

from typing import Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """Points: target and residual of up to 250 evenly spaced samples, first and last step."""

    kind: Literal["residuals"] = Field(description="Probe.")
