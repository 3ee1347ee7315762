"""The free features of mixed samples."""

from typing import Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """The classifier's distance from a simplex ETF, and points: logits of every mixed feature."""

    kind: Literal["mixed_columns"] = Field(description="Probe.")
