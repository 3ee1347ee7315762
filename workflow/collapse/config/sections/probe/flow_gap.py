"""A perturbation problem's minimiser beside its flow."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import HeldProbe
from collapse.config.section import Positive


class Section(HeldProbe):
    """The distance of the minimiser from the gradient flow from H_0 at time 1/beta."""

    kind: Literal["flow_gap"] = Field(description="Probe.")
    tolerance: Positive = Field(1e-12, description="Largest local error of the flow.")
