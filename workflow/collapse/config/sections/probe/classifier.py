"""A linear classifier and its features."""

from typing import Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """Collapse layer by layer, frames, and each class."""

    kind: Literal["classifier"] = Field(description="Probe.")
