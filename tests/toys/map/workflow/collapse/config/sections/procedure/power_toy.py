"""Power iteration: no gradient anywhere."""

from typing import Literal

from collapse.config.experiment import Experiment
from collapse.config.network import Data
from collapse.config.reference import Reference
from collapse.config.section import Count, NonNegative


class Section(Experiment):
    """Iterates x -> A x / ||A x|| on the targets' covariance, from numbers of another run."""

    procedure: Literal["power_toy"]
    data: Data
    of: Reference
    steps: Count
    shift: NonNegative = 0.0

    @property
    def batched(self):
        return frozenset({"shift"})
