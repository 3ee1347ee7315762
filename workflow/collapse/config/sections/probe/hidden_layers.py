"""Features of every hidden layer of a network."""

from typing import Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """Collapse of the features of every hidden layer."""

    kind: Literal["hidden_layers"] = Field(description="Probe.")
