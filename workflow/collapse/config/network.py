"""Sections of networks that have no kinds: data, head and training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from collapse.config.section import Count, Positive, Real, Section, fault
from collapse.config.slots import slot


class Data(Section):
    """The data that an experiment is about."""

    name: str = Field(description="Data set, a module of `collapse.data.sets` or your own table.")
    samples: Count | None = Field(
        None, description="Training samples of a regression, evenly spaced; null takes all."
    )
    standardise: list[Literal["inputs", "targets"]] = Field(
        default_factory=list,
        description="What of a regression gets mean 0 and variance 1 over the training samples; "
        "images always do, by channel.",
    )
    samples_per_class: Count | None = Field(
        None, description="First images of each class to train on; null takes all."
    )
    class_sizes: list[Count] | None = Field(
        None,
        min_length=2,
        description="First images of each class instead, in label order; null for equal sizes.",
    )
    imbalance_ratio: Annotated[Real, Field(ge=1)] | None = Field(
        None,
        description="Long tail: sizes fall by a constant factor from class to class, from "
        "samples_per_class (null: the size of the smallest class) to one this many times smaller.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Data":
        if self.class_sizes and (self.samples_per_class or self.imbalance_ratio):
            other = "samples_per_class" if self.samples_per_class else "imbalance_ratio"
            raise ValueError(
                f"class_sizes and {other} are both set, allowed is one: set the other to null"
            )
        ratio, largest = self.imbalance_ratio, self.samples_per_class
        if ratio and largest and ratio > largest:
            message = f"{ratio:g} found, allowed is up to samples_per_class, {largest}"
            raise fault("imbalance_ratio", message)
        return self

    @property
    def label(self) -> str:
        """Which samples of its data set are trained on, in a few words."""
        if self.class_sizes:
            return f"{min(self.class_sizes)} to {max(self.class_sizes)} samples a class"
        if self.imbalance_ratio:
            return f"long tail of ratio {self.imbalance_ratio:g}"
        size = self.samples_per_class
        return f"{size} samples a class" if size else "all samples"


class Head(Section):
    """The M-layer linear head."""

    depth: Count = Field(1, description="Number M of linear layers W_1 to W_M.")
    bias: bool = Field(False, description="Unregularised bias in the last layer.")
    init: Literal["orthogonal", "uniform"] = Field(
        "orthogonal", description="Start of the layers; `uniform` in +-1/sqrt(d)."
    )


class Schedule(Section):
    """Step decay of the learning rate."""

    step: Count = Field(description="Epochs between reductions.")
    factor: Annotated[Real, Field(gt=0, le=1)] = Field(description="Factor of each reduction.")


class Training(Section):
    """How a network is trained."""

    optimiser: slot("update_rule") = Field(description="Update rule.")
    learning_rate: Positive = Field(description="Initial learning rate.")
    momentum: Annotated[Real, Field(ge=0, lt=1)] = Field(0.0, description="Momentum of `sgd`.")
    schedule: Schedule | None = Field(None, description="Learning-rate steps; null is constant.")
    epochs: Count = Field(description="Passes over the training set.")
    batch_size: Count = Field(description="Samples in a batch.")
    record: Count = Field(40, description="Log-spaced epochs whose network is kept and measured.")
    precision: Literal["float32", "tf32", "bf16"] = Field(
        "tf32",
        description="Products on a GPU: `tf32` rounds their factors to 10 bits of mantissa, `bf16` "
        "runs the network in mixed precision. Features that a metric reads are always float32.",
    )
    augmentation: list[Literal["crop", "flip"]] = Field(
        default_factory=list,
        description="What is done to training images anew in each epoch: `crop` moves them by up "
        "to 4 pixels over a black border, `flip` mirrors half of them left to right.",
    )
