"""Deep recursive feature machines: layers of kernel regression, AGOP and random features."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from collapse.config.costs import Work, asked
from collapse.config.experiment import Experiment, Resources
from collapse.config.network import USUAL_INPUTS, USUAL_SAMPLES
from collapse.config.section import Count, Depth, Extent, Positive
from collapse.config.section import Section as Base
from collapse.data.catalogue import DataSet

DEVICE_BYTES = 80 * 10**9
"""What a large GPU holds."""
MATRICES = 3
"""N x N matrices that a kernel regression has in memory: one, its factor, and room to work."""


class Data(Base):
    """The labelled samples that the layers are fitted to."""

    name: str = Field(description="Data set of labelled samples, a module of `collapse.data.sets`.")
    samples_per_class: Count | None = Field(
        None, description="First samples of each class to fit to; null takes all."
    )


class Section(Experiment):
    """Deep recursive feature machines (Beaglehole et al. 2024, arXiv 2402.13728).

    Layer by layer: rows at norm 1; ridge regression with the Laplace kernel on targets of 1 and -1;
    its average gradient outer product M; random features of M^(1/2) x. A step is a layer. All in
    float64.
    """

    procedure: Literal["rfm"] = Field(description="How it is carried out.")
    data: Data = Field(description="Data that it is fitted to.")
    depth: Annotated[Depth, Field(ge=2)] = Field(description="Number of layers.")
    width: Annotated[Extent, Field(ge=2)] = Field(description="Random features of a layer.")
    bandwidth: Positive = Field(
        description="Of the Laplace kernel exp(-||x - z|| / bandwidth), of samples of norm 1."
    )
    ridge: Positive = Field(description="lambda in (K + lambda I)^-1 Y, K the kernel matrix.")
    feature_map: Literal["relu", "fourier"] = Field(
        "relu",
        description="`relu`: max(0, W x), W uniform in +-1/sqrt(inputs). `fourier`: cosines whose "
        "products approach a Laplace kernel of bandwidth `length_scale`.",
    )
    length_scale: Positive = Field(
        1.0,
        description="Of `fourier`, in units of inputs of a layer whose M has 1 as largest entry.",
    )
    projection: Literal["agop", "identity", "shuffled"] = Field(
        "agop",
        description="M of a layer: the AGOP; `identity` for none; `shuffled` for the AGOP's "
        "eigenvalues in a random basis.",
    )

    @property
    def batched(self) -> frozenset[str]:
        """Ablations and maps of one experiment share a job, and its data."""
        return frozenset({"projection", "feature_map"})

    @property
    def clock(self) -> str:
        """A step is a layer."""
        return "layer"

    def length(self) -> tuple[int, str]:
        """Return the number of layers."""
        return self.depth, "layers"

    def resources(self, runs: Sequence[Self], data_set: DataSet) -> Resources:
        """Return what follows from samples, widths and layers."""
        count, classes = self._samples(data_set), len(data_set.classes)
        units = sum(run._products(data_set) for run in runs)
        widest = self._widest(data_set)
        numbers = sum(
            run.depth * (count * classes + (run.projection != "identity") * widest**2)
            for run in runs
        )
        # States are kept, and copied once to be written.
        held = 8 * (2 * numbers + count * widest)
        steps = sum(run.depth for run in runs) * 100
        # Float64: a GPU multiplies it as fast as float32, a core too where it pays.
        return asked(Work("float32", units, steps, held, self._held(data_set), 8 * numbers))

    def measure_resources(self, runs: Sequence[Self], data_set: DataSet) -> Resources:
        """Return what follows from samples, widths and recorded layers."""
        count, widest = self._samples(data_set), self._widest(data_set)
        layers = sum(run.depth for run in runs)
        # Samples and those held out, through projection and map; predictions for the latter.
        units = layers * (4 * count * widest**2 + count**2 * widest)
        states = layers * (widest**2 + count * len(data_set.classes))
        device = 8 * 8 * count * widest
        return asked(Work("float32", units, layers * 100, 8 * states, device))

    def _products(self, data_set: DataSet) -> float:
        """Return the multiply-adds of all layers."""
        count, classes = self._samples(data_set), len(data_set.classes)
        widest = self._widest(data_set)
        regression = count**2 * widest + count**3 / 6
        gradients = classes * (count**2 * widest + count * widest**2) + 10 * widest**3
        projected = self.projection != "identity"
        return self.depth * (regression + count * widest**2 + projected * gradients)

    def _held(self, data_set: DataSet) -> float:
        """Return the bytes that the largest layer takes at once."""
        count, widest = self._samples(data_set), self._widest(data_set)
        return 8.0 * (MATRICES * count**2 + 4 * count * widest + 6 * widest**2)

    def _samples(self, data_set: DataSet) -> int:
        """Return N, as far as it is known before the data are."""
        each = self.data.samples_per_class
        if each is not None:
            return each * len(data_set.classes)
        return getattr(data_set, "train_count", None) or USUAL_SAMPLES

    def _widest(self, data_set: DataSet) -> int:
        """Return the number of inputs of the widest layer."""
        return max(self.width, math.prod(data_set.image_shape or (USUAL_INPUTS,)))

    def labels(self, data_set: DataSet) -> dict[str, Any]:
        """Return how it, its data, classes and samples are called."""
        each = self.data.samples_per_class
        return {
            "model": f"deep RFM {self.depth}x{self.width}",
            "data": data_set.title,
            "classes": list(data_set.classes),
            "samples": f"{each} samples a class" if each else "all samples",
        }

    def misfits(self, data_set: DataSet) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield real targets, too few classes, and what no memory holds."""
        name, count = self.data.name, self._samples(data_set)
        if data_set.regression:
            yield ("data", "name"), f"{name} found, which has real targets; needed are labels"
            return
        if len(data_set.classes) < 2:
            found = f"{name} found with {len(data_set.classes)} class"
            yield ("data", "name"), f"{found}, needed are 2 classes or more"
        kernels = 8 * MATRICES * count**2
        if kernels > DEVICE_BYTES:
            most = math.isqrt(DEVICE_BYTES // (8 * MATRICES))
            message = (
                f"{count} samples found, whose kernel matrices take {kernels / 1e9:.3g} GB; "
                f"allowed are up to {most}, {DEVICE_BYTES / 1e9:g} GB"
            )
            yield ("data", "samples_per_class"), message
        elif self._held(data_set) > DEVICE_BYTES:
            message = (
                f"{self.width} found, a layer of {count} samples takes "
                f"{self._held(data_set) / 1e9:.3g} GB; allowed are {DEVICE_BYTES / 1e9:g} GB"
            )
            yield ("width",), message
