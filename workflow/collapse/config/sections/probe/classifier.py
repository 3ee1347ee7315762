"""A linear classifier and its features."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import LabelProbe


class Section(LabelProbe):
    """Collapse layer by layer, frames, and each class."""

    kind: Literal["classifier"] = Field(description="Probe.")
