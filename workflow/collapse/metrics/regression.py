"""Neural regression collapse: NRC1 to NRC3 and the fit, for features with real targets.

Everything is float64, in two reads of the features; the d x d covariance is formed.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics.checks import (
    LARGEST,
    ROUNDING,
    check_finite_features,
    check_linear_head,
    check_regression,
    check_spread,
    widened_head,
)
from collapse.metrics.collapse import effective_rank_of
from collapse.metrics.frames import defined, gram, unit_norm
from collapse.metrics.rows import Batched, Rows, Samples, full_precision, put_back, widened

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
    features: Rows | Batched,
    targets: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> RegressionStatistics:
    """Reduce features with real targets to what the metrics need, on the features' device.

    Parameters
    ----------
    features : Tensor, Rows or Batches
        N x d of float16, bfloat16, float32 or float64; anything that yields slices of rows, or
        batches that bring their targets.
    targets : Tensor, optional
        N x n floats; of batches none.
    weight, bias : Tensor, optional
        n x d and n, the linear head's.

    Raises
    ------
    InputError
        The input is not as described, or holds NaN or infinity.
    """
    if targets is None:
        samples = features.reading()
    else:
        samples = check_regression(features, targets, weight, bias)
    moments = _first_read(samples, weight, bias)
    mean, device = moments.mean, moments.mean.device
    weight, _ = widened_head(weight, None, device)
    with full_precision(device):
        spectrum, components = _principal_components(moments)
        bases = {"NRC1": components[:, : moments.targets.shape[1]]}
        if weight is not None:
            bases["NRC2"] = _row_space(weight)
        # The same bases for both: those of NRC1 are of the centred features in either case.
        origins = {"": torch.zeros_like(mean), "_centred": mean}
        values = _residuals(samples, moments, list(origins.values()), list(bases.values()))
        residuals = {
            name + suffix: value
            for suffix, of_origin in zip(origins, values, strict=True)
            for name, value in zip(bases, of_origin, strict=True)
        }
    return RegressionStatistics(
        spectrum=spectrum,
        residuals=residuals,
        target_covariance=_target_covariance(moments.targets),
        squared_error=None if weight is None else moments.squared_error / moments.count,
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


def effective_rank(statistics: RegressionStatistics) -> float | None:
    """Effective rank of the features less their mean, as `collapse.effective_rank` of classes.

    ``exp(-sum_i p_i log p_i)``, p_i the singular values over their sum (Roy & Vetterli 2007). None
    when the features do not vary.
    """
    return effective_rank_of(statistics.spectrum)


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


@dataclass
class _Moments:
    """What one read adds up of features about one of them, float64.

    Attributes
    ----------
    origin : Tensor
        d, the first row.
    total, scatter : Tensor
        d, the sum of h - origin; d x d, that of its outer products, once there are more than d.
    few : list of Tensor
        Blocks of h - origin, as long as they are smaller than a d x d matrix.
    squares, squared_error : Tensor
        Scalars, sums of norm(h)^2 and of norm(W h + b - y)^2.
    answers : list of Tensor
        Blocks of targets.
    count : int
        N.
    """

    origin: Tensor
    total: Tensor
    squares: Tensor
    squared_error: Tensor
    scatter: Tensor | None = None
    few: list[Tensor] = field(default_factory=list)
    answers: list[Tensor] = field(default_factory=list)
    count: int = 0

    @property
    def mean(self) -> Tensor:
        """Mean feature, d."""
        return self.origin + self.total / self.count

    @property
    def length(self) -> Tensor:
        """Root mean square length of the features."""
        return (self.squares / self.count).sqrt()

    @property
    def targets(self) -> Tensor:
        """The targets, N x n."""
        return torch.cat(self.answers)

    def add(self, block: Tensor, targets: Tensor) -> None:
        """Add features, b x d, which are overwritten, and their targets, b x n."""
        self.count += len(block)
        self.answers.append(targets.to(torch.float64))
        self.squares += block.square().sum()
        block -= self.origin
        self.total += block.sum(dim=0)
        if self.scatter is None and self.count < len(self.origin):
            self.few.append(block.clone())
            return
        if self.scatter is None:
            self.scatter = self.total.new_zeros(len(self.total), len(self.total))
        for part in (*self.few, block):
            self.scatter.addmm_(part.T, part)
        self.few.clear()


def _first_read(samples: Samples, weight: Tensor | None, bias: Tensor | None) -> _Moments:
    blocks = samples.blocks()
    first, targets = next(blocks)
    if targets.ndim != 2:
        raise InputError("batches: found with labels, allowed are targets")
    check_linear_head(weight, bias, first.shape[1], targets.shape[1])
    origin = first[0].to(torch.float64, copy=True)
    weight, bias = widened_head(weight, bias, origin.device)
    moments = _Moments(origin, torch.zeros_like(origin), origin.new_zeros(()), origin.new_zeros(()))
    blocks = put_back((first, targets), blocks)
    # They need not live as long as the others are read.
    del first, targets
    for block, answers in widened(blocks):
        if weight is not None:
            # Against y - b rather than of W h + b.
            shifted = answers if bias is None else answers - bias
            moments.squared_error += (block @ weight.T - shifted).square().sum()
        moments.add(block, answers)
    # As for the class means: the row is searched for only where a sum is bad; NaN fails `<`.
    if not moments.squares < LARGEST:
        check_finite_features(samples)
    return moments


def _principal_components(moments: _Moments) -> tuple[Tensor, Tensor]:
    """Variances, descending, and directions (d x r, NaN if the features do not vary)."""
    mean = moments.total / moments.count
    if moments.scatter is None:  # then the features are smaller than a d x d matrix
        _, singular, directions = torch.linalg.svd(
            torch.cat(moments.few) - mean, full_matrices=False
        )
        spectrum, directions = singular.square() / moments.count, directions.T
    else:
        covariance = moments.scatter / moments.count - torch.outer(mean, mean)
        spectrum, directions = torch.linalg.eigh(covariance)
        # `eigh` sorts ascending, and rounds zeros below zero.
        spectrum, directions = spectrum.flip(0).clamp_min(0), directions.flip(1)
    # What varies by rounding alone has no directions.
    if spectrum.sum().sqrt() <= ROUNDING * moments.length:
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
    samples: Samples, moments: _Moments, origins: list[Tensor], bases: list[Tensor]
) -> Tensor:
    """Mean squared residual of unit-norm h - origin outside each basis; NaN if all are zero.

    A row for each origin (d), a column for each basis (d x r).
    """
    sums = moments.total.new_zeros(len(origins), len(bases))
    any_present = sums.new_zeros(len(origins), 1, dtype=torch.bool)
    for block, _ in widened(samples.blocks()):
        for row, origin in enumerate(origins):
            unit = block - origin
            lengths = torch.linalg.vector_norm(unit, dim=1, keepdim=True)
            present = lengths > ROUNDING * moments.length
            any_present[row] |= present.any()
            # Over infinity a zero vector stays zero, and counts as residual 0.
            unit /= torch.where(present, lengths, torch.inf)
            for column, basis in enumerate(bases):
                # u - (u B) B^T, with no d x d projection.
                residual = torch.addmm(unit, unit @ basis, basis.T, alpha=-1)
                sums[row, column] += residual.square().sum()
    return torch.where(any_present, sums / moments.count, torch.nan)


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
