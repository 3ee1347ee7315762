"""A collapsed solution in closed form as start."""

from typing import Literal

import numpy as np
from pydantic import Field

from collapse.config.bases import StartKind
from collapse.config.section import NonNegative, fault
from collapse.config.section import Section as Base
from collapse.config.section import Seed as Whole


class Section(StartKind):
    """A collapsed solution of a ReLU features model: low rank by graph, or an axis a class."""

    kind: Literal["collapsed"] = Field(description="Start.")
    graph_classes: Literal["all"] | Whole = Field(
        0,
        description="How many classes, the first, are edges of a complete graph (SRG): 6, 10, 15 "
        "and so on, or `all`. The others have an axis each (DNC).",
    )
    noise: NonNegative = Field(0.0, description="Std of the Gaussian noise in every entry.")

    def check(self, experiment: Base) -> None:
        """Refuse a problem without such solutions, or whose layers do not hold this one."""
        check = getattr(experiment.problem, "check_collapsed", None)
        if check is None:
            message = f"collapsed found, a {experiment.problem.kind} problem has no such solution"
            raise fault("start", message)
        check(self.graph_classes)
        for key in ("weight_decay", "feature_decay"):
            value = getattr(experiment, key)
            if value is not None and not np.all(value):
                raise fault(key, f"{value} found, a collapsed start needs decays above 0")
