"""Newton's method, for a minimiser to the last digits."""

from typing import Literal

from pydantic import Field

from collapse.config.bases import SolverKind
from collapse.config.section import Count, Positive


class Section(SolverKind):
    """Damped Newton steps with dense second derivatives, along the problem's continuation.

    Two states are recorded: step 0, the start, and step 1, the minimiser.
    """

    kind: Literal["newton"] = Field(description="Optimiser.")
    steps: Count = Field(100, description="Largest number of steps in a stage of the continuation.")
    tolerance: Positive = Field(
        1e-14, description="Largest entry of the gradient at which a run has converged."
    )

    def passes(self, entries: int) -> float:
        """Those of the second derivatives and their factorisation, ten steps as a rule."""
        return 10 * entries + entries**2 / 3

    def calls(self, entries: int) -> float:
        """Return a few for each step."""
        return 10 * self.steps

    def held(self, entries: int) -> int:
        """Second derivatives, their factors, and what makes them."""
        return 8 * entries**2
