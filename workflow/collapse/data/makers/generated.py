"""Data sets that a function of their own module makes, or takes from another package."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from collapse.data.catalogue import find
from collapse.data.kinds.generated import Generated
from collapse.data.regressions import check_targets, held_out, split
from collapse.data.spec import required
from collapse.data.tensors import Tensors
from collapse.errors import InputError


def make(spec: Mapping[str, Any], _: str | None) -> Tensors:
    """Return the data set that the data job is told to make; see `generate`."""
    (name,) = required(spec, name=str)
    return generate(name)


def generate(name: str) -> Tensors:
    """Return a data set as its own module's function makes it.

    Raises
    ------
    InputError
        If what the function returns is not as many inputs as targets, all finite, of the shapes
        that the module names; if a label is none, or a target does not vary.
    """
    data_set = find(name, Generated)
    inputs, targets = map(np.asarray, data_set.load())
    finite = np.isfinite(inputs).all() and np.isfinite(targets).all()
    if len(inputs) != len(targets) or not finite:
        counts = f"{len(inputs)} inputs and {len(targets)} targets"
        raise InputError(f"{name}: {counts} found, allowed are as many, all finite")
    tensors = (_regression if data_set.regression else _labelled)(name, data_set, inputs, targets)
    about = {"name": name, "source": data_set.origin}
    return Tensors(tensors.arrays, {**about, **tensors.attributes})


def _regression(name: str, data_set: Generated, inputs: np.ndarray, targets: np.ndarray) -> Tensors:
    for what, values, names in (
        ("inputs", inputs, data_set.inputs),
        ("targets", targets, data_set.targets),
    ):
        if values.shape[1:] != (len(names),):
            raise InputError(f"{name}: {what} of shape {values.shape}, named are {len(names)}")
    test = held_out(len(inputs), data_set.test_share)
    arrays = split(inputs.astype(float), targets.astype(float), test)
    check_targets(name, arrays["train_targets"], data_set.targets)
    return Tensors(arrays, {"inputs": list(data_set.inputs), "targets": list(data_set.targets)})


def _labelled(name: str, data_set: Generated, inputs: np.ndarray, labels: np.ndarray) -> Tensors:
    """Labelled samples; a channel that is constant over the training samples has std 1."""
    valid = np.isin(labels, np.arange(len(data_set.classes)))
    # Two axes of labels are most likely one-hot ones, whose entries pass for labels.
    if labels.ndim != 1 or not valid.all():
        raise InputError(f"{name}: allowed are N labels from 0 to {len(data_set.classes) - 1}")
    samples = inputs.reshape(len(inputs), *(data_set.image_shape or (-1, 1, 1)))
    test = held_out(len(inputs), data_set.test_share)
    train = samples[~test].astype(float)
    std = train.std((0, 2, 3))
    arrays = {
        f"{part}_{kind}": values[rows]
        for part, rows in (("train", ~test), ("test", test))
        for kind, values in (("inputs", samples), ("labels", labels.astype(np.int64)))
    }
    attributes = {
        "classes": list(data_set.classes),
        "maximum": 1,
        "mean": train.mean((0, 2, 3)).tolist(),
        "std": np.where(std > 0, std, 1.0).tolist(),
    }
    return Tensors(arrays, attributes)
