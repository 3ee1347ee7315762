"""Adam on all samples."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import SolverKind
from collapse.config.section import Count, Positive


class Section(SolverKind):
    """Full-batch Adam at a constant learning rate; its averages decay by 0.9 and 0.999."""

    batched: ClassVar = frozenset({"learning_rate"})
    side_by_side: ClassVar = True

    kind: Literal["adam"] = Field(description="Optimiser.")
    learning_rate: Positive = Field(description="Step size.")
    steps: Count = Field(description="Number of steps.")
    record: Count = Field(2, description="Log-spaced steps whose state is kept.")

    def passes(self, entries: int) -> float:
        """One a step, and as much again for its averages."""
        return 2 * self.steps

    @property
    def records(self) -> int:
        """As many as asked for."""
        return self.record
