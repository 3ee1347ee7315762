"""Read a data set back, and choose samples from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from collapse.artifacts import read_tensors
from collapse.errors import InputError

PARTS = ("train", "test")


@dataclass(frozen=True)
class Dataset:
    """A data set as written by ``collapse data``.

    Attributes
    ----------
    inputs, test_inputs
        N x C x H x W, uint8; N x F x 1 x 1, int16 or float64, for a table of F inputs, which are
        the channels of one pixel.
    targets, test_targets
        Labels: N, int64, from 0 to K - 1. Of a regression: N x n, float64.
    mean, std
        Per channel, of all training samples, in units of `maximum`; 0 and 1 of a regression, whose
        inputs stay as they are unless `prepare` is asked to standardise them.
    maximum
        The pixel value that stands for 1.
    outputs
        Names of a network's outputs: the K classes in label order, or the n targets.
    test_surprisal
        -log p of each test label given all that can be known before it, in nats, where the law that
        made the data is known; else None.
    """

    inputs: np.ndarray
    targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray
    mean: tuple[float, ...]
    std: tuple[float, ...]
    maximum: int
    outputs: tuple[str, ...]
    test_surprisal: np.ndarray | None = None

    @property
    def regression(self) -> bool:
        """Whether the targets are real numbers instead of labels."""
        return self.targets.ndim == 2


def load(path: str | Path) -> Dataset:
    """Read ``results/data/<name>.safetensors``.

    Raises
    ------
    InputError
        If the file is missing or damaged, or is not a data set.
    """
    tensors, attributes = read_tensors(path)
    try:
        return (_regression if "train_targets" in tensors else _classified)(tensors, attributes)
    except KeyError as error:
        raise InputError(f"{path}: not a data set, it holds no {error.args[0]}") from None


def _classified(tensors: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> Dataset:
    return Dataset(
        inputs=tensors["train_inputs"],
        targets=tensors["train_labels"],
        test_inputs=tensors["test_inputs"],
        test_targets=tensors["test_labels"],
        mean=tuple(attributes["mean"]),
        std=tuple(attributes["std"]),
        maximum=attributes["maximum"],
        outputs=tuple(attributes["classes"]),
        test_surprisal=tensors.get("test_surprisal"),
    )


def _regression(tensors: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> Dataset:
    inputs, test_inputs = (tensors[f"{part}_inputs"][:, :, None, None] for part in PARTS)
    columns = inputs.shape[1]
    return Dataset(
        inputs=inputs,
        targets=tensors["train_targets"],
        test_inputs=test_inputs,
        test_targets=tensors["test_targets"],
        mean=(0.0,) * columns,
        std=(1.0,) * columns,
        maximum=1,
        outputs=tuple(attributes["targets"]),
    )


def prepare(dataset: Dataset, choice: Mapping[str, Any]) -> Dataset:
    """Return the samples that an experiment trains on, and all test samples, in its units.

    `choice` is the experiment's section ``data``. Of labelled samples `subset` chooses by it, and
    ``size`` is the side of the square to which images are padded with black. Of a
    regression ``samples`` takes so many training samples, evenly spaced; ``standardise`` names
    ``inputs`` or ``targets`` that get mean 0 and variance 1 (ddof 0) over the samples chosen. A
    constant input becomes 0.

    Raises
    ------
    InputError
        If more samples are wanted than there are, or a chosen target does not vary.
    """
    if not dataset.regression:
        keys = ("samples_per_class", "class_sizes", "imbalance_ratio")
        limits = {key: choice.get(key) for key in keys}
        indices = subset(dataset.targets, classes=dataset.outputs, **limits)
        return replace(
            dataset,
            inputs=_padded(dataset.inputs[indices], choice.get("size")),
            targets=dataset.targets[indices],
            test_inputs=_padded(dataset.test_inputs, choice.get("size")),
        )
    indices = _spaced(len(dataset.targets), choice.get("samples"))
    dataset = replace(dataset, inputs=dataset.inputs[indices], targets=dataset.targets[indices])
    # A target may vary over the whole set and not over few of its samples.
    for name, spread in zip(dataset.outputs, np.ptp(dataset.targets, 0), strict=True):
        if not spread > 0:
            raise InputError(f"data: target {name!r} does not vary over {len(indices)} samples")
    standardised = choice.get("standardise") or ()
    for kind in ("inputs", "targets"):
        if kind in standardised:
            values, test_values = getattr(dataset, kind), getattr(dataset, f"test_{kind}")
            # The mean of equal numbers may differ from them by rounding.
            varies = np.ptp(values, 0) > 0
            mean = np.where(varies, values.mean(0), values[0])
            deviation = np.where(varies, values.std(0), 1.0)
            scaled = {kind: (values - mean) / deviation}
            scaled[f"test_{kind}"] = (test_values - mean) / deviation
            dataset = replace(dataset, **scaled)
    return dataset


def _padded(images: np.ndarray, size: int | None) -> np.ndarray:
    """Return images, N x C x H x W, on black squares, one pixel off the middle at most."""
    if size is None:
        return images
    missing = [size - length for length in images.shape[2:]]
    edges = [(length // 2, length - length // 2) for length in missing]
    return np.pad(images, [(0, 0), (0, 0), *edges])


def _spaced(available: int, count: int | None) -> np.ndarray:
    count = count or available
    if count > available:
        raise InputError(f"data.samples: {count} found, allowed are up to {available}")
    # Whole numbers: evenly spaced, distinct, and all of them where count is available.
    return np.arange(count) * available // count


def subset(
    labels: np.ndarray,
    samples_per_class: int | None = None,
    class_sizes: Sequence[int] | None = None,
    imbalance_ratio: float | None = None,
    classes: Sequence[str] | None = None,
) -> np.ndarray:
    """Choose the first samples of each class, in data-set order.

    The rule of the imbalanced experiments in the released code of Dang et al. 2023
    (arXiv 2301.00437).

    Parameters
    ----------
    labels
        N integers from 0 to K - 1.
    samples_per_class
        Samples of every class.
    class_sizes
        Samples of each class instead, in label order. With neither, all samples are chosen.
    imbalance_ratio
        Makes the sizes a long tail (Cao et al. 2019, arXiv 1906.07413): they fall by a constant
        factor from class to class, from `samples_per_class`, or else what the smallest class
        holds, to a fraction 1/imbalance_ratio of it, rounded down.
    classes
        Class names, for the error; without them K is the largest label plus one.

    Returns
    -------
    numpy.ndarray
        Increasing indices into `labels`.

    Raises
    ------
    InputError
        If `class_sizes` is given beside another size or has not K entries, a size is not
        positive, or a class holds fewer samples than wanted.
    """
    if class_sizes is not None and (samples_per_class, imbalance_ratio) != (None, None):
        other = "imbalance_ratio" if samples_per_class is None else "samples_per_class"
        raise InputError(f"data: {other} and class_sizes found, only one is allowed")
    if (samples_per_class, class_sizes, imbalance_ratio) == (None, None, None):
        return np.arange(len(labels))
    names = classes or [str(label) for label in range(int(labels.max()) + 1)]
    key, sizes = "class_sizes", class_sizes
    if class_sizes is None:
        key = "imbalance_ratio" if imbalance_ratio else "samples_per_class"
        largest = samples_per_class or int(np.bincount(labels, minlength=len(names)).min())
        sizes = long_tail(largest, imbalance_ratio or 1.0, len(names))
    if len(sizes) != len(names):
        raise InputError(f"data.class_sizes: {len(sizes)} sizes found, {len(names)} are needed")
    parts = []
    for label, (name, size) in enumerate(zip(names, sizes, strict=True)):
        members = np.flatnonzero(labels == label)
        if not 1 <= size <= len(members):
            raise InputError(
                f"data.{key}: {size} samples of class {name!r} wanted, allowed are 1 to "
                f"{len(members)}, which it holds"
            )
        parts.append(members[:size])
    # In the order of the data set, as if the other samples were not there.
    return np.sort(np.concatenate(parts))


def long_tail(largest: int, ratio: float, classes: int) -> list[int]:
    """Return the sizes ``largest * ratio^(-k/(K-1))`` of classes k = 0 to K - 1, rounded down.

    The imbalance ratio, at least 1, is the first size over the last; K is at least 2.
    """
    powers = np.arange(classes) / (classes - 1)
    # Whole numbers must not fall below themselves by rounding.
    return np.floor(largest * ratio**-powers * (1 + 1e-12)).astype(int).tolist()
