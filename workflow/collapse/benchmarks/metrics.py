"""NC1 to NC4 of many features: `study_metrics` against loops over classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from collapse.benchmarks.sizes import Features, Sizes
from collapse.benchmarks.table import Line, Row
from collapse.benchmarks.textbook.metrics import by_batches, by_classes
from collapse.benchmarks.timing import device_name, interleaved, seconds, threads
from collapse.metrics import study_metrics

COLLAPSED = 1e-11
"""NC1 of the timed features: so far into collapse that float32 sums lose it."""
CORES = 2
"""Cores of the CPU that both sides may use."""

_WORK = "NC1-NC4 (N=50,000, d=512, K=10)"
_LOOPS = "per-class loops with pinv"
_WHOLE = "one product for each whole class, with pinv"
ON_CPU = Line(_WORK, _LOOPS, "ms", least=60)
ON_CPU_WHOLE = Line(_WORK, _WHOLE, "ms")
ON_GPU = Line(_WORK, _LOOPS, "ms", least=200)
ON_GPU_WHOLE = Line(_WORK, _WHOLE, "ms")
_ERROR = f"NC1 = {COLLAPSED:g} from float32 features"
ERROR_CPU = Line(_ERROR, "per-class loops in float32", "relative error", most=1e-4)
ERROR_GPU = Line(_ERROR, "per-class loops in float32", "relative error", most=1e-4)


@dataclass(frozen=True)
class Sample:
    """Labelled features and a classifier, float32."""

    features: Tensor
    labels: Tensor
    weight: Tensor
    bias: Tensor

    def of(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return features, labels, weight and bias, the floats in a number format."""
        return self.features.to(dtype), self.labels, self.weight.to(dtype), self.bias.to(dtype)


def near_collapse(size: Features, device: torch.device, nc1: float = COLLAPSED) -> Sample:
    """Return features around a simplex ETF with noise in all directions, of about this NC1.

    With class means of length 1 the K - 1 eigenvalues of S_B are 1/(K-1); white noise of variance
    s^2 makes NC1 = s^2 (K-1)^2 / K.
    """
    # On the device, so that large features are never copied.
    generator = torch.Generator(device).manual_seed(0)
    draw = partial(torch.randn, generator=generator, device=device)
    samples, dim, classes = size.samples, size.dim, size.classes
    frame = torch.linalg.qr(draw(dim, classes)).Q.T
    means = frame - frame.mean(0)
    means = means / means.norm(dim=1, keepdim=True)
    labels = torch.arange(samples, device=device) % classes
    labels = labels[torch.randperm(samples, generator=generator, device=device)]
    noise = (nc1 * classes) ** 0.5 / (classes - 1)
    features = means[labels].add_(draw(samples, dim), alpha=noise)
    return Sample(features, labels, means.clone(), means.new_zeros(classes))


def compute(sample: Sample) -> dict:
    """Return the metrics by the engine."""
    return study_metrics(sample.features, sample.labels, weight=sample.weight, bias=sample.bias)


def _compare(
    size: Features, device: torch.device, repeats: int, lines: tuple[Line, Line, Line]
) -> Iterator[Row]:
    sample = near_collapse(size, device)
    arguments = sample.of(torch.float32)
    ways = {
        "loops": lambda: seconds(partial(by_batches, *arguments), device),
        "whole": lambda: seconds(partial(by_classes, *arguments), device),
        "ours": lambda: seconds(partial(compute, sample), device, size.calls),
    }
    times = interleaved(ways, repeats)
    name = device_name(device)
    loops, whole, error = lines
    note = "baseline: the released way, batches of 128, class by class, sums of outer products"
    yield loops.timed(name, times["loops"], times["ours"], note)
    note = "baseline: the leanest form of the textbook way"
    yield whole.timed(name, times["whole"], times["ours"], note)
    # In float64 the textbook way is exact enough to judge both.
    exact = by_classes(*sample.of(torch.float64))["NC1"]
    values = compute(sample)["NC1"], by_batches(*arguments)["NC1"]
    ours, theirs = (abs(value / exact - 1) for value in values)
    note = f"exact: NC1 = {exact:.4g} of the same features in float64"
    yield error.valued(name, ours, note, baseline=theirs)


def on_cpu(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the rows of two cores of the CPU."""
    with threads(CORES):
        lines = ON_CPU, ON_CPU_WHOLE, ERROR_CPU
        yield from _compare(sizes.features_cpu, device, sizes.repeats, lines)


def on_gpu(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Yield the rows of a GPU."""
    lines = ON_GPU, ON_GPU_WHOLE, ERROR_GPU
    yield from _compare(sizes.features_gpu, device, sizes.repeats, lines)
