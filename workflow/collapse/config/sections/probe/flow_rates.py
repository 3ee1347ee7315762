"""What the rates along the central-path flow are made of."""

from typing import Literal

from pydantic import Field

from collapse.config.section import Section as Base


class Section(Base):
    """The within-class logits and the growth of the class means at the best classifier."""

    kind: Literal["flow_rates"] = Field(description="Probe.")
