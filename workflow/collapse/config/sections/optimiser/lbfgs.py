"""L-BFGS, for the optimum rather than the path to it."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import SolverKind
from collapse.config.section import Count, Positive


class Section(SolverKind):
    """L-BFGS with strong-Wolfe line search, one problem after the other, along its continuation."""

    kind: Literal["lbfgs"] = Field(description="Optimiser.")
    steps: Count = Field(description="Largest number of iterations in a stage of the continuation.")
    tolerance: Positive = Field(1e-12, description="Gradient norm at which a run has converged.")

    def passes(self, entries: int) -> float:
        """Those of its history of twenty vectors, twice a step, and of a line search."""
        return 50 * self.steps

    def calls(self, entries: int) -> float:
        """Return one for a step, and one for its line search."""
        return 2 * self.steps
