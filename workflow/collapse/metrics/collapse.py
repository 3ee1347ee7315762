"""Neural collapse of labelled features: NC1 to NC4 and their kin.

All metrics come out of one `ClassStatistics`, made in two reads of the N x d features. No
d x d matrix is formed: the between-class covariance has rank K-1, so the within-class
deviations are projected on the class means' own span.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from collapse.metrics.checks import LARGEST, check_classification, check_finite
from collapse.metrics.frames import defined, etf_gram, gram, gram_distance, orthogonal_gram
from collapse.metrics.rows import (
    Rows,
    device_of,
    full_precision,
    row_blocks,
    rows_per_block,
    wide_blocks,
)

EIGENVALUE_CUTOFF = 1e-9  # relative to the largest: smaller ones of S_B count as zero
ROUNDING = 1e-13  # class means closer than this, relative to the features' spread, coincide
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
        Scalar, samples whose nearest class mean is not the classifier's choice; None without
        a classifier.
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
    def global_mean(self) -> Tensor:
        """The mean mu_G over all N samples, d."""
        return _shares(self.counts) @ self.means

    @property
    def within_trace(self) -> Tensor:
        """Trace of S_W = (1/N) sum over samples (h - mu_y)(h - mu_y)^T."""
        return _shares(self.counts) @ self.variances

    @property
    def between_trace(self) -> Tensor:
        """Trace of S_B = (1/K) sum_k (mu_k - mu_G)(mu_k - mu_G)^T."""
        return self.centred.square().sum() / self.classes


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
    labels, counts, _, _ = check_classification(features, labels, classes, least=least)
    with full_precision(device_of(features)):
        origin, offsets = _mean_offsets(features, labels, counts)
    return offsets + origin


@torch.no_grad()
def class_statistics(
    features: Rows,
    labels: Tensor,
    classes: int | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    least: int = 2,
) -> ClassStatistics:
    """Reduce labelled features to what the collapse metrics need, on `reduced_device`.

    Parameters
    ----------
    features : Tensor or Rows
        N x d of float16, bfloat16, float32 or float64; anything that yields slices of rows.
        Read on their device, in memory that does not grow with N.
    labels : Tensor
        N integers, 0 to K-1.
    classes : int, optional
        K; default the rows of `weight`, else the largest label + 1.
    weight, bias : Tensor, optional
        K x d and K, the classifier's.
    least : int
        Samples that every class needs.

    Raises
    ------
    InputError
        The input is not as described, or holds NaN or infinity.

    Notes
    -----
    The first read sums each class in float64. The second takes h - mu_y before any product,
    in float32 unless the features are float64; squares are summed in float64. NC1 is within
    1e-4 of its exact value for these features down to 1e-11.
    """
    labels, counts, weight, bias = check_classification(
        features, labels, classes, weight, bias, least
    )
    with full_precision(device_of(features)):
        origin, offsets = _mean_offsets(features, labels, counts)
        centred, distances = _between_classes(counts, offsets)
        eigenvalues, columns = _eigen(centred)
        # Projections on eigenvectors are those of the deviation alone.
        scores = torch.zeros_like(distances)
        if weight is not None:
            choices = _choices(offsets + origin, centred, distances, weight, bias)
            columns = torch.cat((columns, choices[0]), dim=1)
            scores = torch.cat((scores, choices[1]), dim=1)
        # One product for NC1 and NC4: eigenvectors and choices side by side.
        squares, projected, mismatches = _second_read(
            features, labels, counts, origin, offsets, columns, scores
        )
    return ClassStatistics(
        counts=counts,
        means=offsets + origin,
        centred=centred,
        distances=distances,
        variances=squares / counts,
        # The squared projections over N are diag(V^T S_W V), V the eigenvectors of S_B.
        within_between=(projected / eigenvalues).sum() / counts.sum(),
        mismatches=None if weight is None else mismatches,
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


def cdnv(statistics: ClassStatistics) -> float | None:
    """CDNV, class-distance normalised variance.

    Mean over pairs k < l of ``(v_k + v_l) / (2 norm(mu_k - mu_l)^2)``, v_k the mean squared
    distance of class k to mu_k (Galanti, Gyorgy & Hutter 2022). None when two class means coincide,
    or there is one class only.
    """
    first, second = _pairs(statistics)
    variances = statistics.variances[first] + statistics.variances[second]
    return defined((variances / (2 * statistics.distances[first, second].square())).mean())


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
    first, second = _pairs(statistics)
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


def nc4(statistics: ClassStatistics) -> float | None:
    """NC4, disagreement of the classifier with the nearest class mean.

    Fraction of samples where ``argmax_k (W h + b)_k`` differs from ``argmin_k norm(h - mu_k)``
    (Papyan, Han & Donoho 2020, figure 7). A tie goes to the lowest class. Between 0 and 1;
    needs a weight.
    """
    return defined(statistics.mismatches.to(torch.float64) / statistics.samples)


def _mean_offsets(features: Rows, labels: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Read once: return an origin (d) and the class means relative to it (K x d)."""
    first = features[0:1][0].to(torch.float64)
    # Float64 sums of narrower floats lose nothing; those of float64 would lose to a large common
    # offset the digits in which the classes differ.
    origin = first if features.dtype == torch.float64 else None
    sums = first.new_zeros(len(counts), len(first))
    for window, block in wide_blocks(features, origin, len(counts)):
        _add_by_class(sums, labels[window], block)
    offsets = sums.to(counts.device) / counts[:, None]
    # NaN and infinity reach the sums: the features are searched for the row to name only where a
    # sum is bad. NaN fails every comparison, hence `not <`.
    if not offsets.abs().amax() < LARGEST:
        for window, block in row_blocks(features):
            check_finite("features", block, window.start)
    return torch.zeros_like(offsets[0]) if origin is None else origin.to(counts.device), offsets


def _add_by_class(sums: Tensor, labels: Tensor, values: Tensor) -> None:
    """Add each row of values (b x d, or b) to the row of sums (K x d, or K) of its label."""
    if sums.is_cuda:  # there index_add_ adds in random order, and the bytes would vary
        members = torch.nn.functional.one_hot(labels, len(sums)).to(sums.dtype)
        sums += members.T @ values
    else:
        sums.index_add_(0, labels, values)


def _between_classes(counts: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return mu_k - mu_G and norm(mu_k - mu_l); exactly zero where only rounding differs."""
    centred = offsets - _shares(counts) @ offsets
    # Relative to the offsets from the origin, whose rounding it is.
    floor = ROUNDING * torch.linalg.vector_norm(offsets, dim=1).amax() + SMALLEST
    lengths = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    centred.masked_fill_(lengths <= floor, 0)
    # The faster way by products, |a|^2 + |b|^2 - 2 ab, cancels for close class means.
    distances = torch.cdist(centred, centred, compute_mode="donot_use_mm_for_euclid_dist")
    return centred, distances.masked_fill_(distances <= floor, 0)


def _eigen(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Return the K eigenvalues of S_B and their eigenvectors (d x K).

    Where an eigenvalue counts as zero, its place holds infinity and a zero vector.
    """
    # The K x K Gram matrix has the non-zero eigenvalues of the d x d matrix S_B.
    eigenvalues, vectors = torch.linalg.eigh(gram(centred) / len(centred))
    positive = eigenvalues > EIGENVALUE_CUTOFF * eigenvalues[-1]
    eigenvalues = torch.where(positive, eigenvalues, torch.inf)
    # The root of infinity divides the vectors of zero eigenvalues away.
    return eigenvalues, centred.T @ (vectors / (len(centred) * eigenvalues).sqrt())


def _choices(
    means: Tensor, centred: Tensor, distances: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return A, B so that ``(h - mu_y) A + B[y]`` ranks the classes for a sample h of class y.

    The first K columns rank the nearest class mean, ``(h - mu_y) . (mu_k - mu_G) -
    norm(mu_y - mu_k)^2 / 2``; the last K the classifier, ``W h + b`` less its value for y.
    Written so, no large number common to all samples or classes enters float32.
    """
    peak = weight.abs().amax()
    if bias is not None:
        peak = torch.maximum(peak, bias.abs().amax())
    # Scaling weight and bias together changes no choice, and keeps the logits inside float32.
    scale = torch.where(peak > 0, peak, 1)
    logits = means @ (weight / scale).T
    if bias is not None:
        logits += bias / scale
    # A clone: the diagonal is a view of what is being subtracted from.
    logits -= logits.diagonal()[:, None].clone()
    columns = torch.cat((centred.T, (weight / scale).T), dim=1)
    return columns, torch.cat((distances.square() / -2, logits), dim=1)


def _second_read(
    features: Rows,
    labels: Tensor,
    counts: Tensor,
    origin: Tensor,
    offsets: Tensor,
    columns: Tensor,
    scores: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Read once more: sums of squared deviations, by class and by eigenvector, and mismatches.

    Deviations are taken from centres that the working format can hold; what that leaves of
    the class means (`remainder`) is put back exactly.
    """
    classes, device, dtype = len(counts), device_of(features), _working_dtype(features, offsets)
    centres = (offsets + origin).to(dtype)
    remainder = offsets - (centres.to(torch.float64) - origin)
    has_head = columns.shape[1] > classes
    padding = (0, -columns.shape[1] % LANES)
    scores = torch.nn.functional.pad(scores - remainder @ columns, padding).to(device, dtype)
    columns = torch.nn.functional.pad(columns, padding).to(device, dtype)
    centres = centres.to(device)
    width = columns.shape[1]
    # Shared by all blocks: the memory does not grow with N.
    buffer = centres.new_empty(rows_per_block(features, width), centres.shape[1])
    squares = torch.zeros(classes, dtype=torch.float64, device=device)
    projected, mismatches = torch.zeros_like(squares), labels.new_zeros(())
    for window, block in row_blocks(features, width):
        block_labels = labels[window]
        # The class means of the block's samples, overwritten by their deviations from them.
        deviations = torch.index_select(centres, 0, block_labels, out=buffer[: len(block)])
        torch.sub(block.to(dtype), deviations, out=deviations)
        lengths = torch.linalg.vector_norm(deviations, dim=1).to(torch.float64)
        _add_by_class(squares, block_labels, lengths.square_())
        values = scores.index_select(0, block_labels).addmm_(deviations, columns)
        lengths = torch.linalg.vector_norm(values[:, :classes], dim=0, dtype=torch.float64)
        projected += lengths.square_()
        if has_head:
            # Columns K to 3K rank the class means, then the classifier; `max` takes the first of
            # equals.
            choices = values[:, classes : 3 * classes].view(-1, 2, classes).max(dim=2).indices
            mismatches += (choices[:, 0] != choices[:, 1]).sum()
    # Deviations from the centre exceed those from the class mean by the remainder: sum |h - c|^2 =
    # sum |h - mu|^2 + n |mu - c|^2.
    squares = squares.to(counts.device) - counts * remainder.square().sum(dim=1)
    # The subtraction may leave a rounding below zero.
    return squares.clamp_min(0), projected.to(counts.device), mismatches.to(counts.device)


def _working_dtype(features: Rows, offsets: Tensor) -> torch.dtype:
    low, high = FLOAT32_RANGE
    in_range = low < offsets.abs().amax() < high
    return torch.float32 if in_range and features.dtype != torch.float64 else torch.float64


def _shares(counts: Tensor) -> Tensor:
    """Fraction of the samples in each class, float64."""
    return counts.to(torch.float64) / counts.sum()


def _pairs(statistics: ClassStatistics) -> tuple[Tensor, Tensor]:
    classes = statistics.classes
    # Each pair once, k < l.
    return torch.triu_indices(classes, classes, 1, device=statistics.means.device).unbind()
