"""The end of another experiment's run as start."""

from typing import Literal

from pydantic import Field

from collapse.config.reference import Reference
from collapse.config.section import Section as Base


class Section(Base):
    """The last recorded state of a run of another problem whose variables have the same shapes."""

    kind: Literal["states"] = Field(description="Start.")
    of: Reference = Field(description="The run whose end is the start.")
