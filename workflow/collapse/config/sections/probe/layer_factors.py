"""What each hidden layer's singular factors do to collapse."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from collapse.config.bases import ProbeKind
from collapse.config.section import Section as Base
from collapse.data.catalogue import DataSet

CHAIN = "scaled_mlp"
"""The model whose layers are a weight and a ReLU each, without a bias."""


class Section(ProbeKind):
    """NC1 of each hidden layer's input, behind its right singular factor, and behind its ReLU."""

    kind: Literal["layer_factors"] = Field(description="Probe.")

    def misfits(self, experiment: Base, data_set: DataSet) -> Iterator[tuple[str, str]]:
        """Yield real targets, and models whose layers have more than a weight."""
        return of_chains(self.kind, experiment, data_set)


def of_chains(kind: str, experiment: Base, data_set: DataSet) -> Iterator[tuple[str, str]]:
    """Yield what keeps a probe of a chain's weights from an experiment on a data set."""
    if data_set.regression:
        yield "kind", f"{kind} found, {data_set.title} has no classes"
    elif experiment.model.kind != CHAIN:
        yield "kind", f"{kind} found, needed is model.kind {CHAIN}: {experiment.model.kind} found"
