"""Gradient flow, the path of steepest descent itself."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collapse.config.bases import SolverKind
from collapse.config.section import Count, Positive, fault


class Section(SolverKind):
    """A gradient flow by an adaptive Runge-Kutta method of order 8, each problem by itself.

    A step is a record; the history holds its `time`.
    """

    clock: ClassVar = "time"

    kind: Literal["flow"] = Field(description="Optimiser.")
    first: Positive = Field(description="The first recorded time after 0.")
    last: Positive = Field(description="The last recorded time.")
    record: Count = Field(40, description="Recorded times, log-spaced from `first` to `last`.")
    tolerance: Positive = Field(
        1e-10, description="Largest local error of a step, relative and absolute."
    )

    def passes(self, entries: int) -> float:
        """Those of a method of 12 stages, fifty steps in a record."""
        return 600 * self.record

    @property
    def records(self) -> int:
        """As many as asked for."""
        return self.record

    @model_validator(mode="after")
    def _ordered(self) -> "Section":
        if self.record > 1 and not self.first < self.last:
            raise fault("last", f"{self.last:g} found, allowed is more than first, {self.first:g}")
        if self.record == 1 and self.first != self.last:
            message = f"1 found, allowed is more: first and last differ, {self.first:g} and"
            raise fault("record", f"{message} {self.last:g}")
        return self
