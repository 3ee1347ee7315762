"""Gradient descent with momentum on all samples."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from collapse.config.bases import SolverKind
from collapse.config.section import Count, Positive, Real
from collapse.problems.chunks import chunks

# More than a small node has, a job would wait for for ever.
MOST_CORES = 8


class Section(SolverKind):
    """Full-batch gradient descent with heavy-ball momentum at a constant learning rate."""

    batched: ClassVar = frozenset({"learning_rate"})
    sweeps: ClassVar = True
    side_by_side: ClassVar = True

    kind: Literal["sgd"] = Field(description="Optimiser.")
    learning_rate: Positive = Field(description="Step size.")
    momentum: Annotated[Real, Field(ge=0, lt=1)] = Field(0.0, description="Momentum.")
    steps: Count = Field(description="Number of steps.")
    record: Count = Field(40, description="Log-spaced steps whose state is kept.")

    def passes(self, entries: int) -> float:
        """One a step."""
        return self.steps

    @property
    def records(self) -> int:
        """As many as asked for, at most the start and all steps."""
        return min(self.record, self.steps + 1)

    def cores(self, runs: int, entries: int) -> int:
        """Return the number of chunks of position and velocity that suit a core's cache."""
        # Position and velocity, 8 bytes each number.
        return min(MOST_CORES, len(chunks(runs, 2 * 8 * entries)))
