"""Collapse metrics: features in, numbers out.

`measure` gives every metric that applies; each metric is also a function of
`ClassStatistics` or `RegressionStatistics`.
"""

from collapse.metrics.calibration import (
    Reliability,
    confidence,
    confidence_gap,
    expected_calibration_error,
    reliability,
)
from collapse.metrics.collapse import (
    ClassStatistics,
    cdnv,
    class_means,
    class_statistics,
    equiangularity,
    equinorm,
    nc1,
    nc1_ratio,
    nc2_etf,
    nc2_of,
    nc3,
    nc3_product,
    nc4,
)
from collapse.metrics.frames import (
    etf_gram,
    general_orthogonal_gram,
    gram,
    gram_distance,
    orthogonal_gram,
)
from collapse.metrics.measure import measure
from collapse.metrics.mixup import (
    amplification,
    classifier_norm,
    convex_r2,
    etf_distance,
    logit_coordinates,
    triangle_plane,
)
from collapse.metrics.regression import (
    RegressionStatistics,
    explained_variance_ratio,
    gamma,
    mse,
    nrc1,
    nrc1_centred,
    nrc2,
    nrc2_centred,
    nrc3,
    r2,
    regression_statistics,
)
from collapse.metrics.rows import Rows, full_precision

__all__ = [
    "ClassStatistics",
    "RegressionStatistics",
    "Reliability",
    "Rows",
    "amplification",
    "cdnv",
    "class_means",
    "class_statistics",
    "classifier_norm",
    "confidence",
    "confidence_gap",
    "convex_r2",
    "equiangularity",
    "equinorm",
    "etf_distance",
    "etf_gram",
    "expected_calibration_error",
    "explained_variance_ratio",
    "full_precision",
    "gamma",
    "general_orthogonal_gram",
    "gram",
    "gram_distance",
    "logit_coordinates",
    "measure",
    "mse",
    "nc1",
    "nc1_ratio",
    "nc2_etf",
    "nc2_of",
    "nc3",
    "nc3_product",
    "nc4",
    "nrc1",
    "nrc1_centred",
    "nrc2",
    "nrc2_centred",
    "nrc3",
    "orthogonal_gram",
    "r2",
    "regression_statistics",
    "reliability",
    "triangle_plane",
]
