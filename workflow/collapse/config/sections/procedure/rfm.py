"""Deep recursive feature machines: layers of kernel regression, AGOP and random features."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from collapse.config.costs import Work, asked
from collapse.config.experiment import Experiment, Resources
from collapse.config.first_samples import FirstSamples
from collapse.config.network import USUAL_INPUTS
from collapse.config.section import Depth, Extent, Positive
from collapse.data.catalogue import DataSet

DEVICE_BYTES = 80 * 10**9
"""What a large GPU holds."""
MATRICES = 3
"""N x N matrices that a kernel regression has in memory: one, its factor, and room to work."""
SQUARES = 6
"""Matrices of the largest layer's inputs by themselves: AGOP, root, eigenvectors, random ones."""
PURE = 2.5
"""How many times faster products of large matrices alone are than those of a network's passes."""


class Section(Experiment):
    """Deep recursive feature machines (Beaglehole et al. 2024, arXiv 2402.13728).

    Each pixel gets mean 0 and variance 1. Layer by layer: rows at norm 1; ridge regression with the
    Laplace kernel on targets of 1 and -1; its average gradient outer product M; random features of
    M^(1/2) x. A step is a layer. All in float64.
    """

    procedure: Literal["rfm"] = Field(description="How it is carried out.")
    data: FirstSamples = Field(description="Data that it is fitted to.")
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
        count = self.data.count(data_set)
        written = 8 * sum(run._recorded(data_set) for run in runs)
        # States are kept, and copied once to be written.
        held = 2 * written + 8 * count * self._inputs(data_set)[0]
        products = sum(run._products(data_set) for run in runs)
        layers = sum(run.depth for run in runs)
        return asked(_work(products, layers, held, self._held(data_set), written))

    def measure_resources(self, runs: Sequence[Self], data_set: DataSet) -> Resources:
        """Return what follows from samples, widths and recorded layers."""
        count = self.data.count(data_set)
        # Samples and as many held out, through projection and map; predictions for the latter.
        products = sum(
            4 * count * inputs * max(inputs, run.width) + count**2 * inputs
            for run in runs
            for inputs in run._inputs(data_set)
        )
        states = 8 * sum(run._recorded(data_set) for run in runs)
        # Values of a layer at its places, and what metrics make of them.
        device = 8 * 10 * count * max(self._inputs(data_set))
        return asked(_work(products, sum(run.depth for run in runs), states, device, 0))

    def _inputs(self, data_set: DataSet) -> list[int]:
        """Return the number of inputs of each layer."""
        return [
            math.prod(data_set.image_shape or (USUAL_INPUTS,)),
            *[self.width] * (self.depth - 1),
        ]

    def _products(self, data_set: DataSet) -> float:
        """Return the multiply-adds of all layers."""
        count, classes = self.data.count(data_set), len(data_set.classes)
        total = 0.0
        for inputs in self._inputs(data_set):
            total += count**2 * inputs + count**3 / 6 + count * inputs * self.width
            if self.projection != "identity":
                # Gradients, their outer products, eigenvectors.
                total += classes * count * inputs * (count + inputs) + 10 * inputs**3
        return total

    def _recorded(self, data_set: DataSet) -> int:
        """Return how many numbers its states hold: coefficients and roots."""
        coefficients = self.depth * self.data.count(data_set) * len(data_set.classes)
        roots = sum(inputs**2 for inputs in self._inputs(data_set))
        return coefficients + (self.projection != "identity") * roots

    def _held(self, data_set: DataSet) -> float:
        """Return the bytes that the largest layer takes at once."""
        count, widest = self.data.count(data_set), self._widest(data_set)
        return 8.0 * (MATRICES * count**2 + 4 * count * widest + SQUARES * widest**2)

    def _most(self, data_set: DataSet) -> int:
        """Return how many samples a device holds at this width, 0 where none."""
        widest = self._widest(data_set)
        room = DEVICE_BYTES // 8 - SQUARES * widest**2
        # The positive root of `_held`, quadratic in the samples.
        return int((math.sqrt(4 * widest**2 + MATRICES * max(room, 0)) - 2 * widest) // MATRICES)

    def _widest(self, data_set: DataSet) -> int:
        """Return the largest number of inputs or features of a layer."""
        return max(*self._inputs(data_set), self.width)

    def labels(self, data_set: DataSet) -> dict[str, Any]:
        """Return how it, its data, classes and samples are called."""
        return {
            "model": f"deep RFM {self.depth}x{self.width}",
            "data": data_set.title,
            "classes": list(data_set.classes),
            "samples": self.data.label,
        }

    def misfits(self, data_set: DataSet) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield real targets, too few classes, and what no memory holds."""
        name, count = self.data.name, self.data.count(data_set)
        if data_set.regression:
            yield ("data", "name"), f"{name} found, which has real targets; needed are labels"
            return
        if len(data_set.classes) < 2:
            found = f"{name} found with {len(data_set.classes)} class"
            yield ("data", "name"), f"{found}, needed are 2 classes or more"
        most = self._most(data_set)
        if count > most:
            taken = f"a layer takes {self._held(data_set) / 1e9:.3g} GB"
            allowed = f"allowed are {DEVICE_BYTES / 1e9:g} GB"
            if most:
                message = f"{count} samples found, {taken}; {allowed}, up to {most} samples"
                yield ("data", "samples_per_class"), message
            else:
                yield ("width",), f"{self.width} found, {taken}; {allowed}"


def _work(products: float, layers: int, host: float, device: float, written: float) -> Work:
    """Return the work of so many multiply-adds of large matrices in so many layers."""
    # Float64, which is as fast as float32 on a large GPU, and on a core where nothing else is done.
    return Work("float32", products / PURE, 100 * layers, host, device, written)
