"""The layers of a ReLU head."""

from typing import Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """Collapse, rank and spectrum of every layer before and after its ReLU; points: class means."""

    kind: Literal["relu_head"] = Field(description="Probe.")
