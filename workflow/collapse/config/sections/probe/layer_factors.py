"""What each hidden layer's singular factors do to collapse."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from collapse.config.bases import ProbeKind
from collapse.config.section import Section as Base
from collapse.config.slots import kinds
from collapse.data.catalogue import DataSet


class Section(ProbeKind):
    """NC1 of each hidden layer's input, behind its right singular factor, and behind its ReLU."""

    of_networks: ClassVar = True

    kind: Literal["layer_factors"] = Field(description="Probe.")

    def misfits(self, experiment: Base, data_set: DataSet) -> Iterator[tuple[str, str]]:
        """Yield real targets, and models whose layers have more than a weight."""
        return of_chains(self.kind, experiment, data_set)


def of_chains(kind: str, experiment: Base, data_set: DataSet) -> Iterator[tuple[str, str]]:
    """Yield what keeps a probe of bare weights from an experiment on a data set."""
    able = [name for name, section in kinds("model").items() if _bare(section)]
    if data_set.regression:
        yield "kind", f"{kind} found, {data_set.title} has no classes"
    elif not _bare(experiment.model):
        needed = f"needed is a model of weights and ReLUs alone, {', '.join(able)}"
        yield "kind", f"{kind} found, {needed}: {experiment.model.label} found"


def _bare(model: Any) -> bool:
    """Return whether a model's layers are a weight and a ReLU each; most say nothing of it."""
    return getattr(model, "bare", False)
