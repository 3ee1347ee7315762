"""Networks that are trained on data."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from collapse.config.network import NetworkExperiment
from collapse.data.catalogue import DataSet


class Section(NetworkExperiment):
    """A real network trained on real data; networks of one shape may train as one ensemble."""

    signature: ClassVar = "model"
    compute_only: ClassVar = NetworkExperiment.compute_only | {"side_by_side"}
    measure_only: ClassVar = NetworkExperiment.measure_only | {"layers"}

    procedure: Literal["network"] = Field("network", description="How it is carried out.")
    layers: Literal["last", "all"] = Field(
        "last",
        description="Layers whose features are measured and written: what the head gets, or "
        "every hidden layer's too.",
    )

    side_by_side: Literal["shape", "experiment"] = Field(
        "shape",
        description="Networks that one job trains at the same time: of one `shape`, which differ "
        "in decays and seed and can be stacked; or of the whole `experiment`, whatever of model, "
        "head, loss and input its grid varies, which fills a large GPU.",
    )

    @property
    def batched(self) -> frozenset[str] | None:
        """What the networks of one job may differ in; None if each trains alone."""
        decays = frozenset({"weight_decay", "feature_decay", "backbone_decay"})
        if self.side_by_side == "experiment":
            sections = {name: getattr(self, name) for name in ("model", "head", "loss", "input")}
            keys = {
                f"{name}.{key}"
                for name, section in sections.items()
                for key in type(section).model_fields
                # Of another kind a section has other keys.
                if key != "kind"
            }
            return decays | {"decayed"} | keys
        return decays if self.model.ensemble else None

    @property
    def ways(self) -> dict[str, Any]:
        """Whether networks of one shape are stacked."""
        return {"stacked": self.model.ensemble}

    def probes_for(self, data_set: DataSet) -> list[str]:
        """Return what measures the data's kind of targets, and the hidden layers if asked to."""
        hidden = ["hidden_layers"] if self.layers == "all" else []
        return [*super().probes_for(data_set), *hidden]
