"""The end of another experiment's run as start."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import StartKind
from collapse.config.reference import Reference


class Section(StartKind):
    """The last recorded state of a run of another problem whose variables have the same shapes."""

    kind: Literal["states"] = Field(description="Start.")
    of: Reference = Field(description="The run whose end is the start.")
