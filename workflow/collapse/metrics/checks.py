"""What the metrics accept. Every check of their input is here.

Each failure is an `InputError` of one line: the tensor, what was found, what is allowed.
"""

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics.rows import Paired, Rows, Samples, device_of

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LARGEST = 1e140  # squares of larger numbers leave float64
ROUNDING = 1e-13  # spreads below it, relative to the values, count as zero
INTEGERS = (
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
)


def check_classification(
    features: Rows,
    labels: Tensor,
    classes: int | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    least: int = 2,
) -> Paired:
    """Check labelled features, N x d, and their classifier; return them with int64 labels.

    `labels` are N integers from 0 to K-1. Every class needs `least` samples; below 2 it has no
    spread to speak of. K is `classes`, else the rows of `weight` (K x d), else the largest label
    + 1; a `bias`, K, needs a weight. The features' values are checked while they are read.

    Raises
    ------
    InputError
        The first thing that is wrong.
    """
    check_features(features)
    labels = check_labels(labels, features.shape[0])
    _check_head(weight, bias, features.shape[1])
    # The rows of the weight count too: a class without any sample is then noticed.
    classes = check_label_range(labels, _known_classes(classes, weight))
    # One absurd label would ask for terabytes of counts, and is too many classes already:
    # among the first N + 1 classes one has none of the N samples.
    counted = min(classes, len(labels) + 1)
    counts = torch.bincount(labels.clamp_max(counted), minlength=counted)[:counted].cpu()
    _check_class_sizes(counts, classes, least)
    return Paired(features, labels.to(device_of(features)), counts)


def check_batches(
    counts: Tensor,
    dim: int,
    classes: int | None,
    weight: Tensor | None,
    bias: Tensor | None,
    least: int,
) -> None:
    """Check of batches of features, d columns, what is known once all are read.

    `counts` are K, samples of each label up to the largest; the others as `check_classification`
    has them.

    Raises
    ------
    InputError
        The first thing that is wrong.
    """
    _check_head(weight, bias, dim)
    known = _known_classes(classes, weight)
    if known is not None and len(counts) > known:
        raise InputError(f"labels: one is {len(counts) - 1}, allowed are 0 to {known - 1}")
    if known is not None and len(counts) < known:
        counts = torch.nn.functional.pad(counts, (0, known - len(counts)))
    _check_class_sizes(counts, len(counts), least)


def check_regression(
    features: Rows,
    targets: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> Paired:
    """Check features (N x d) with targets (N x n) and their linear head (n x d, n).

    Returns them with targets of float64. The features' values are checked while they are read.

    Raises
    ------
    InputError
        The first thing that is wrong.
    """
    check_features(features)
    check_targets(targets, features.shape[0])
    check_linear_head(weight, bias, features.shape[1], targets.shape[1])
    targets = targets.to(device_of(features), torch.float64)
    return Paired(features, targets, torch.zeros(0, dtype=torch.int64))


def check_targets(targets: Tensor, samples: int) -> None:
    """Check the targets, N x n, of N samples.

    Raises
    ------
    InputError
        The first thing that is wrong.
    """
    _check_floats("targets", targets, "N x n")
    _check_row_count("targets", targets, samples)
    check_finite("targets", targets)


def check_linear_head(weight: Tensor | None, bias: Tensor | None, dim: int, outputs: int) -> None:
    """Check a linear head, n x d and n, of d columns of features and n targets.

    Raises
    ------
    InputError
        The first thing that is wrong.
    """
    _check_head(weight, bias, dim)
    if weight is not None and weight.shape[0] != outputs:
        raise InputError(
            f"weight: {weight.shape[0]} rows, allowed is one for each of the "
            f"{outputs} columns of targets"
        )


def widened_head(
    weight: Tensor | None, bias: Tensor | None, device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """Return a head in float64 on a device, None where there is none."""
    parts = (part if part is None else part.to(device, torch.float64) for part in (weight, bias))
    return next(parts), next(parts)


def check_values(name: str, values: Tensor, axes: str) -> Tensor:
    """Return a tensor in float64 whose axes are as named, such as ``N x K``.

    Raises
    ------
    InputError
        If its shape is another, it is empty or holds anything but finite numbers.
    """
    _check_floats(name, values, axes)
    if 0 in values.shape:
        raise InputError(f"{name}: shape {_shape(values)} is empty, allowed is {axes}")
    check_finite(name, values)
    return values.double()


def check_classes(name: str, labels: Tensor | int, logits: Tensor) -> Tensor:
    """Return labels of logits, N x K, as int64 on their device.

    They are N integers from 0 to K-1, or one of all samples.

    Raises
    ------
    InputError
        The first thing that is wrong.
    """
    if isinstance(labels, int):
        labels = torch.full((logits.shape[0],), labels)
    labels = check_labels(labels, logits.shape[0], name, "logits").to(logits.device)
    check_label_range(labels, logits.shape[1], name)
    return labels


def check_mixes(mix: Tensor, count: int) -> None:
    """Check the L = `count` mixes of a curve: from 0 to 1, both among them.

    Raises
    ------
    InputError
        The first thing that is wrong.
    """
    _check_floats("mix", mix, "L")
    if len(mix) != count:
        raise InputError(f"mix: {len(mix)} values, allowed is one for each of the {count} mixes")
    lowest, highest = torch.stack(torch.aminmax(mix)).tolist()
    # NaN fails the comparison.
    if not (lowest == 0 and highest == 1):
        raise InputError(
            f"mix: {lowest:g} to {highest:g}, allowed are values from 0 to 1, both among them"
        )


def check_finite_features(samples: Samples) -> None:
    """Read samples once, to refuse the first row of features that is not finite.

    Raises
    ------
    InputError
        Names that row.
    """
    start = 0
    for block, _ in samples.blocks():
        check_finite("features", block, start)
        start += len(block)


def check_finite(name: str, values: Tensor, first_row: int = 0) -> None:
    """Refuse NaN, infinity and numbers whose squares leave float64.

    The first axis is the row; `first_row` is that of the whole tensor at which `values` begins.

    Raises
    ------
    InputError
        Names the tensor, the first bad row and how many of its values are bad.
    """
    # NaN fails the comparison. The narrow formats' own largest number keeps the bound inside them.
    good = values.abs() <= min(LARGEST, torch.finfo(values.dtype).max)
    if good.all():
        return
    # A vector has one value a row.
    bad = ~good.reshape(len(values), -1)
    row = int(bad.any(dim=1).nonzero()[0])
    raise InputError(
        f"{name}: {int(bad[row].sum())} of {bad.shape[1]} values in row {first_row + row} are "
        f"NaN, infinite or beyond {LARGEST:g}, allowed are finite values"
    )


def check_spread(targets: Tensor) -> None:
    """Refuse a target (N x n, float64) that does not vary, or only by rounding: nothing to explain.

    Raises
    ------
    InputError
        Names the first such column.
    """
    constant = (targets - targets.mean(0)).abs().amax(0) <= ROUNDING * targets.abs().amax(0)
    if constant.any():
        column = int(constant.nonzero()[0])
        raise InputError(
            f"targets: column {column} has zero variance, it is {float(targets[0, column]):g} in "
            "every row; allowed are targets that vary"
        )


def check_features(features: Rows) -> None:
    """Check the shape and format of features, N x d.

    Raises
    ------
    InputError
        The first thing that is wrong.
    """
    _check_floats("features", features, "N x d")
    if 0 in features.shape:
        raise InputError(
            f"features: shape {_shape(features)} is empty, allowed is at least one row and column"
        )


def _check_floats(name: str, tensor: Rows | Tensor, axes: str) -> None:
    if tensor.dtype not in FLOATS:
        raise InputError(
            f"{name}: dtype {_dtype(tensor)}, allowed are float16, bfloat16, float32 and float64"
        )
    # The names of the axes say how many there are.
    if len(tensor.shape) != len(axes.split(" x ")):
        raise InputError(f"{name}: shape {_shape(tensor)}, allowed is {axes}")


def _check_row_count(name: str, tensor: Tensor, samples: int, of: str = "features") -> None:
    if tensor.shape[0] != samples:
        raise InputError(
            f"{name}: {tensor.shape[0]} rows, allowed is one for each of the {samples} rows of {of}"
        )
    if 0 in tensor.shape:
        raise InputError(f"{name}: shape {_shape(tensor)} is empty, allowed is at least one column")


def check_labels(
    labels: Tensor, samples: int, name: str = "labels", of: str = "features"
) -> Tensor:
    """Return integer labels of N samples, N, as int64.

    Raises
    ------
    InputError
        Their format or shape is another.
    """
    if labels.dtype not in INTEGERS:
        raise InputError(f"{name}: dtype {_dtype(labels)}, allowed are integers")
    if labels.ndim != 1:
        raise InputError(f"{name}: shape {_shape(labels)}, allowed is N")
    _check_row_count(name, labels, samples, of)
    return labels.to(torch.int64)


def check_label_range(labels: Tensor, classes: int | None, name: str = "labels") -> int:
    """Return K, by default the largest label + 1, of labels (N) from 0 to K-1.

    Raises
    ------
    InputError
        A label is outside.
    """
    # One transfer from a GPU for both.
    lowest, highest = torch.stack(torch.aminmax(labels)).tolist()
    if lowest >= 0 and (classes is None or highest < classes):
        return highest + 1 if classes is None else classes
    bad = labels < 0
    if classes is not None:
        bad |= labels >= classes
    row = int(bad.nonzero()[0])
    top = "K-1" if classes is None else classes - 1
    raise InputError(f"{name}: row {row} is {int(labels[row])}, allowed are 0 to {top}")


def _known_classes(classes: int | None, weight: Tensor | None) -> int | None:
    """Return K as it was asked for, or as the rows of the weight say; None if neither does."""
    rows = None if weight is None else weight.shape[0]
    if classes is not None and rows not in (None, classes):
        raise InputError(f"weight: {rows} rows, allowed is one for each of the {classes} classes")
    return classes if classes is not None else rows


def _check_class_sizes(counts: Tensor, classes: int, least: int) -> None:
    if (counts >= least).all():
        return
    label = int((counts < least).nonzero()[0])
    samples = "1 sample" if counts[label] else "no sample"
    raise InputError(
        f"labels: class {label} has {samples}, allowed are at least {least} samples of every "
        f"class 0 to {classes - 1}"
    )


def _check_head(weight: Tensor | None, bias: Tensor | None, dim: int) -> None:
    if weight is None:
        if bias is not None:
            raise InputError("bias: found without weight, allowed is a bias beside its weight")
        return
    _check_floats("weight", weight, "K x d")
    if weight.shape[1] != dim:
        raise InputError(
            f"weight: {weight.shape[1]} columns, allowed is one for each of the "
            f"{dim} columns of features"
        )
    if weight.shape[0] == 0:
        raise InputError("weight: no rows, allowed is at least one")
    check_finite("weight", weight)
    if bias is None:
        return
    _check_floats("bias", bias, "K")
    if bias.shape[0] != weight.shape[0]:
        raise InputError(
            f"bias: {bias.shape[0]} values, allowed is one for each of the "
            f"{weight.shape[0]} rows of weight"
        )
    check_finite("bias", bias)


def _shape(tensor: Rows | Tensor) -> str:
    return " x ".join(str(size) for size in tensor.shape) or "scalar"


def _dtype(tensor: Rows | Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
