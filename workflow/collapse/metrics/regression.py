"""Neural regression collapse: NRC1 to NRC3 and the fit, for features with real targets.

Everything is float64, in three reads of the features; the d x d covariance is formed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from collapse.metrics.checks import (
    LARGEST,
    ROUNDING,
    check_finite,
    check_regression,
    check_spread,
)
from collapse.metrics.frames import defined, gram, unit_norm
from collapse.metrics.rows import Rows, device_of, full_precision, row_blocks, wide_blocks

COMPONENTS = 5  # of the explained variance ratio, as in Andriopoulos et al. 2024, figure 3
TIE = 1e-15  # NRC3 values closer than this are equal: a squared distance of at most 4 rounds so


@dataclass(frozen=True)
class RegressionStatistics:
    """What the metrics need to know of N x d features with N x n targets. All float64.

    Attributes
    ----------
    spectrum : Tensor
        Variances along the principal components of the centred features, descending.
    residuals : dict of str to Tensor
        Scalars: the mean squared residual of the unit-norm features by metric, for NRC1,
        NRC1_centred and, with a weight, NRC2 and NRC2_centred; NaN where undefined.
    target_covariance : Tensor
        n x n, (1/N) (Y - Ybar)^T (Y - Ybar).
    squared_error : Tensor or None
        Scalar, mean over samples of norm(W h + b - y)^2; None without a weight.
    weight : Tensor or None
        n x d.
    """

    spectrum: Tensor
    residuals: dict[str, Tensor]
    target_covariance: Tensor
    squared_error: Tensor | None
    weight: Tensor | None


@torch.no_grad()
def regression_statistics(
    features: Rows,
    targets: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> RegressionStatistics:
    """Reduce features with real targets to what the metrics need, on the features' device.

    Parameters
    ----------
    features : Tensor or Rows
        N x d of float16, bfloat16, float32 or float64; anything that yields slices of rows.
    targets : Tensor
        N x n floats.
    weight, bias : Tensor, optional
        n x d and n, the linear head's.

    Raises
    ------
    InputError
        The input is not as described, or holds NaN or infinity.
    """
    targets, weight, bias = check_regression(features, targets, weight, bias)
    with full_precision(device_of(features)):
        mean, length = _mean(features)
        spectrum, components = _principal_components(features, mean, length)
        bases = {"NRC1": components[:, : targets.shape[1]]}
        if weight is not None:
            bases["NRC2"] = _row_space(weight)
        # The same bases for both: those of NRC1 are of the centred features in either case.
        residuals = {}
        for suffix, origin in (("", None), ("_centred", mean)):
            values = _residuals(features, origin, length, list(bases.values()))
            residuals |= {name + suffix: value for name, value in zip(bases, values, strict=True)}
        return RegressionStatistics(
            spectrum=spectrum,
            residuals=residuals,
            target_covariance=_target_covariance(targets),
            squared_error=None
            if weight is None
            else _squared_error(features, targets, weight, bias),
            weight=weight,
        )


def nrc1(statistics: RegressionStatistics) -> float | None:
    """NRC1, collapse of the features to their top n principal components.

    ``(1/N) sum_i norm(u_i - proj(u_i))^2`` with ``u = h/norm(h)`` uncentred, and the projection on
    the top n principal components of the centred features (Andriopoulos et al. 2024 and their
    code). A zero feature vector counts as residual 0, as in that code. None when the features do
    not vary.
    """
    return defined(statistics.residuals["NRC1"])


def nrc1_centred(statistics: RegressionStatistics) -> float | None:
    """NRC1_centred, NRC1 of the features less their mean.

    As `nrc1` with ``u = (h - hbar)/norm(h - hbar)``: it vanishes for features in an n-dimensional
    affine subspace, also where a final ReLU keeps hbar away from 0 (after Andriopoulos et al.
    2024). None when the features do not vary.
    """
    return defined(statistics.residuals["NRC1_centred"])


def nrc2(statistics: RegressionStatistics) -> float | None:
    """NRC2, collapse of the features to the row space of the weight.

    ``(1/N) sum_i norm(u_i - proj(u_i))^2`` with ``u = h/norm(h)`` and the projection on the row
    space of W (Andriopoulos et al. 2024). 1 for a zero weight. Needs a weight. None when all
    features are zero.
    """
    return defined(statistics.residuals["NRC2"])


def nrc2_centred(statistics: RegressionStatistics) -> float | None:
    """NRC2_centred, NRC2 of the features less their mean.

    As `nrc2` with ``u = (h - hbar)/norm(h - hbar)`` (after Andriopoulos et al. 2024). Needs a
    weight. None when the features do not vary.
    """
    return defined(statistics.residuals["NRC2_centred"])


def nrc3(statistics: RegressionStatistics) -> float | None:
    """NRC3, distance of the weight's Gram matrix to the targets' geometry.

    ``norm(G/norm(G) - A/norm(A))^2`` with ``G = W W^T`` and ``A = Sigma^(1/2) - gamma^(1/2) I``,
    Sigma the target covariance (1/N), at the `gamma` that minimises it (Andriopoulos et al. 2024).
    Needs a weight, and at least two targets: with one it is trivially 0. None when the weight is
    zero.
    """
    return defined(_nrc3_minimum(statistics)[0])


def nrc3_at(weight: Tensor, target_covariance: Tensor, gamma: float) -> float | None:
    """NRC3 at a given gamma: distance of W W^T to its closed form where c = gamma.

    ``norm(G/norm(G) - A/norm(A))^2`` with ``G = W W^T`` and ``A = Q diag((lambda_j^(1/2) -
    gamma^(1/2))_+) Q^T``, Sigma = Q diag(lambda) Q^T (n x n, with 1/N; of a head without bias the
    second moment). Up to lambda_min this is the A of `nrc3`; beyond, where directions have
    collapsed, that of the global minimum. ``gamma`` is at least 0, in the units of Sigma.

    None with a single target, when the weight is zero or gamma is no less than lambda_max.
    """
    if len(target_covariance) == 1:
        return None
    eigenvalues, vectors = torch.linalg.eigh(target_covariance)
    lengths = (eigenvalues.clamp_min(0).sqrt() - gamma**0.5).clamp_min(0)
    frame = unit_norm((vectors * lengths) @ vectors.T)
    weights = unit_norm(gram(unit_norm(weight)))
    return defined(torch.linalg.matrix_norm(weights - frame).square())


def gamma(statistics: RegressionStatistics) -> float | None:
    """Give the gamma at which NRC3 is smallest, in the units of the targets' variance.

    Over ``0 <= gamma <= lambda_min(Sigma)``. The stationary point is ``gamma^(1/2) = (tr G
    norm(S)^2 - <G, S> tr S) / (tr G tr S - n <G, S>)``, ``S = Sigma^(1/2)``; it is compared with
    both ends (closed form of the search in Andriopoulos et al. 2024). When NRC3 does not depend on
    gamma, 0. Needs a weight, and at least two targets. None when the weight is zero.
    """
    return defined(_nrc3_minimum(statistics)[1])


def explained_variance_ratio(statistics: RegressionStatistics) -> list[float] | None:
    """Shares of the features' variance along their first 5 principal components.

    Components of the centred features, descending; zero-padded when there are fewer (Andriopoulos
    et al. 2024, figure 3). 5 numbers; None when the features do not vary.
    """
    if not statistics.spectrum.any():
        return None
    shares = (statistics.spectrum / statistics.spectrum.sum())[:COMPONENTS].tolist()
    return shares + [0.0] * (COMPONENTS - len(shares))


def r2(statistics: RegressionStatistics) -> float | None:
    """R2, the coefficient of determination pooled over outputs.

    ``1 - sum norm(W h + b - y)^2 / sum norm(y - ybar)^2`` (Andriopoulos et al. 2024). Needs a
    weight. None when it overflows.
    """
    return defined(1 - statistics.squared_error / statistics.target_covariance.trace())


def mse(statistics: RegressionStatistics) -> float | None:
    """Mean squared error over samples and outputs, without the factor 1/2.

    ``(1/(N n)) sum norm(W h + b - y)^2`` (Andriopoulos et al. 2024). Needs a weight. None when it
    overflows.
    """
    return defined(statistics.squared_error / len(statistics.target_covariance))


def _mean(features: Rows) -> tuple[Tensor, Tensor]:
    """Return the mean feature (d) and the root mean square length of the features."""
    total = torch.zeros(features.shape[1], dtype=torch.float64, device=device_of(features))
    squares = total.new_zeros(())
    for _, block in wide_blocks(features):
        total += block.sum(dim=0)
        squares += block.square().sum()
    # As for the class means: the row is searched for only where a sum is bad; NaN fails `<`.
    if not squares < LARGEST:
        for window, block in row_blocks(features):
            check_finite("features", block, window.start)
    return total / features.shape[0], (squares / features.shape[0]).sqrt()


def _principal_components(features: Rows, mean: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Variances, descending, and directions (d x r, NaN if the features do not vary)."""
    samples, dim = features.shape
    if samples < dim:  # then the features are smaller than a d x d matrix
        centred = torch.cat([block - mean for _, block in row_blocks(features)])
        _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
        spectrum, directions = singular.square() / samples, directions.T
    else:
        covariance = mean.new_zeros(dim, dim)
        for _, centred in wide_blocks(features, mean):
            covariance.addmm_(centred.T, centred)
        spectrum, directions = torch.linalg.eigh(covariance / samples)
        # `eigh` sorts ascending, and rounds zeros below zero.
        spectrum, directions = spectrum.flip(0).clamp_min(0), directions.flip(1)
    # What varies by rounding alone has no directions.
    if spectrum.sum().sqrt() <= ROUNDING * length:
        return torch.zeros_like(spectrum), torch.full_like(directions, torch.nan)
    return spectrum, directions


def _row_space(weight: Tensor) -> Tensor:
    """Orthonormal basis (d x r) of the rows of the weight (n x d)."""
    _, singular, directions = torch.linalg.svd(weight, full_matrices=False)
    # The usual bound for a numerical rank: largest side times eps.
    nonzero = singular > singular[0] * max(weight.shape) * torch.finfo(weight.dtype).eps
    return directions[nonzero].T


def _target_covariance(targets: Tensor) -> Tensor:
    """Covariance (n x n, 1/N)."""
    check_spread(targets)
    return gram((targets - targets.mean(dim=0)).T) / len(targets)


def _residuals(
    features: Rows, origin: Tensor | None, length: Tensor, bases: list[Tensor]
) -> list[Tensor]:
    """Mean squared residual of unit-norm h - origin outside each basis; NaN if all are zero."""
    sums = length.new_zeros(len(bases))
    any_present = False
    for _, block in wide_blocks(features, origin):
        lengths = torch.linalg.vector_norm(block, dim=1, keepdim=True)
        present = lengths > ROUNDING * length
        any_present |= bool(present.any())
        # Over infinity a zero vector stays zero, and counts as residual 0.
        block /= torch.where(present, lengths, torch.inf)
        for index, basis in enumerate(bases):
            # u - (u B) B^T, with no d x d projection.
            sums[index] += torch.addmm(block, block @ basis, basis.T, alpha=-1).square().sum()
    return list(sums / features.shape[0] if any_present else sums * torch.nan)


def _squared_error(features: Rows, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Mean over samples of norm(W h + b - y)^2."""
    # Against y - b rather than of W h + b: one subtraction for all blocks.
    shifted_targets = targets if bias is None else targets - bias
    total = targets.new_zeros(())
    for window, block in wide_blocks(features):
        total += (block @ weight.T - shifted_targets[window]).square().sum()
    return total / len(targets)


def _nrc3_minimum(statistics: RegressionStatistics) -> tuple[Tensor, Tensor]:
    """Return the smallest NRC3 and the gamma it is found at; not finite where undefined."""
    # Scaled before the product, whose entries could underflow.
    weights = gram(unit_norm(statistics.weight))
    eigenvalues, vectors = torch.linalg.eigh(statistics.target_covariance)
    # Rounding may leave the eigenvalues of a singular covariance below zero.
    roots = eigenvalues.clamp_min(0).sqrt()
    root = (vectors * roots) @ vectors.T
    inner = (weights * root).sum()
    stationary = (weights.trace() * root.square().sum() - inner * root.trace()) / (
        weights.trace() * root.trace() - len(roots) * inner
    )
    # NaN, where NRC3 does not depend on gamma, is inside of nothing.
    inside = (stationary > 0) & (stationary < roots[0])
    # gamma^(1/2) at the lower end, the stationary point and the upper end.
    shifts = torch.stack((0 * inner, torch.where(inside, stationary, 0), roots[0]))
    identity = torch.eye(len(roots), dtype=root.dtype, device=root.device)
    frames = root - shifts[:, None, None] * identity
    distances = torch.linalg.matrix_norm(unit_norm(weights) - unit_norm(frames)).square()
    # A covariance c I leaves only rounding at the far end; then, or with a zero weight, no frame.
    empty = torch.linalg.matrix_norm(frames) <= ROUNDING * torch.linalg.matrix_norm(root)
    distances = torch.where(empty | distances.isnan(), torch.inf, distances)
    # The first of equal ones: the lowest gamma.
    minimum = int((distances <= distances.amin() + TIE).nonzero()[0])
    is_defined = distances[minimum].isfinite()
    return distances[minimum], torch.where(is_defined, shifts[minimum].square(), torch.nan)
