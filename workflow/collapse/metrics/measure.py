"""Every metric that applies to a set of features, as one dictionary."""

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics import collapse, regression
from collapse.metrics.rows import Rows

# The order here is that of the keys that `measure` returns.
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
    "NC4": collapse.nc4,
}
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


def measure(
    features: Rows,
    labels: Tensor | None = None,
    targets: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    least: int = 2,
) -> dict[str, float | list[float] | None]:
    """Compute every metric that applies to the features.

    Parameters
    ----------
    features : Tensor, array or Rows
        N x d of float16, bfloat16, float32 or float64; anything that yields slices of rows.
    labels : Tensor or array, optional
        N integers, 0 to K-1, K the rows of `weight` or else the largest label + 1. Either
        labels or targets are needed.
    targets : Tensor or array, optional
        N x n floats, each of which varies.
    weight, bias : Tensor or array, optional
        K x d and K, or n x d and n with targets.
    least : int
        Samples that every class needs. With 1, a class of one sample has no spread.

    Returns
    -------
    dict
        With labels: NC1, NC1_ratio, CDNV, NC2_ETF, NC2_OF, equinorm, equiangularity; with a
        weight also NC3, NC3_product, NC4. With targets: NRC1, NRC1_centred,
        explained_variance_ratio; with a weight also NRC2, NRC2_centred, r2, mse, and for two
        targets or more NRC3, gamma. A value is None where the metric is undefined, and never
        NaN or infinite; a key that does not apply is absent.

    Raises
    ------
    InputError
        Neither or both of labels and targets, or a tensor that is not as described.
    """
    features, labels, targets, weight, bias = (
        _as_tensor(tensor) for tensor in (features, labels, targets, weight, bias)
    )
    # Labels and targets mean different metrics: which are meant is not guessed.
    if (labels is None) == (targets is None):
        inputs = "neither labels nor targets" if labels is None else "both labels and targets"
        raise InputError(f"features: found with {inputs}, allowed is one of the two")
    if targets is not None:
        return regression_metrics(regression.regression_statistics(features, targets, weight, bias))
    statistics = collapse.class_statistics(features, labels, weight=weight, bias=bias, least=least)
    metrics = OF_CLASSES | (OF_CLASSIFIER if weight is not None else {})
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


def _as_tensor(tensor: object) -> object:
    """Wrap numpy arrays; leave tensors, files and None as they are."""
    return torch.as_tensor(tensor) if hasattr(tensor, "__array_interface__") else tensor
