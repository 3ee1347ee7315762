"""The response of a perturbation problem's minimiser to a change of H_0."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import HeldProbe
from collapse.config.section import Positive


class Section(HeldProbe):
    """The spectrum of the response at the minimiser; points: what it leaves of finite changes."""

    kind: Literal["response"] = Field(description="Probe.")
    sizes: list[Positive] = Field(
        [0.1, 0.03, 0.01, 0.003, 0.001], description="Norms of the changes of H_0."
    )
