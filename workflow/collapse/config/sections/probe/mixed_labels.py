"""The entropy of the soft labels that a network is trained on."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.bases import ProbeKind
from collapse.config.section import Section as Base
from collapse.data.catalogue import DataSet


class Section(ProbeKind):
    """The training loss beside the entropy of mixed labels, which no cross-entropy undercuts."""

    of_networks: ClassVar = True

    kind: Literal["mixed_labels"] = Field(description="Probe.")

    def misfits(self, experiment: Base, data_set: DataSet) -> Iterator[tuple[str, str]]:
        """Yield an input whose labels are not soft."""
        if not experiment.input.labels_only:
            yield (
                "kind",
                f"mixed_labels found, allowed with input mixup, not {experiment.input.kind}",
            )
