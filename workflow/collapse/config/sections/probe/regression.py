"""A linear head on real targets and its features."""

from typing import Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """Regression collapse, fit and the geometry of W."""

    kind: Literal["regression"] = Field(description="Probe.")
