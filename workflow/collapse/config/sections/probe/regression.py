"""A linear head on real targets and its features."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import RealProbe


class Section(RealProbe):
    """Regression collapse, fit and the geometry of W."""

    kind: Literal["regression"] = Field(description="Probe.")
