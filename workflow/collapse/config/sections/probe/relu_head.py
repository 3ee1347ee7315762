"""The layers of a ReLU head."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import LabelProbe


class Section(LabelProbe):
    """Collapse, rank and spectrum of every layer before and after its ReLU; points: class means."""

    kind: Literal["relu_head"] = Field(description="Probe.")
