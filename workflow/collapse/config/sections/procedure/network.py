"""Networks that are trained on data."""

from typing import ClassVar, Literal

from pydantic import Field

from collapse.config.network import NetworkExperiment
from collapse.data.catalogue import DataSet


class Section(NetworkExperiment):
    """A real network trained on real data; networks of one shape may train as one ensemble."""

    signature: ClassVar = "model"
    measure_only: ClassVar = NetworkExperiment.measure_only | {"layers"}

    procedure: Literal["network"] = Field("network", description="How it is carried out.")
    layers: Literal["last", "all"] = Field(
        "last",
        description="Layers whose features are measured and written: what the head gets, or "
        "every hidden layer's too.",
    )

    @property
    def batched(self) -> frozenset[str] | None:
        """The decays, of networks that can train side by side."""
        decays = frozenset({"weight_decay", "feature_decay", "backbone_decay"})
        return decays if self.model.ensemble else None

    def probes_for(self, data_set: DataSet) -> list[str]:
        """Return what measures the data's kind of targets, and the hidden layers if asked to."""
        hidden = ["hidden_layers"] if self.layers == "all" else []
        return [*super().probes_for(data_set), *hidden]
