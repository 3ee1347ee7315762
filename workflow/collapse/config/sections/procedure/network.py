"""Networks that are trained on data."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collapse.config.experiment import Experiment, Resources
from collapse.config.network import Data, Head, Training
from collapse.config.section import Decays, NonNegative, check_layers, check_tied
from collapse.config.slots import kinds, slot
from collapse.data.catalogue import DataSet


class Section(Experiment):
    """A real network trained on real data; networks of one shape may train as one ensemble."""

    signature: ClassVar = "model"
    verb: ClassVar = "train"
    compute_only: ClassVar = frozenset({"training"})
    measure_only: ClassVar = frozenset({"features", "probes"})

    procedure: Literal["network"] = Field("network", description="How it is carried out.")
    data: Data = Field(description="Training data.")
    input: slot("input") = Field(
        {"kind": "plain"}, validate_default=True, description="What a batch is made of."
    )
    model: slot("model") = Field(description="Backbone that computes the features H.")
    head: Head = Field(description="Linear layers on the features.")
    loss: slot("loss") = Field(
        description="Data term: 1/(2N) ||Z - Y||^2 summed over classes, or mean CE."
    )
    weight_decay: Decays = Field(
        description="lambda_W in 1/2 lambda_W ||W_m||^2 of the head's layers."
    )
    feature_decay: NonNegative | None = Field(
        description="lambda_H in 1/2 lambda_H ||H||^2, summed over all N samples; "
        "a batch of B counts N/B times. Of a regression in 1/(2N) lambda_H ||H||^2, a mean over "
        "them. Null: as weight_decay."
    )
    backbone_decay: NonNegative | None = Field(
        0.0,
        description="lambda in 1/2 lambda ||theta||^2 of the backbone. Null: as weight_decay.",
    )
    decayed: Literal["all", "weights"] = Field(
        "all",
        description="Backbone parameters in theta: all, or without biases and those of BatchNorm.",
    )
    training: Training = Field(description="Optimisation.")
    features: Literal["last", "all"] = Field(
        "last", description="Recorded epochs whose full features are written; all are measured."
    )
    probes: list[slot("probe")] = Field(
        default_factory=list, description="What is measured beside the usual rows of the data."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Section":
        check_layers("weight_decay", self.weight_decay, self.head.depth)
        check_tied(self, "feature_decay", "backbone_decay")
        return self

    @property
    def batched(self) -> frozenset[str] | None:
        """The decays, of networks that can train side by side."""
        decays = frozenset({"weight_decay", "feature_decay", "backbone_decay"})
        return decays if self.model.ensemble else None

    def resources(self, runs: int) -> Resources:
        """Return one GPU for all that train side by side."""
        return Resources(gpus=1, memory=8000)

    def measure_resources(self) -> Resources:
        """Return one GPU."""
        return Resources(gpus=1, memory=8000, minutes=60)

    def probes_for(self, data_set: DataSet) -> list[str]:
        """Return what measures against labels, or against real targets, as the data have them."""
        return ["regression", "residuals"] if data_set.regression else ["classifier"]

    def facts(self) -> dict[str, int | None]:
        """Return the width of the features, where the model's section says it."""
        return {"width": self.model.width}

    def labels(self, data_set: DataSet) -> dict[str, str]:
        """Return how its model, data, samples, loss and update rule are called."""
        return {
            "model": self.model.label,
            "data": data_set.title,
            "samples": self.data.label,
            "loss": self.loss.label,
            "optimiser": self.training.optimiser.label,
        }

    def misfits(self, data_set: DataSet) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield what of loss, head, choice of samples and augmentation does not fit the data."""
        name, data, moves = self.data.name, self.data, self.training.augmentation
        if data_set.regression:
            if not self.loss.real_targets:
                able = ", ".join(k for k, section in kinds("loss").items() if section.real_targets)
                yield (
                    ("loss",),
                    f"{self.loss.kind} found, allowed is {able}: {name} has real targets",
                )
            if self.head.depth > 1:
                yield ("head", "depth"), f"{self.head.depth} found, allowed is 1: a regression"
            for key in ("samples_per_class", "class_sizes", "imbalance_ratio"):
                if getattr(data, key) is not None:
                    yield ("data", key), f"{getattr(data, key)} found, {name} has no classes"
        elif data.class_sizes and len(data.class_sizes) != len(data_set.classes):
            count = len(data_set.classes)
            message = f"{len(data.class_sizes)} sizes found, {name} has {count} classes"
            yield ("data", "class_sizes"), message
        else:
            for key in ("samples", "standardise"):
                if getattr(data, key):
                    yield ("data", key), f"{getattr(data, key)} found, {name} is no regression"
        # Whatever the targets are: a row of a table cannot be cropped or mirrored.
        if moves and not data_set.images:
            message = f"{moves} found, allowed is []: {name} is a table, not images"
            yield ("training", "augmentation"), message
