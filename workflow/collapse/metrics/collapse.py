"""Neural collapse of labelled features: NC1 to NC4 and their kin.

All metrics come out of one `ClassStatistics`, made in two reads of the N x d features. For most no
d x d matrix is formed: the between-class covariance has rank K-1, so the within-class deviations
are projected on the class means' own span.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from collapse.errors import InputError
from collapse.metrics.checks import (
    LARGEST,
    check_batches,
    check_classification,
    check_finite_features,
    widened_head,
)
from collapse.metrics.frames import (
    defined,
    etf_gram,
    general_orthogonal_gram,
    gram,
    gram_distance,
    orthogonal_gram,
    unit_norm,
)
from collapse.metrics.rows import (
    Batched,
    Rows,
    Samples,
    full_precision,
    put_back,
    reduced_device,
    widened,
)

WIDEST = 2048  # columns of features whose d x d covariance is worth its memory and time
EIGENVALUE_CUTOFF = 1e-9  # relative to the largest: smaller ones of S_B count as zero
ROUNDING = 1e-13  # class means closer than this, relative to the features' spread, coincide
EPS = torch.finfo(torch.float64).eps
SMALLEST = 1e-140  # lengths below it count as zero: their squares leave float64
FLOAT32_RANGE = (1e-10, 1e10)  # class means whose squared deviations stay inside float32
LANES = 16  # a product with a multiple of it as columns runs up to twice as fast on a CPU


@dataclass(frozen=True)
class ClassStatistics:
    """What the metrics need to know of N x d features of K classes. All float64.

    Attributes
    ----------
    counts : Tensor
        K, samples of each class.
    means, centred : Tensor
        K x d, class means mu_k, and mu_k - mu_G, mu_G the mean over all N samples.
    distances : Tensor
        K x K, norm(mu_k - mu_l).
    variances : Tensor
        K, mean squared distance v_k of a class's samples to mu_k; tr S_W is their mean over
        samples.
    within_between : Tensor
        Scalar, tr(S_W S_B^+), NC1's numerator.
    mismatches : Tensor or None
        K, samples of each class whose nearest class mean is not the classifier's choice; None
        without a classifier, or where the samples were read once only.
    within : Tensor or None
        d x d, S_W; None unless asked for, and where d is larger than `WIDEST`.
    weight, bias : Tensor or None
        K x d and K, the classifier's.
    """

    counts: Tensor
    means: Tensor
    centred: Tensor
    distances: Tensor
    variances: Tensor
    within_between: Tensor
    mismatches: Tensor | None
    within: Tensor | None
    weight: Tensor | None
    bias: Tensor | None

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        return int(self.counts.sum())

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return len(self.counts)

    @property
    def within_trace(self) -> Tensor:
        """Trace of S_W = (1/N) sum over samples (h - mu_y)(h - mu_y)^T."""
        return _shares(self.counts) @ self.variances

    @property
    def between_trace(self) -> Tensor:
        """Trace of S_B = (1/K) sum_k (mu_k - mu_G)(mu_k - mu_G)^T."""
        return self.centred.square().sum() / self.classes

    def unweighted(self) -> "ClassStatistics":
        """Return the same with the unweighted mean of the class means in the place of mu_G.

        (1/K) sum_k mu_k, as the library `neural_collapse` (Wu & Papyan 2024) has it. The same for
        balanced classes. NC1 is undefined of it where `within` is None.
        """
        centred = _cleared(self.centred - self.centred.mean(0), self.centred)
        return replace(self, centred=centred, within_between=_within_between(centred, self.within))


@torch.no_grad()
def class_means(
    features: Rows, labels: Tensor, classes: int | None = None, *, least: int = 2
) -> Tensor:
    """Return the mean features of each class, K x d, float64, on `reduced_device`.

    `features` are N x d floats, `labels` N integers from 0 to K-1; K is `classes`, by default the
    largest label + 1, and every class needs `least` samples.

    Raises
    ------
    InputError
        The input is not as described, or holds NaN or infinity.
    """
    samples = check_classification(features, labels, classes, least=least)
    sums, origin, _ = _first_read(samples)
    _, offsets = _counts_and_offsets(samples, sums)
    return offsets + origin.to(offsets.device)


@torch.no_grad()
def class_statistics(
    features: Rows | Batched,
    labels: Tensor | None = None,
    classes: int | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    least: int = 2,
    covariance: bool = False,
) -> ClassStatistics:
    """Reduce labelled features to what the collapse metrics need, on `reduced_device`.

    Parameters
    ----------
    features : Tensor, Rows or Batches
        N x d of float16, bfloat16, float32 or float64; anything that yields slices of rows, or
        batches that bring their labels. Read on their device, in memory that does not grow with N.
    labels : Tensor, optional
        N integers, 0 to K-1; of batches none.
    classes : int, optional
        K; default the rows of `weight`, else the largest label + 1.
    weight, bias : Tensor, optional
        K x d and K, the classifier's.
    least : int
        Samples that every class needs.
    covariance : bool
        Form S_W as a whole, too, d x d, where d is at most `WIDEST`.

    Raises
    ------
    InputError
        The input is not as described, or holds NaN or infinity.

    Notes
    -----
    The first read sums each class in float64. The second takes h - mu_y before any product,
    in float32 unless the features are float64; squares are summed in float64. NC1 is within
    1e-4 of its exact value for these features down to 1e-11. S_W is float64.
    """
    if labels is None:
        samples = features.reading()
        sums, origin, dtype = _first_read(samples)
        check_batches(samples.counts, sums.shape[1], classes, weight, bias, least)
    else:
        samples = check_classification(features, labels, classes, weight, bias, least)
        sums, origin, dtype = _first_read(samples)
    with full_precision(sums.device):
        counts, offsets = _counts_and_offsets(samples, sums)
        weight, bias = widened_head(weight, bias, offsets.device)
        means = offsets + origin.to(offsets.device)
        centred, distances = _between_classes(counts, offsets)
        eigenvalues, vectors = _eigen(centred)
        columns, scores = _columns(vectors, means, centred, distances, weight, bias)
        wide = covariance and sums.shape[1] <= WIDEST
        squares, projected, mismatches, within = _second_read(
            samples, _Centres(origin, offsets, dtype, sums.device), columns, scores, wide
        )
    return ClassStatistics(
        counts=counts,
        means=means,
        centred=centred,
        distances=distances,
        variances=squares / counts,
        # The squared projections over N are diag(V^T S_W V), V the eigenvectors of S_B.
        within_between=(projected[: len(eigenvalues)] / eigenvalues).sum() / counts.sum(),
        mismatches=None if weight is None else mismatches,
        within=within,
        weight=weight,
        bias=bias,
    )


def statistics_of_means(
    counts: Tensor,
    offsets: Tensor,
    origin: Tensor,
    variances: Tensor,
    within: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
) -> ClassStatistics:
    """Return what is known of class means (K x d, less an origin, d) and S_W (d x d), not NC4.

    `counts` and `variances` are K, the samples of each class and their mean squared distance to its
    mean; `weight` and `bias` the classifier's. All float64.
    """
    centred, distances = _between_classes(counts, offsets)
    return ClassStatistics(
        counts=counts,
        means=offsets + origin,
        centred=centred,
        distances=distances,
        variances=variances,
        within_between=_within_between(centred, within),
        mismatches=None,
        within=within,
        weight=weight,
        bias=bias,
    )


def nc1(statistics: ClassStatistics) -> float | None:
    """NC1, within-class variability seen against the class means.

    ``(1/K) tr(S_W S_B^+)`` (Papyan, Han & Donoho 2020, figure 6), S_W averaged over all samples,
    S_B over classes, eigenvalues of S_B below 1e-9 of the largest counted as zero. Variance outside
    the span of the mu_k - mu_G is not seen. None when all class means coincide.
    """
    # Exactly zero where only rounding differs: without it the sum over no eigenvalue would be 0,
    # perfect collapse.
    if not statistics.between_trace:
        return None
    return defined(statistics.within_between / statistics.classes)


def nc1_ratio(statistics: ClassStatistics) -> float | None:
    """NC1_ratio, total within-class over total between-class variance.

    ``tr S_W / tr S_B`` (Tirer, Huang & Niles-Weed 2023). None when all class means coincide.
    """
    return defined(statistics.within_trace / statistics.between_trace)


def cdnv(statistics: ClassStatistics, exponent: float = 1) -> float | None:
    """CDNV, class-distance normalised variance.

    Mean over pairs k < l of ``(v_k + v_l) / (2 norm(mu_k - mu_l)^(2p))``, v_k the mean squared
    distance of class k to mu_k, p the exponent: 1 (Galanti, Gyorgy & Hutter 2022), or 2 (the
    released numbers of Wu & Papyan 2024; it falls with the features' scale). None when two class
    means coincide, or there is one class only.
    """
    first, second = pairs(statistics)
    variances = statistics.variances[first] + statistics.variances[second]
    distances = statistics.distances[first, second]
    return defined((variances / (2 * distances.pow(2 * exponent))).mean())


def vci(statistics: ClassStatistics) -> float | None:
    """VCI, the variability collapse index.

    ``1 - tr(S_T^+ S_B) / rank(S_B)`` with S_T the covariance of all features and S_B that of the
    class means, each weighted by its samples, so that S_T = S_W + S_B (Xu & Liu 2023, whose classes
    are balanced): what a linear map of the features leaves unexplained of the classes. Between 0
    and 1: 0 is collapse; the same after any invertible linear map. Needs S_W. None when all class
    means coincide.
    """
    if not statistics.between_trace:
        return None
    roots = _weighted(statistics)
    eigenvalues, vectors = _eigen(roots)
    kept = eigenvalues.isfinite()
    rank = int(kept.sum())
    # The class means' span first, then what is orthogonal to it.
    basis, _ = torch.linalg.qr(vectors[:, kept], mode="complete")
    within = basis.T @ statistics.within @ basis
    between = gram((roots @ basis[:, :rank]).T)
    unexplained = _schur_complement(within, rank)
    # tr(S_T^+ S_B) = tr((E + B)^-1 B), hence without a difference of near numbers:
    share = torch.linalg.solve(unexplained + between, unexplained).trace() / rank
    # Rounding may leave collapse below 0.
    return defined(share.clamp_min(0))


def effective_rank(statistics: ClassStatistics) -> float | None:
    """Effective rank of the features less their mean.

    ``exp(-sum_i p_i log p_i)``, p_i the singular values over their sum (Roy & Vetterli 2007): from
    1 to d, see `effective_rank_of`. Needs S_W. None when the features do not vary.
    """
    total = statistics.within + gram(_weighted(statistics).T)
    return effective_rank_of(torch.linalg.eigvalsh(total))


def effective_rank_of(spectrum: Tensor) -> float | None:
    """Return ``exp(-sum_i p_i log p_i)``, p_i the shares of the roots of d eigenvalues.

    Of a covariance, between 1 and d (Roy & Vetterli 2007). Eigenvalues below d eps of the largest
    count as zero, as they are but rounding; 1e5 times as large ones are right to a part in 1e5.
    None where all are zero.
    """
    kept = spectrum > spectrum.amax() * len(spectrum) * EPS
    roots = torch.where(kept, spectrum, 0).sqrt()
    # x log x is 0 at 0.
    return defined(torch.special.entr(roots / roots.sum()).sum().exp())


def nc2_etf(statistics: ClassStatistics) -> float | None:
    """NC2_ETF, distance of the centred class means to a simplex ETF.

    ``norm(G/norm(G) - (I - J/K)/sqrt(K-1))``, G the Gram matrix of the mu_k - mu_G (Zhu et al.
    2021; Dang et al. 2023). None when all class means coincide.
    """
    target = etf_gram(statistics.classes, statistics.centred.device)
    return gram_distance(gram(statistics.centred), target)


def nc2_of(statistics: ClassStatistics) -> float | None:
    """NC2_OF, distance of the uncentred class means to an orthogonal frame.

    ``norm(G0/norm(G0) - I/sqrt(K))``, G0 the Gram matrix of the mu_k (Dang et al. 2023). None when
    all class means are zero.
    """
    target = orthogonal_gram(statistics.classes, statistics.means.device)
    return gram_distance(gram(statistics.means), target)


def nc2_gof_own(statistics: ClassStatistics) -> float | None:
    """NC2_GOF_own, distance of the class means to an orthogonal frame of their own lengths.

    ``norm(G0/norm(G0) - D/norm(D))``, G0 the Gram matrix of the mu_k and D its diagonal: what keeps
    them from a general orthogonal frame (after Dang et al. 2023, whose lengths are theory's). None
    when all class means are zero.
    """
    return _own_frame_distance(statistics.means, statistics.means)


def nc2_w_gof_own(statistics: ClassStatistics) -> float | None:
    """NC2_W_GOF_own, `nc2_gof_own` of the rows of the weight. None when the weight is zero."""
    # Scaled before the product, whose entries could underflow.
    weight = unit_norm(statistics.weight)
    return _own_frame_distance(weight, weight)


def nc3_gof_own(statistics: ClassStatistics) -> float | None:
    """NC3_GOF_own, distance of the logits of the class means to a frame of their own lengths.

    ``norm(P/norm(P) - D/norm(D))`` with ``P = W M^T``, M rows the mu_k, and D the diagonal matrix
    of ``norm(w_k) norm(mu_k)`` (after Dang et al. 2023). Needs a weight. None when P or D is zero.
    """
    return _own_frame_distance(unit_norm(statistics.weight), statistics.means)


def _own_frame_distance(first: Tensor, second: Tensor) -> float | None:
    lengths = torch.linalg.vector_norm(first, dim=1) * torch.linalg.vector_norm(second, dim=1)
    return gram_distance(first @ second.T, general_orthogonal_gram(lengths))


def equinorm(statistics: ClassStatistics) -> float | None:
    """Spread of the lengths of the centred class means.

    Standard deviation (ddof 0) over mean of ``norm(mu_k - mu_G)`` (Papyan, Han & Donoho 2020,
    figure 2). None when all class means coincide.
    """
    lengths = torch.linalg.vector_norm(statistics.centred, dim=1)
    return defined(lengths.std(correction=0) / lengths.mean())


def equiangularity(statistics: ClassStatistics) -> float | None:
    """Spread of the angles between the centred class means.

    Standard deviation (ddof 0) over pairs k < l of ``cos(mu_k - mu_G, mu_l - mu_G)`` (Papyan, Han &
    Donoho 2020, figure 3). Two classes have one pair, hence 0. None when a class mean coincides
    with mu_G, or there is one class only.
    """
    directions = statistics.centred / torch.linalg.vector_norm(
        statistics.centred, dim=1, keepdim=True
    )
    first, second = pairs(statistics)
    # A class mean at mu_G makes its cosines NaN, and the metric undefined.
    cosines = gram(directions)[first, second]
    return defined(cosines.std(correction=0)) if len(cosines) else None


def nc3(statistics: ClassStatistics) -> float | None:
    """NC3, self-duality of the classifier and the centred class means.

    ``norm(W/norm(W) - C/norm(C))^2``, C the K x d matrix of rows mu_k - mu_G (Papyan, Han & Donoho
    2020, figure 5). Between 0 and 4. Needs a weight. None when all class means coincide or the
    weight is zero.
    """
    distance = gram_distance(statistics.weight, statistics.centred)
    return None if distance is None else distance**2


def nc3_product(statistics: ClassStatistics) -> float | None:
    """NC3_product, distance of the logits of the class means to their frame.

    ``norm(P/norm(P) - T)``: with a bias ``P = W C^T`` and ``T = (I - J/K)/sqrt(K-1)``, C rows the
    mu_k - mu_G; without ``P = W M^T`` and ``T = I/sqrt(K)``, M rows the mu_k (Zhu et al. 2021; Dang
    et al. 2023). Needs a weight. None when P is zero.
    """
    device = statistics.means.device
    if statistics.bias is None:
        means, target = statistics.means, orthogonal_gram(statistics.classes, device)
    else:
        means, target = statistics.centred, etf_gram(statistics.classes, device)
    return gram_distance(statistics.weight @ means.T, target)


def nc3_etf(statistics: ClassStatistics) -> float | None:
    """NC3_ETF, distance of the logits of the centred class means to a simplex ETF.

    ``norm(P/norm(P) - (I - J/K)/sqrt(K-1))`` with ``P = W C^T``, C rows the mu_k - mu_G (Zhu et al.
    2021): `nc3_product`, whether the classifier has a bias or not. Needs a weight. None when P is
    zero.
    """
    target = etf_gram(statistics.classes, statistics.centred.device)
    return gram_distance(statistics.weight @ statistics.centred.T, target)


def nc4(statistics: ClassStatistics) -> float | None:
    """NC4, disagreement of the classifier with the nearest class mean.

    Fraction of samples where ``argmax_k (W h + b)_k`` differs from ``argmin_k norm(h - mu_k)``
    (Papyan, Han & Donoho 2020, figure 7). A tie goes to the lowest class. Between 0 and 1;
    needs a weight. None when all class means coincide.
    """
    by_class = nc4_by_class(statistics)
    return by_class and defined(statistics.mismatches.sum() / statistics.samples)


def nc4_by_class(statistics: ClassStatistics) -> list[float] | None:
    """NC4 of the samples of each class, K fractions. None when all class means coincide."""
    if not statistics.between_trace:
        return None
    return (statistics.mismatches / statistics.counts).tolist()


def _first_read(samples: Samples) -> tuple[Tensor, Tensor, torch.dtype]:
    """Read once: return each class's sum (K x d) relative to an origin (d), that, and the format.

    On the features' device.
    """
    blocks = samples.blocks()
    first = next(blocks)
    if not len(samples.counts):
        raise InputError("batches: found with targets, allowed are labels")
    # Sums of the features themselves would lose to a large common offset, of one column even, the
    # digits in which the classes differ.
    origin, dtype = first[0][0].to(torch.float64, copy=True), first[0].dtype
    sums = origin.new_zeros(len(samples.counts), len(origin))
    blocks = put_back(first, blocks)
    # It need not live as long as the others are read.
    del first
    for block, labels in widened(blocks, origin):
        # Batches say how many classes there are as they come.
        sums = torch.nn.functional.pad(sums, (0, 0, 0, len(samples.counts) - len(sums)))
        _add_by_class(sums, labels, block)
    # NaN and infinity reach the sums: the features are searched for the row to name only where a
    # sum is bad. NaN fails every comparison, hence `not <`.
    if not sums.abs().amax() < LARGEST:
        check_finite_features(samples)
    return sums, origin, dtype


def _counts_and_offsets(samples: Samples, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Return the samples of each class (K) and its mean less the origin (K x d).

    What is left after the first read is K x d: on the CPU where that is small.
    """
    device = reduced_device(sums.device, sums.numel())
    counts = samples.counts.to(device)
    return counts, sums.to(device) / counts[:, None]


def _add_by_class(sums: Tensor, labels: Tensor, values: Tensor) -> None:
    """Add each row of values (b x d, or b) to the row of sums (K x d, or K) of its label."""
    if sums.is_cuda:  # there index_add_ adds in random order, and the bytes would vary
        members = torch.nn.functional.one_hot(labels, len(sums)).to(sums.dtype)
        sums += members.T @ values
    else:
        sums.index_add_(0, labels, values)


def _between_classes(counts: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return mu_k - mu_G and norm(mu_k - mu_l); exactly zero where only rounding differs."""
    centred = _cleared(offsets - _shares(counts) @ offsets, offsets)
    # The faster way by products, |a|^2 + |b|^2 - 2 ab, cancels for close class means.
    distances = torch.cdist(centred, centred, compute_mode="donot_use_mm_for_euclid_dist")
    return centred, distances.masked_fill_(distances <= _floor(offsets), 0)


def _cleared(centred: Tensor, offsets: Tensor) -> Tensor:
    """Return centred class means (K x d), zero where they are but the rounding of the offsets."""
    lengths = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return centred.masked_fill(lengths <= _floor(offsets), 0)


def _floor(offsets: Tensor) -> Tensor:
    # Relative to the offsets from the origin, whose rounding it is.
    return ROUNDING * torch.linalg.vector_norm(offsets, dim=1).amax() + SMALLEST


def _eigen(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Return the min(K, d) largest eigenvalues of S_B and their eigenvectors as columns.

    Where an eigenvalue counts as zero, its place holds infinity and a zero vector.
    """
    classes, dim = centred.shape
    # The K x K Gram matrix has the non-zero eigenvalues of the d x d matrix S_B.
    eigenvalues, vectors = torch.linalg.eigh(_smaller_gram(centred) / classes)
    positive = eigenvalues > EIGENVALUE_CUTOFF * eigenvalues[-1]
    eigenvalues = torch.where(positive, eigenvalues, torch.inf)
    if classes > dim:
        return eigenvalues, vectors * positive
    # The root of infinity divides the vectors of zero eigenvalues away.
    return eigenvalues, centred.T @ (vectors / (classes * eigenvalues).sqrt())


def _smaller_gram(rows: Tensor) -> Tensor:
    """Return A A^T or A^T A of K x d rows, whichever is smaller: both have the same spectrum."""
    return gram(rows) if len(rows) <= rows.shape[1] else gram(rows.T)


def _within_between(centred: Tensor, within: Tensor | None) -> Tensor:
    """Return tr(S_W S_B^+), of centred class means (K x d) and S_W (d x d, or None: NaN)."""
    if within is None:
        return centred.new_full((), torch.nan)
    eigenvalues, vectors = _eigen(centred)
    return (((within @ vectors) * vectors).sum(0) / eigenvalues).sum()


def _schur_complement(covariance: Tensor, rank: int) -> Tensor:
    """Return the covariance of the first coordinates that the others leave, rank x rank."""
    eigenvalues, vectors = torch.linalg.eigh(covariance[rank:, rank:])
    kept = eigenvalues > covariance.diagonal().amax() * len(covariance) * EPS
    loadings = covariance[:rank, rank:] @ vectors[:, kept]
    return covariance[:rank, :rank] - gram(loadings / eigenvalues[kept].sqrt())


def _columns(
    vectors: Tensor,
    means: Tensor,
    centred: Tensor,
    distances: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return A, B so that ``(h - mu_y) A + B[y]`` is what is asked of a sample h of class y.

    The first columns are its projections on the eigenvectors, of the deviation alone, for NC1. With
    a classifier, for NC4, K more rank the nearest class mean, ``(h - mu_y) . (mu_k - mu_G) -
    norm(mu_y - mu_k)^2 / 2``; the last K the classifier, ``W h + b`` less its value for y. Written
    so, no large number common to all samples or classes enters float32.
    """
    scores = vectors.new_zeros(len(means), vectors.shape[1])
    if weight is None:
        return vectors, scores
    peak = weight.abs().amax()
    if bias is not None:
        peak = torch.maximum(peak, bias.abs().amax())
    # Scaling weight and bias together changes no choice, and keeps the logits inside float32.
    weight = weight / torch.where(peak > 0, peak, 1)
    logits = means @ weight.T
    if bias is not None:
        logits += bias / torch.where(peak > 0, peak, 1)
    # A clone: the diagonal is a view of what is being subtracted from.
    logits -= logits.diagonal()[:, None].clone()
    columns = torch.cat((vectors, centred.T, weight.T), dim=1)
    return columns, torch.cat((scores, distances.square() / -2, logits), dim=1)


@dataclass(frozen=True)
class _Centres:
    """Where class means lie, and how samples are read about them.

    Attributes
    ----------
    origin, offsets : Tensor
        d, and K x d of the class means relative to it.
    stored : torch.dtype
        Format of the features.
    device : torch.device
        Theirs.
    """

    origin: Tensor
    offsets: Tensor
    stored: torch.dtype
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """Format that deviations are taken in."""
        low, high = FLOAT32_RANGE
        in_range = low < self.offsets.abs().amax() < high
        narrow = in_range and self.stored != torch.float64
        return torch.float32 if narrow else torch.float64

    def rounded(self) -> tuple[Tensor, Tensor]:
        """Return centres that `dtype` can hold, and what that leaves of the class means."""
        origin = self.origin.to(self.offsets.device)
        centres = (self.offsets + origin).to(self.dtype)
        return centres, self.offsets - (centres.to(torch.float64) - origin)


def _second_read(
    samples: Samples, centres: _Centres, columns: Tensor, scores: Tensor, covariance: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Read once more, about the class means.

    Returns sums of squared deviations by class (K) and by column of the first min(K, d), how many
    of each class's samples the last 2K columns disagree on (K), and with `covariance` S_W.
    """
    (dim, width), classes, dtype = columns.shape, len(scores), centres.dtype
    rank = min(classes, dim)
    rounded, remainder = centres.rounded()
    # What is left of the class means (`remainder`) is put back exactly.
    scores = scores - remainder @ columns
    padding = (0, -width % LANES)
    scores, columns = (
        torch.nn.functional.pad(part, padding).to(centres.device, dtype)
        for part in (scores, columns)
    )
    rounded, offsets = rounded.to(centres.device), centres.offsets.to(centres.device)
    # Squared deviations, and mismatches, by class.
    sums = torch.zeros(classes, 2, dtype=torch.float64, device=centres.device)
    projected = sums.new_zeros(rank)
    scatter = sums.new_zeros(dim, dim) if covariance else None
    buffer = rounded[:0]
    for block, labels in samples.blocks(columns.shape[1]):
        if len(block) > len(buffer):
            buffer = rounded.new_empty(len(block), dim)
        # The class means of the block's samples, overwritten by their deviations from them.
        deviations = torch.index_select(rounded, 0, labels, out=buffer[: len(block)])
        torch.sub(block.to(dtype), deviations, out=deviations)
        lengths = torch.linalg.vector_norm(deviations, dim=1).to(torch.float64)
        values = scores.index_select(0, labels).addmm_(deviations, columns)
        projected += torch.linalg.vector_norm(values[:, :rank], dim=0, dtype=torch.float64) ** 2
        differ = torch.zeros_like(lengths)
        if width > rank:
            # `max` takes the first of equals.
            ranked = values[:, rank : rank + 2 * classes].view(-1, 2, classes)
            choices = ranked.max(dim=2).indices
            differ += choices[:, 0] != choices[:, 1]
        _add_by_class(sums, labels, torch.stack((lengths.square(), differ), dim=1))
        if scatter is not None:
            wide = torch.empty(block.shape, dtype=torch.float64, device=block.device).copy_(block)
            wide -= centres.origin
            wide -= offsets.index_select(0, labels)
            scatter.addmm_(wide.T, wide)
    counts = samples.counts.to(remainder.device)
    squares, mismatches = sums.to(remainder.device).unbind(1)
    # Deviations from the centre exceed those from the class mean by the remainder: sum |h - c|^2 =
    # sum |h - mu|^2 + n |mu - c|^2.
    squares = squares - counts * remainder.square().sum(dim=1)
    if scatter is not None:
        scatter = scatter.to(remainder.device) / counts.sum()
    # The subtraction may leave a rounding below zero.
    return squares.clamp_min(0), projected.to(remainder.device), mismatches, scatter


def _weighted(statistics: ClassStatistics) -> Tensor:
    """Return the mu_k - mu_G times the root of their class's share of the samples, K x d."""
    return statistics.centred * _shares(statistics.counts).sqrt()[:, None]


def _shares(counts: Tensor) -> Tensor:
    """Fraction of the samples in each class, float64."""
    return counts.to(torch.float64) / counts.sum()


def pairs(statistics: ClassStatistics) -> tuple[Tensor, Tensor]:
    """Return the classes k and l of every pair, k < l."""
    classes = statistics.classes
    return torch.triu_indices(classes, classes, 1, device=statistics.means.device).unbind()
