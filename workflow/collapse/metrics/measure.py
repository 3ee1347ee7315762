"""Every metric that applies to a set of features, as one dictionary."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics import collapse, kernels, regression
from collapse.metrics.batches import Batches
from collapse.metrics.collapse import ClassStatistics
from collapse.metrics.rows import Rows

Value = float | list[float] | None
"""A number, one for each class or component, or None where it is undefined."""

OF_CLASSES = {
    "NC1": collapse.nc1,
    "NC1_ratio": collapse.nc1_ratio,
    "CDNV": collapse.cdnv,
    "NC2_ETF": collapse.nc2_etf,
    "NC2_OF": collapse.nc2_of,
    "equinorm": collapse.equinorm,
    "equiangularity": collapse.equiangularity,
}
OF_CLASSIFIER = {
    "NC3": collapse.nc3,
    "NC3_product": collapse.nc3_product,
}
OF_CHOICES = {"NC4": collapse.nc4}
FURTHER_OF_CLASSES = {
    "CDNV_2": partial(collapse.cdnv, exponent=2),
    "NC2_GOF_own": collapse.nc2_gof_own,
}
FURTHER_OF_CLASSIFIER = {
    "NC3_ETF": collapse.nc3_etf,
    "NC2_W_GOF_own": collapse.nc2_w_gof_own,
    "NC3_GOF_own": collapse.nc3_gof_own,
}
FURTHER_OF_CHOICES = {"NC4_by_class": collapse.nc4_by_class}
OF_COVARIANCE = {"VCI": collapse.vci, "effective_rank": collapse.effective_rank}
# Metrics of the mu_k - mu_G, which have a twin about the unweighted mean of the mu_k.
CENTRED = ("NC1", "NC1_ratio", "NC2_ETF", "equinorm", "equiangularity", "NC3", "NC3_ETF")
OF_REGRESSION = {
    "NRC1": regression.nrc1,
    "NRC1_centred": regression.nrc1_centred,
    "explained_variance_ratio": regression.explained_variance_ratio,
}
OF_LINEAR_HEAD = {
    "NRC2": regression.nrc2,
    "NRC2_centred": regression.nrc2_centred,
    "r2": regression.r2,
    "mse": regression.mse,
}
OF_SEVERAL_TARGETS = {"NRC3": regression.nrc3, "gamma": regression.gamma}


def functions() -> dict[str, Callable]:
    """Return the functions behind the keys that `measure` returns, without twins and GNC2."""
    of_classes = OF_CLASSES | FURTHER_OF_CLASSES | OF_COVARIANCE
    of_classifier = OF_CLASSIFIER | FURTHER_OF_CLASSIFIER | OF_CHOICES | FURTHER_OF_CHOICES
    return of_classes | of_classifier | OF_REGRESSION | OF_LINEAR_HEAD | OF_SEVERAL_TARGETS


def measure(
    features: Rows | Batches,
    labels: Tensor | None = None,
    targets: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    least: int = 2,
) -> dict[str, Value]:
    """Compute every metric that applies to the features.

    Parameters
    ----------
    features : Tensor, array, Rows or Batches
        N x d of float16, bfloat16, float32 or float64; anything that yields slices of rows; or
        batches, which bring their labels or targets, and may bring a weight and bias.
    labels : Tensor or array, optional
        N integers, 0 to K-1, K the rows of `weight` or else the largest label + 1. Of what is not
        batches either labels or targets are needed.
    targets : Tensor or array, optional
        N x n floats, each of which varies.
    weight, bias : Tensor or array, optional
        K x d and K, or n x d and n with targets.
    least : int
        Samples that every class needs. With 1, a class of one sample has no spread.

    Returns
    -------
    dict
        With labels: NC1, NC1_ratio, CDNV, NC2_ETF, NC2_OF, equinorm, equiangularity, CDNV_2,
        NC2_GOF_own, up to d = 2048 VCI and effective_rank; with a weight NC3, NC3_product, NC3_ETF,
        NC2_W_GOF_own, NC3_GOF_own, NC4, NC4_by_class; and what `gnc2` returns. Those of mu_k - mu_G
        are there a second time, about the unweighted mean of the mu_k, as NAME_unweighted (NC1 up
        to d = 2048). With targets: NRC1, NRC1_centred, explained_variance_ratio, effective_rank;
        with a weight also NRC2, NRC2_centred, r2, mse, and for two targets or more NRC3, gamma. A
        value is None where the metric is undefined, and never NaN or infinite; a key that does not
        apply is absent.

    Raises
    ------
    InputError
        Neither or both of labels and targets, a tensor that is not as described, or features of
        which no metric is defined.
    """
    found = measured(features, labels, targets, weight, bias, least=least)
    # What is of the weight alone says nothing of features.
    if all(value is None for key, value in found.items() if key != "NC2_W_GOF_own"):
        raise InputError(
            "features: no metric is defined of them, all rows are equal; allowed are features "
            "that vary"
        )
    return found


def measured(
    features: Rows | Batches,
    labels: Tensor | None = None,
    targets: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    least: int = 2,
) -> dict[str, Value]:
    """Return what `measure` does, also where no metric is defined: then every value is None.

    Raises
    ------
    InputError
        As `measure`, but for that.
    """
    features, labels, targets, weight, bias = _given(features, labels, targets, weight, bias)
    if targets is not None or isinstance(features, Batches) and features.of_targets:
        statistics = regression.regression_statistics(features, targets, weight, bias)
        further = {"effective_rank": regression.effective_rank(statistics)}
        return regression_metrics(statistics) | further
    statistics = collapse.class_statistics(
        features, labels, weight=weight, bias=bias, least=least, covariance=True
    )
    return every_class_metric(statistics)


def study_metrics(
    features: Rows,
    labels: Tensor | None = None,
    targets: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    least: int = 2,
) -> dict[str, Value]:
    """Compute the metrics that the studies take of every state: of `measure`'s the cheap ones.

    With labels: NC1, NC1_ratio, CDNV, NC2_ETF, NC2_OF, equinorm, equiangularity, with a weight also
    NC3, NC3_product, NC4. With targets what `measure` has but effective_rank. The arguments are
    those of `measure`.

    Raises
    ------
    InputError
        Neither or both of labels and targets, or a tensor that is not as described.
    """
    features, labels, targets, weight, bias = _given(features, labels, targets, weight, bias)
    if targets is not None:
        return regression_metrics(regression.regression_statistics(features, targets, weight, bias))
    statistics = collapse.class_statistics(features, labels, weight=weight, bias=bias, least=least)
    metrics = OF_CLASSES | (OF_CLASSIFIER | OF_CHOICES if weight is not None else {})
    return {key: metric(statistics) for key, metric in metrics.items()}


def every_class_metric(statistics: ClassStatistics) -> dict[str, Value]:
    """Compute every metric that applies to labelled features, as `measure` names them.

    Raises
    ------
    InputError
        There is one class only.
    """
    if statistics.classes < 2:
        raise InputError("labels: class 0 is the only one, allowed are two classes or more")
    metrics = OF_CLASSES | FURTHER_OF_CLASSES
    if statistics.within is not None:
        metrics |= OF_COVARIANCE
    if statistics.weight is not None:
        metrics |= OF_CLASSIFIER | FURTHER_OF_CLASSIFIER
    if statistics.mismatches is not None:
        metrics |= OF_CHOICES | FURTHER_OF_CHOICES
    unweighted = statistics.unweighted()
    twins = {key: metrics[key] for key in CENTRED if key in metrics}
    if statistics.within is None:
        # It would need the features once more.
        del twins["NC1"]
    found = _values(metrics, statistics) | kernels.gnc2(statistics)
    twins = _values(twins, unweighted) | kernels.gnc2(unweighted)
    return found | {f"{key}_unweighted": value for key, value in twins.items()}


def _values(
    metrics: dict[str, Callable[[ClassStatistics], Value]], statistics: ClassStatistics
) -> dict[str, Value]:
    return {key: metric(statistics) for key, metric in metrics.items()}


def regression_metrics(
    statistics: regression.RegressionStatistics,
) -> dict[str, float | list[float] | None]:
    """Compute every metric that applies to features with real targets, as `measure` names them."""
    metrics = OF_REGRESSION
    if statistics.weight is not None:
        metrics = metrics | OF_LINEAR_HEAD
        # With one target the geometry of W W^T is a number: NRC3 would be 0 by definition.
        if len(statistics.target_covariance) > 1:
            metrics = metrics | OF_SEVERAL_TARGETS
    return {key: metric(statistics) for key, metric in metrics.items()}


def _given(
    features: object, labels: object, targets: object, weight: object, bias: object
) -> tuple:
    """Return what was given with arrays as tensors, and the head that batches bring.

    Raises
    ------
    InputError
        Neither or both of labels and targets are there.
    """
    features, labels, targets, weight, bias = (
        _as_tensor(tensor) for tensor in (features, labels, targets, weight, bias)
    )
    given = {"features": features, "labels": labels, "targets": targets}
    for name, tensor in (given | {"weight": weight, "bias": bias}).items():
        if not (tensor is None or isinstance(tensor, Batches) or hasattr(tensor, "dtype")):
            raise InputError(
                f"{name}: found {type(tensor).__name__}, allowed is a tensor or an array (features "
                "also as Batches)"
            )
    if isinstance(features, Batches):
        if labels is not None or targets is not None:
            raise InputError("labels, targets: found beside batches, which bring their own")
        if weight is None and bias is not None:
            raise InputError("bias: found without weight, allowed is a bias beside its weight")
        return features, None, None, *(features.head if weight is None else (weight, bias))
    # Labels and targets mean different metrics: which are meant is not guessed.
    if (labels is None) == (targets is None):
        inputs = "neither labels nor targets" if labels is None else "both labels and targets"
        raise InputError(f"features: found with {inputs}, allowed is one of the two")
    return features, labels, targets, weight, bias


def _as_tensor(tensor: object) -> object:
    """Wrap numpy arrays; leave tensors, files and None as they are."""
    return torch.as_tensor(tensor) if hasattr(tensor, "__array_interface__") else tensor
