"""Features of a regression and the rows of its W as points in space."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import RealProbe


class Section(RealProbe):
    """Points: up to 250 features and the rows of W in three directions, first and last step."""

    kind: Literal["feature_space"] = Field(description="Probe.")
