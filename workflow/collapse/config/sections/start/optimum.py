"""A known minimiser with noise as start."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import StartKind
from collapse.config.section import NonNegative
from collapse.config.section import Section as Base


class Section(StartKind):
    """The closed-form minimiser of the problem, turned at random by the seed, plus noise."""

    near_optimum: ClassVar = True

    kind: Literal["optimum"] = Field(description="Start.")
    noise: NonNegative = Field(0.0, description="Std of the Gaussian noise in every entry.")

    def check(self, experiment: Base) -> None:
        """Refuse a problem without a known optimum, or decays at which there is none."""
        experiment.problem.check_optimum(experiment.weight_decay, experiment.feature_decay)
