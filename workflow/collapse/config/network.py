"""What procedures that train networks have in common: data, head, training and objective."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from collapse.config.bases import ProbeKind
from collapse.config.costs import Size, Work, asked
from collapse.config.experiment import Experiment, Resources
from collapse.config.section import (
    Count,
    Decays,
    Depth,
    Extent,
    NonNegative,
    Positive,
    Real,
    Section,
    check_layers,
    check_tied,
    fault,
)
from collapse.config.slots import kinds, slot, slot_list
from collapse.data.catalogue import DataSet

# Of a data set that does not say, a table of the user's say, before it is read.
USUAL_SAMPLES, USUAL_INPUTS = 60_000, 100


def _shape(data_set: DataSet, side: int | None) -> tuple[int, int, int]:
    """Return channels, height and width of samples, padded to a side if there is one."""
    channels, *image = data_set.image_shape or (USUAL_INPUTS, 1, 1)
    return (channels, *([side, side] if side else image))


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
    size: Extent | None = Field(
        None,
        description="Side of the square to which images are padded with black, as much on either "
        "side; null leaves them.",
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
    """The M-layer head."""

    depth: Depth = Field(1, description="Number M of linear layers W_1 to W_M.")
    activation: Literal["linear", "relu"] = Field(
        "linear",
        description="What is between the layers: nothing, or a ReLU behind each of W_1 to W_(M-1).",
    )
    width: Extent | None = Field(
        None, description="Rows of W_1 to W_(M-1) of a `relu` head; null: as many as features."
    )
    bias: bool = Field(False, description="Unregularised bias in the last layer.")
    init: Literal["orthogonal", "uniform", "etf"] = Field(
        "orthogonal",
        description="Start of the layers; `uniform` in +-1/sqrt(d), `etf` a simplex ETF with rows "
        "of norm 1 (depth 1).",
    )
    frozen: bool = Field(
        False, description="Whether the weight stays as it starts (depth 1); a bias is trained."
    )

    @model_validator(mode="after")
    def _one_layer(self) -> "Head":
        if self.depth > 1 and (self.init == "etf" or self.frozen):
            what = "frozen" if self.frozen else "init etf"
            raise fault("depth", f"{self.depth} found, allowed is 1 with {what}")
        if self.activation == "relu" and self.depth == 1:
            raise fault("depth", "1 found, allowed with relu are 2 or more: it stands between two")
        if self.width is not None and self.activation == "linear":
            message = f"{self.width} found, allowed in a linear head is null: as many as features"
            raise fault("width", message)
        return self


class Schedule(Section):
    """Step decay of the learning rate, by `step` or `at`."""

    step: Count | None = Field(None, description="Epochs between reductions.")
    at: list[Annotated[Real, Field(gt=0, lt=1)]] | None = Field(
        None, min_length=1, description="Fractions of all epochs after which a reduction comes."
    )
    factor: Annotated[Real, Field(gt=0, le=1)] = Field(description="Factor of each reduction.")

    @model_validator(mode="after")
    def _one_way(self) -> "Schedule":
        if (self.step is None) == (self.at is None):
            raise ValueError("allowed is one of step and at: set the other to null")
        return self


class Training(Section):
    """How a network is trained."""

    optimiser: slot("update_rule") = Field(description="Update rule.")
    learning_rate: Positive = Field(
        description="Initial learning rate.",
        # Single precision holds no more than 3e38.
        le=1e30,
    )
    momentum: Annotated[Real, Field(ge=0, lt=1)] = Field(0.0, description="Momentum of `sgd`.")
    schedule: Schedule | None = Field(None, description="Learning-rate steps; null is constant.")
    epochs: Count = Field(description="Passes over the training set.")
    batch_size: Count = Field(description="Samples in a batch.")
    record: Count = Field(40, description="Log-spaced epochs whose network is kept and measured.")
    precision: Literal["float32", "tf32", "bf16"] = Field(
        "tf32",
        description="Products on a GPU: `tf32` rounds their factors to 10 bits of mantissa, `bf16` "
        "runs the network in mixed precision. Features are measured in float32; of classifiers "
        "with convolutions, on a GPU, before the last epoch and until NC1 is small, in products "
        "rounded to 10 bits, unless this is `float32`.",
    )
    augmentation: list[Literal["crop", "flip"]] = Field(
        default_factory=list,
        description="What is done to training images anew in each epoch: `crop` moves them by up "
        "to 4 pixels over a black border, `flip` mirrors half of them left to right.",
    )


class NetworkExperiment(Experiment):
    """Base of the sections of procedures that train networks on data."""

    verb: ClassVar = "train"
    compute_only: ClassVar = frozenset({"training"})
    measure_only: ClassVar = frozenset({"features", "probes"})

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
    decayed: Literal["all", "weights", "all_and_head_bias"] = Field(
        "all",
        description="Backbone parameters in theta: all, or without biases and those of BatchNorm; "
        "or all, and the head's bias b under the decay of its last layer, lambda_WM/2 ||b||^2.",
    )
    training: Training = Field(description="Optimisation.")
    features: Literal["last", "all"] = Field(
        "last",
        description="Recorded steps whose full features are written; all are measured. A step is "
        "an epoch or, of a network trained layer by layer, a hidden layer.",
    )
    probes: slot_list("probe") = Field(
        default_factory=list, description="What is measured beside the usual rows of the data."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "NetworkExperiment":
        check_layers("weight_decay", self.weight_decay, self.head.depth)
        if self.head.frozen and np.any(self.weight_decay):
            message = f"{self.weight_decay} found, allowed is 0: the head is frozen"
            raise fault("weight_decay", message)
        check_tied(self, "feature_decay", "backbone_decay")
        if self.decayed == "all_and_head_bias" and not self.head.bias:
            raise fault("decayed", "all_and_head_bias found, allowed without head.bias is all")
        return self

    @property
    def trainings(self) -> int:
        """How many trainings of so many epochs a run is, each of a part of the network."""
        return 1

    @property
    def clock(self) -> str:
        """A step is an epoch."""
        return "epoch"

    def length(self) -> tuple[int, str]:
        """Return the epochs of all its trainings."""
        return self.training.epochs * self.trainings, "epochs"

    def resources(self, runs: Sequence[Self], data_set: DataSet) -> Resources:
        """Return what follows from samples, epochs and the networks, all side by side."""
        size, samples = self._sizes(runs, data_set), self._samples(data_set)
        epochs, batch = self.training.epochs, min(self.training.batch_size, samples)
        # A backward pass takes two forward ones.
        units = 3 * size.products * samples * epochs
        steps = epochs * math.ceil(samples / batch) * self.trainings
        states = self._records * size.parameters
        data = 2 * samples * math.prod(_shape(data_set, self.data.size))
        # Parameters, gradients, moments; and what the backward pass needs.
        training = 5 * size.parameters + 2 * size.activations * batch
        # States are kept, and copied once to be written.
        held = 4 * (data + 2 * states)
        work = Work(self.training.precision, units, steps, held, 4 * training, 4 * states)
        return asked(work)

    def measure_resources(self, runs: Sequence[Self], data_set: DataSet) -> Resources:
        """Return what follows from samples, recorded states and probes."""
        size, samples = self._sizes(runs, data_set), self._samples(data_set)
        records = self._records
        # The others read what is there, or pass over the samples anew.
        probed = sum(
            probe.passes(samples, records) if isinstance(probe, ProbeKind) else samples * records
            for probe in self.probes
        )
        passed = 2 * samples * records + probed
        states = records * size.parameters
        data = 2 * samples * math.prod(_shape(data_set, self.data.size))
        # Of a state in float64, twice with probes; and what is kept of all, to be written.
        kept = sum(run.model.dim or 1000 for run in runs)
        kept *= records if self.features == "all" else 1
        widest = max(run.model.dim or 1000 for run in runs) * 4 * (2 if self.probes else 1)
        largest = max(run._size(data_set).activations for run in runs)
        work = Work(
            "float32", size.products * passed, passed / 500 * len(runs),
            4 * (data + states) + 8 * samples * (widest + kept), 4 * 500 * largest,
            4 * samples * kept,
        )  # fmt: skip
        return asked(work)

    @property
    def _records(self) -> int:
        return min(self.training.record, self.training.epochs)

    def _size(self, data_set: DataSet) -> Size:
        """Return the size of the backbone; the head is small beside it."""
        return self.model.size(_shape(data_set, self.data.size))

    @staticmethod
    def _sizes(runs: Sequence["NetworkExperiment"], data_set: DataSet) -> Size:
        """Return the size of all backbones."""
        return sum((run._size(data_set) for run in runs), Size())

    def _samples(self, data_set: DataSet) -> int:
        """Return the number of training samples, as far as it is known before the data are."""
        data, classes = self.data, len(data_set.classes)
        if data.class_sizes:
            return sum(data.class_sizes)
        if data.samples_per_class:
            return data.samples_per_class * classes
        return data.samples or getattr(data_set, "train_count", None) or USUAL_SAMPLES

    def probes_for(self, data_set: DataSet) -> list[str]:
        """Return what measures against labels, or against real targets, as the data have them."""
        if data_set.regression:
            return ["regression", "residuals"]
        return ["classifier" if self.head.activation == "linear" else "relu_head"]

    def facts(self) -> dict[str, int | None]:
        """Return the width of the features, where the model's section says it."""
        return {"width": self.model.dim}

    def labels(self, data_set: DataSet) -> dict[str, Any]:
        """Return how its model, data, classes, samples, loss and update rule are called."""
        return {
            "model": self.model.label,
            "data": data_set.title,
            "classes": list(data_set.classes),
            "samples": self.data.label,
            "loss": self.loss.label,
            "optimiser": self.training.optimiser.label,
        }

    def misfits(self, data_set: DataSet) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield what of loss, input, head, samples, augmentation and probes does not fit."""
        name, data, moves = self.data.name, self.data, self.training.augmentation
        for place, probe in enumerate(self.probes):
            if isinstance(probe, ProbeKind):
                if probe.of_problems:
                    found = f"{probe.kind} found, it measures problems alone"
                    yield ("probes", str(place), "kind"), found
                for key, message in probe.misfits(self, data_set):
                    yield ("probes", str(place), key), message
        if data_set.regression:
            if self.input.labels_only:
                yield ("input",), f"{self.input.kind} found, {name} has real targets"
            if not self.loss.real_targets:
                able = ", ".join(k for k, section in kinds("loss").items() if section.real_targets)
                yield (
                    ("loss",),
                    f"{self.loss.kind} found, allowed is {able}: {name} has real targets",
                )
            if self.head.depth > 1:
                yield ("head", "depth"), f"{self.head.depth} found, allowed is 1: a regression"
            if self.head.init == "etf":
                yield ("head", "init"), f"etf found, {name} has no classes"
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
            if self.head.init == "etf" and self.model.dim is not None:
                least = len(data_set.classes) - 1
                if self.model.dim < least:
                    message = f"etf found with {self.model.dim} features, needed are {least}"
                    yield ("head", "init"), message
        yield from self._misfit_images(data_set)
        # Whatever the targets are: a row of a table cannot be cropped or mirrored.
        if moves and not data_set.images:
            message = f"{moves} found, allowed is []: {name} is a table, not images"
            yield ("training", "augmentation"), message

    def _misfit_images(self, data_set: DataSet) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield what of padding and model does not fit the images, before they are fetched."""
        # The rows of a table are images of one pixel; the number of channels is no matter.
        size, shape = self.data.size, data_set.image_shape or (1, 1, 1)
        if size is not None:
            if not data_set.images:
                yield ("data", "size"), f"{size} found, {self.data.name} is a table, not images"
                return
            if size < max(shape[1:]):
                found = f"{size} found, the images of {self.data.name} are {shape[1]}x{shape[2]}"
                yield ("data", "size"), f"{found}, allowed is {max(shape[1:])} or more"
                return
            shape = (shape[0], size, size)
        misfit = self.model.misfit(shape)
        if misfit is not None:
            yield ("model", misfit[0]), misfit[1]
