"""Features of a network's layer as start."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import StartKind
from collapse.config.reference import FeaturesReference
from collapse.config.section import Section as Base
from collapse.config.section import fault


class Section(StartKind):
    """Features of a trained network at its last recorded step: the first samples of each class."""

    kind: Literal["network_features"] = Field(description="Start.")
    of: FeaturesReference = Field(description="The network's run.")
    from_layer: str = Field(
        "H1",
        pattern=r"^(H1|hidden[1-9]\d*)$",
        description="Layer: `H1`, what the head gets, or `hidden1` and so on of a network with "
        "`layers: all`; its width is the problem's `dim`.",
    )

    def check(self, experiment: Base) -> None:
        """Refuse a problem whose variable is not features of labelled samples."""
        if not experiment.problem.labelled_features:
            message = (
                f"network_features found, a {experiment.problem.kind} problem has other variables"
            )
            raise fault("start", message)
