"""Collapse metrics: features in, numbers out.

`measure` gives every metric that applies, of tensors or of `Batches`; each metric is also a
function of `ClassStatistics` or `RegressionStatistics`. `Recorder` measures a network while it
trains, and `collapse.metrics.torchmetrics.NeuralCollapse` is a `torchmetrics.Metric`.
"""

from collapse.metrics.batches import Batches
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
    effective_rank,
    equiangularity,
    equinorm,
    nc1,
    nc1_ratio,
    nc2_etf,
    nc2_gof_own,
    nc2_of,
    nc2_w_gof_own,
    nc3,
    nc3_etf,
    nc3_gof_own,
    nc3_product,
    nc4,
    nc4_by_class,
    vci,
)
from collapse.metrics.frames import (
    etf_gram,
    general_orthogonal_gram,
    gram,
    gram_distance,
    orthogonal_gram,
)
from collapse.metrics.kernels import gnc2
from collapse.metrics.measure import measure, study_metrics
from collapse.metrics.mixup import (
    amplification,
    classifier_norm,
    convex_r2,
    etf_distance,
    logit_coordinates,
    triangle_plane,
)
from collapse.metrics.recorder import Recorder
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
    "Batches",
    "ClassStatistics",
    "Recorder",
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
    "effective_rank",
    "equiangularity",
    "equinorm",
    "etf_distance",
    "etf_gram",
    "expected_calibration_error",
    "explained_variance_ratio",
    "full_precision",
    "gamma",
    "general_orthogonal_gram",
    "gnc2",
    "gram",
    "gram_distance",
    "logit_coordinates",
    "measure",
    "mse",
    "nc1",
    "nc1_ratio",
    "nc2_etf",
    "nc2_gof_own",
    "nc2_of",
    "nc2_w_gof_own",
    "nc3",
    "nc3_etf",
    "nc3_gof_own",
    "nc3_product",
    "nc4",
    "nc4_by_class",
    "nrc1",
    "nrc1_centred",
    "nrc2",
    "nrc2_centred",
    "nrc3",
    "orthogonal_gram",
    "r2",
    "regression_statistics",
    "reliability",
    "study_metrics",
    "triangle_plane",
    "vci",
]
