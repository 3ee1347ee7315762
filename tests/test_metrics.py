import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse.errors import InputError
from collapse.metrics import (
    class_means,
    class_statistics,
    etf_gram,
    general_orthogonal_gram,
    gram,
    gram_distance,
    measure,
    nc1,
    orthogonal_gram,
    regression_statistics,
    rows,
)
from collapse.metrics.layers import (
    accuracy_readings,
    frame_readings,
    gof_readings,
    head_readings,
)

CLASS_KEYS = ["NC1", "NC1_ratio", "CDNV", "NC2_ETF", "NC2_OF", "equinorm", "equiangularity"]
HEAD_KEYS = ["NC3", "NC3_product", "NC4"]
few = settings(derandomize=True, max_examples=25, deadline=None, database=None)


def unit(matrix):
    return matrix / np.linalg.norm(matrix)


def class_reference(features, labels, weight=None, bias=None):
    """The definitions, word by word: loops, d x d covariances and a pseudo-inverse."""
    h = np.asarray(features, dtype=np.float64)
    y = np.asarray(labels)
    classes = len(weight) if weight is not None else y.max() + 1
    means = np.stack([h[y == k].mean(0) for k in range(classes)])
    centred = means - h.mean(0)
    residuals = h - means[y]
    within = residuals.T @ residuals / len(h)
    between = sum(np.outer(c, c) for c in centred) / classes
    variances = [np.mean(np.sum((h[y == k] - means[k]) ** 2, 1)) for k in range(classes)]
    pairs = [(k, j) for k in range(classes) for j in range(k + 1, classes)]
    lengths = np.linalg.norm(centred, axis=1)
    cosines = [centred[k] @ centred[j] / lengths[k] / lengths[j] for k, j in pairs]
    etf = (np.eye(classes) - 1 / classes) / math.sqrt(classes - 1)
    frame = np.eye(classes) / math.sqrt(classes)
    inverse = np.linalg.pinv(between, rcond=1e-9, hermitian=True)
    result = {
        "NC1": np.trace(within @ inverse) / classes,
        "NC1_ratio": np.trace(within) / np.trace(between),
        "CDNV": np.mean(
            [
                (variances[k] + variances[j]) / 2 / np.sum((means[k] - means[j]) ** 2)
                for k, j in pairs
            ]
        ),
        "NC2_ETF": np.linalg.norm(unit(centred @ centred.T) - etf),
        "NC2_OF": np.linalg.norm(unit(means @ means.T) - frame),
        "equinorm": np.std(lengths) / np.mean(lengths),
        "equiangularity": np.std(cosines),
    }
    if weight is not None:
        w = np.asarray(weight, dtype=np.float64)
        logits = h @ w.T + (0 if bias is None else np.asarray(bias, dtype=np.float64))
        nearest = [np.argmin(np.sum((x - means) ** 2, 1)) for x in h]
        product = unit(w @ means.T) - frame if bias is None else unit(w @ centred.T) - etf
        result |= {
            "NC3": np.linalg.norm(unit(w) - unit(centred)) ** 2,
            "NC3_product": np.linalg.norm(product),
            "NC4": np.mean(np.argmax(logits, 1) != nearest),
        }
    return result


def assert_same(found, expected, rel=1e-9, abs_=1e-12):
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=rel, abs=abs_), key


def collapsed(counts, dim, noise, seed=0, dtype=torch.float32, offset=0.0):
    """Random class means of length about sqrt(dim), and noise around them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    means = torch.randn(len(counts), dim, generator=generator, dtype=torch.float64)
    deviations = torch.randn(len(labels), dim, generator=generator, dtype=torch.float64)
    return (means[labels] + noise * deviations + offset).to(dtype), labels


def random_head(classes, dim, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(classes, dim, generator=generator).to(dtype),
        torch.randn(classes, generator=generator).to(dtype),
    )


class Stream:
    """Features that can only be sliced."""

    def __init__(self, tensor):
        self._tensor, self.shape, self.dtype = tensor, tuple(tensor.shape), tensor.dtype
        self.largest = 0

    def __getitem__(self, window):
        self.largest = max(self.largest, window.stop - window.start)
        return self._tensor[window]


@few
@given(
    counts=st.lists(st.integers(2, 9), min_size=2, max_size=6),
    dim=st.integers(2, 12),
    noise=st.sampled_from([1.0, 0.3, 1e-3]),
    seed=st.integers(0, 10**6),
    bias=st.booleans(),
)
def test_agrees_with_the_definitions(counts, dim, noise, seed, bias):
    features, labels = collapsed(counts, dim, noise, seed, torch.float64)
    weight, offsets = random_head(len(counts), dim, seed, torch.float64)
    offsets = offsets if bias else None
    found = measure(features, labels, weight=weight, bias=offsets)
    assert_same(found, class_reference(features, labels, weight, offsets), rel=1e-7)
    assert list(measure(features, labels)) == CLASS_KEYS


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_formats_agree_with_float64_of_the_same_values(dtype):
    features, labels = collapsed([900, 300, 90, 9], 48, 0.5, dtype=dtype)
    weight, bias = random_head(4, 48, dtype=dtype)
    expected = class_reference(features.double(), labels, weight.double(), bias.double())
    assert_same(measure(features, labels, weight=weight, bias=bias), expected, rel=2e-6)


@pytest.mark.parametrize("counts", [[2000] * 10, [6000, 3000, 1000, 300, 100, 30, 10, 3, 2, 2]])
@pytest.mark.parametrize("noise", [1e-4, 1.2e-5, 1e-6])
def test_float32_holds_down_to_its_own_resolution(counts, noise):
    features, labels = collapsed(counts, 128, noise)
    weight, bias = random_head(10, 128)
    expected = class_reference(features, labels, weight, bias)
    if noise == 1.2e-5:
        assert 5e-12 < expected["NC1"] < 2e-11
    assert_same(measure(features, labels, weight=weight, bias=bias), expected, rel=1e-5)


def test_nearly_dependent_class_means():
    features, labels = collapsed([400] * 5, 32, 0.01)
    features[:, 1:] *= 1e-3
    assert_same(measure(features, labels), class_reference(features, labels), rel=1e-5)


def test_eigenvalues_below_the_cutoff_count_as_zero():
    deviations = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    for ratio, kept in ((2e-9, True), (0.5e-9, False)):
        means = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
        means[2:] *= math.sqrt(ratio)
        features = (means[:, None] + 1e-6 * deviations).reshape(-1, 2)
        # S_B = diag(1, ratio) / 2, S_W = 1e-12 (all ones)
        expected = 1e-12 / 4 * (2 + (2 / ratio if kept else 0))
        assert measure(features, torch.arange(4).repeat_interleave(2))["NC1"] == pytest.approx(
            expected, rel=1e-5
        )


@pytest.mark.parametrize(
    ("dtype", "offset", "spread"),
    [(torch.float32, 1e4, 1e-1), (torch.float64, 1e4, 1e-3), (torch.float64, 1e8, 1e-3)],
)
def test_large_offset(dtype, offset, spread):
    features, labels = collapsed([200, 150, 50], 16, 0.2, dtype=torch.float64)
    features = (spread * features + offset).to(dtype)
    relative = features.double() - features[0].double()  # exact
    weight, _ = random_head(3, 16, dtype=torch.float64)
    expected = class_reference(relative, labels, weight)
    found = measure(features, labels, weight=weight)
    for key in ("NC1", "NC1_ratio", "CDNV", "NC2_ETF", "equinorm", "equiangularity", "NC3"):
        assert found[key] == pytest.approx(expected[key], rel=1e-5), key
    exact = relative @ weight.T + offset * weight.sum(dim=1)
    nearest = torch.cdist(relative, class_means(relative, labels)).argmin(dim=1)
    if dtype == torch.float64 and offset == 1e4:
        assert found["NC4"] == (exact.argmax(dim=1) != nearest).double().mean()


def test_coinciding_minority_means_do_not_blur_nc4():
    # Two classes 1e-5 apart beside one at distance 1: float32 of the plain distances fails.
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(300)
    means = torch.zeros(3, 8, dtype=torch.float64)
    means[0, 0], means[1, 1], means[2, 1], means[2, 2] = 1, 1, 1, 1e-5
    deviations = torch.randn(900, 8, generator=generator, dtype=torch.float64)
    features = (means[labels] + 4e-6 * deviations).float()
    expected = class_reference(features, labels, means)
    assert 0.05 < expected["NC4"] < 0.5
    assert measure(features, labels, weight=means)["NC4"] == pytest.approx(
        expected["NC4"], abs=2e-3
    )


def test_class_means_and_statistics():
    features, labels = collapsed([5, 3, 2], 4, 0.3)
    statistics = class_statistics(features, labels)
    h, y = features.double().numpy(), labels.numpy()
    means = np.stack([h[y == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(statistics.means, means, rtol=1e-14)
    np.testing.assert_allclose(class_means(features, labels), means, rtol=1e-14)
    np.testing.assert_allclose(statistics.global_mean, h.mean(0), rtol=1e-12)
    within = np.sum((h - means[y]) ** 2) / 10
    assert float(statistics.within_trace) == pytest.approx(within, rel=1e-6)
    assert statistics.samples == 10
    assert statistics.counts.tolist() == [5, 3, 2]


def rotation(dim):
    generator = torch.Generator().manual_seed(3)
    return torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))[0]


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 2.0**100])
def test_invariant_to_rotation_and_scale(scale):
    features, labels = collapsed([30, 20, 10], 8, 0.3, dtype=torch.float64)
    weight, _ = random_head(3, 8, dtype=torch.float64)
    turn = rotation(8)
    found = measure(scale * features @ turn, labels, weight=0.1 * weight @ turn)
    assert_same(found, measure(features, labels, weight=weight), rel=1e-9)


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_float32_outside_the_range_of_its_squares(scale):
    features, labels = collapsed([30, 20, 10], 8, 0.3)
    weight, _ = random_head(3, 8)
    found = measure(scale * features, labels, weight=weight)
    assert_same(found, measure(features, labels, weight=weight), rel=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_exact_etf(classes):
    etf = torch.linalg.qr(torch.eye(classes + 2, dtype=torch.float64))[0][:classes]
    etf = (etf - etf.mean(dim=0)) @ rotation(classes + 2)
    features = torch.cat([5 * etf + 0.25, 5 * etf - 0.25])
    labels = torch.arange(classes).repeat(2)
    found = measure(features, labels, weight=3 * etf, bias=torch.zeros(classes))
    for key in ("NC2_ETF", "equinorm", "equiangularity", "NC3", "NC3_product", "NC4"):
        assert found[key] == pytest.approx(0, abs=1e-14), key
    assert measure(features, labels, weight=3 * etf)["NC3_product"] > 0.1


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_exact_orthogonal_frame(classes):
    frame = 2 * rotation(classes + 1)[:classes]
    features, labels = frame.repeat(3, 1), torch.arange(classes).repeat(3)
    found = measure(features, labels, weight=frame)
    # Centring an orthogonal frame makes it a simplex ETF.
    for key in ("NC1", "NC1_ratio", "CDNV", "NC2_OF", "NC2_ETF", "NC3_product", "NC4"):
        assert found[key] == pytest.approx(0, abs=1e-14), key
    etf = frame - frame.mean(dim=0)
    distance = measure(torch.cat([etf, etf]), labels[: 2 * classes])["NC2_OF"]
    assert distance == pytest.approx(math.sqrt(2 - 2 * math.sqrt(1 - 1 / classes)), rel=1e-12)


def test_frames():
    lengths = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)
    frame = lengths.sqrt()[:, None] * rotation(5)[:3]
    assert gram_distance(gram(frame), general_orthogonal_gram(lengths)) == pytest.approx(
        0, abs=1e-15
    )
    assert gram_distance(gram(frame), orthogonal_gram(3)) > 0.5
    assert gram_distance(1e-200 * gram(frame), gram(frame)) == pytest.approx(0, abs=1e-15)
    assert gram_distance(torch.zeros(3, 3), etf_gram(3)) is None
    for classes in (2, 5):
        for target in (etf_gram(classes), orthogonal_gram(classes)):
            assert float(torch.linalg.matrix_norm(target)) == pytest.approx(1, rel=1e-15)
        assert etf_gram(classes).sum().abs() < 1e-15


def test_self_duality_is_squared_and_signed():
    features, labels = collapsed([9, 9, 9], 5, 0.1, dtype=torch.float64)
    centred = class_statistics(features, labels).centred
    for weight, expected in ((centred, 0), (-2 * centred, 4)):
        assert measure(features, labels, weight=weight)["NC3"] == pytest.approx(expected, abs=1e-12)


def test_two_classes_have_one_pair():
    features, labels = collapsed([4, 4], 3, 0.1)
    assert measure(features, labels)["equiangularity"] == 0.0


def test_one_class():
    features, weight = torch.randn(6, 3), torch.randn(1, 3)
    found = measure(features, torch.zeros(6, dtype=torch.int64), weight=weight, bias=torch.ones(1))
    defined = {"NC2_OF": 0.0, "NC4": 0.0}
    assert found == dict.fromkeys(CLASS_KEYS + HEAD_KEYS) | defined


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-300])
def test_constant_features(value):
    features = torch.full((9, 4), value, dtype=torch.float64)
    found = measure(features, torch.arange(3).repeat(3), weight=torch.zeros(3, 4))
    assert found.pop("NC4") == 0.0
    if value == 0.1:
        assert found.pop("NC2_OF") > 0
    assert set(found.values()) == {None}


def test_class_means_that_only_rounding_tells_apart():
    cloud = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    found = measure(torch.cat([cloud, cloud[order]]), torch.arange(2).repeat_interleave(50))
    for key in ("NC1", "NC1_ratio", "CDNV", "NC2_ETF", "equinorm", "equiangularity"):
        assert found[key] is None, key


def test_two_equal_class_means_leave_only_cdnv_undefined():
    means = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    features = torch.cat([means + 0.5, means - 0.5])
    found = measure(features, torch.arange(3).repeat(2))
    assert found["CDNV"] is None
    assert None not in [value for key, value in found.items() if key != "CDNV"]


def test_more_rows_of_weight_than_labels_is_a_class_without_samples():
    features, labels = collapsed([4, 4], 3, 0.1)
    with pytest.raises(InputError, match="labels: class 2 has no sample"):
        measure(features, labels, weight=torch.randn(3, 3))


@pytest.mark.parametrize("per_block", [1, 7, 60, 59])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_do_not_matter(monkeypatch, per_block, dtype):
    features, labels = collapsed([30, 20, 10], 8, 0.3, dtype=dtype)
    weight, bias = random_head(3, 8)
    targets = features[:, :2] + torch.sin(features[:, 3:5])
    whole = measure(features, labels, weight=weight, bias=bias)
    whole_fit = measure(features, targets=targets, weight=weight[:2], bias=bias[:2])
    monkeypatch.setitem(rows.ELEMENTS_PER_BLOCK, "cpu", 8 * per_block)
    stream = Stream(features)
    rel = 1e-12 if dtype == torch.float64 else 1e-5
    assert_same(measure(stream, labels, weight=weight, bias=bias), whole, rel)
    assert_same(measure(stream, targets=targets, weight=weight[:2], bias=bias[:2]), whole_fit)
    assert stream.largest <= per_block


def test_blocks_shrink_where_classes_outnumber_columns(monkeypatch):
    features, labels = collapsed([4] * 50, 3, 0.3)
    weight, _ = random_head(50, 3)
    expected = measure(features, labels, weight=weight)
    monkeypatch.setitem(rows.ELEMENTS_PER_BLOCK, "cpu", 1000)
    stream = Stream(features)
    assert_same(measure(stream, labels, weight=weight), expected, rel=1e-5)
    assert stream.largest * 50 <= 1000


def test_arrays_and_strided_tensors():
    features, labels = collapsed([30, 20], 8, 0.3)
    expected = measure(features, labels)
    assert measure(features.numpy(), labels.numpy().astype(np.uint8)) == expected
    assert measure(features.T.contiguous().T, labels.to(torch.int32)) == expected
    assert measure(features.clone().requires_grad_(), labels) == expected


def test_reduced_precision_of_the_caller_is_neither_used_nor_lost():
    features, labels = collapsed([300] * 4, 64, 3e-6)
    weight, bias = random_head(4, 64)
    expected = measure(features, labels, weight=weight, bias=bias)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu"):
            found = measure(features, labels, weight=weight, bias=bias)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert found == expected


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def tf32():
    """Allow TF32 products, as a user may have done before."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    yield
    matmul.fp32_precision = before


@needs_gpu
@pytest.mark.parametrize("small", [0, 10**9])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_cuda_agrees(monkeypatch, tf32, dtype, small):
    monkeypatch.setattr(rows, "SMALL", small)
    features, labels = collapsed([600, 300, 90, 9], 48, 1e-5, dtype=dtype)
    weight, bias = random_head(4, 48)
    targets = (features[:, :2] + torch.sin(features[:, 3:5])).float()
    monkeypatch.setitem(rows.ELEMENTS_PER_BLOCK, "cuda", 48 * 100)
    head = {"weight": weight.cuda(), "bias": bias.cuda()}
    found = measure(features.cuda(), labels.cuda(), **head)
    assert_same(found, measure(features, labels, weight=weight, bias=bias), rel=1e-5)
    assert found == measure(features.cuda(), labels, weight=weight, bias=bias)
    fit = {"targets": targets, "weight": weight[:2], "bias": bias[:2]}
    assert_same(measure(features.cuda(), **fit), measure(features, **fit), rel=1e-8)
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


def layered(counts, bias, dtype=torch.float32, seed=0):
    """Features, labels and a head of three layers, widths 12, 9, 7 and K."""
    features, labels = collapsed(counts, 12, 0.1, seed, dtype)
    generator = torch.Generator().manual_seed(seed + 1)
    widths = [12, 9, 7, len(counts)]
    weights = [
        torch.randn(after, before, generator=generator).to(dtype)
        for before, after in pairwise(widths)
    ]
    offsets = torch.randn(len(counts), generator=generator).to(dtype) if bias else None
    return features, labels, weights, offsets


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("counts", [[40, 20, 10], [1, 1, 1]])
def test_head_readings_agree_with_the_definitions(counts, bias):
    features, labels, weights, offsets = layered(counts, bias, torch.float64)
    found = {(layer, name): value for layer, name, value in head_readings(*layered(counts, bias))}
    w1, w2, w3 = (weight.numpy() for weight in weights)
    inputs, classes = features.numpy(), len(counts)
    target = unit(np.eye(classes) - bias / classes)
    for layer, product, weight in (("H1", w3 @ w2 @ w1, w1), ("H2", w3 @ w2, w2), ("H3", w3, w3)):
        expected = class_reference(inputs, labels, product, offsets)
        for key, value in expected.items():
            assert found[layer, key] == pytest.approx(value, rel=1e-4, abs=1e-6), (layer, key)
        spread = np.linalg.norm(unit(product @ product.T) - target)
        assert found[layer, "NC2_W"] == pytest.approx(spread, rel=1e-5)
        inputs = inputs @ weight.T
    spectra = {"W1": w1, "Z": features.numpy() @ (w3 @ w2 @ w1).T}
    for layer, matrix in spectra.items():
        values = [found[layer, f"singular_value[{i}]"] for i in range(classes)]
        expected = np.linalg.svd(matrix, compute_uv=False)[:classes]
        assert values == pytest.approx(expected, rel=1e-5)
    logits = inputs + (offsets.numpy() if bias else 0)
    assert found["all", "error"] == np.mean(logits.argmax(1) != labels.numpy())


def test_singular_values_of_the_logits_are_not_squared():
    # Squared, as in a Gram matrix, the smallest would drown in the rounding of the largest.
    features = torch.eye(4, dtype=torch.float64)[:, :3].repeat(5, 1)
    strengths = torch.tensor([1.0, 1e-6, 1e-11], dtype=torch.float64)
    weight = rotation(3) * strengths @ rotation(3).T
    readings = head_readings(features[:15], torch.arange(15) % 3, [weight], None)
    found = [value for layer, _, value in readings if layer == "Z"]
    expected = np.linalg.svd(features[:15].numpy() @ weight.numpy().T, compute_uv=False)
    assert found == pytest.approx(expected, rel=1e-4)


@needs_gpu
@pytest.mark.parametrize("bias", [False, True])
def test_head_readings_on_a_gpu(tf32, bias):
    features, labels, weights, offsets = layered([40, 20, 10], bias)
    expected = list(head_readings(features, labels, weights, offsets))
    head = [weight.cuda() for weight in weights], offsets.cuda() if bias else None
    found = list(head_readings(features.cuda(), labels.cuda(), *head))
    assert [reading[:2] for reading in found] == [reading[:2] for reading in expected]
    for (*key, value), (*_, other) in zip(found, expected, strict=True):
        assert value == pytest.approx(other, rel=1e-5, abs=1e-9), key


GOF_KEYS = ["NC2_W_GOF", "NC2_GOF", "NC3_GOF", "duality_GOF", "W_div_H"]


def drawn_frame(classes, dim, seed):
    """Lengths between 0.1 and 10, and a random orthonormal basis' first K directions."""
    generator = np.random.default_rng(seed)
    rows = np.linalg.qr(generator.normal(size=(dim, dim)))[0][:classes]
    weights, features = 10 ** generator.uniform(-1, 1, size=(2, classes))
    return weights, features, rows


def split(product, depth, seed):
    """W_1 to W_M of a product: all but the last are scaled isometries, ever wider."""
    generator = np.random.default_rng(seed)
    weights, left = [], product
    for _ in range(depth - 1):
        dim = left.shape[1]
        isometry = np.linalg.qr(generator.normal(size=(dim + 1, dim)))[0]
        weights.append(1.7 * isometry)
        left = left @ isometry.T / 1.7
    return [torch.from_numpy(weight) for weight in [*weights, left]]


def samples_of(means, counts, seed):
    """Shuffled features and labels whose class means are the given ones, up to rounding."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    noise = generator.normal(size=(len(labels), means.shape[1]))
    for label in range(len(counts)):
        noise[labels == label] -= noise[labels == label].mean(0)
    return torch.from_numpy(means[labels] + noise), torch.from_numpy(labels)


def gof_reference(means, product, weights, features):
    """The distances as `gof_readings` documents them; Hbar has the class means as columns."""
    hbar, p, h = means.T, weights, features
    rows, columns = np.diag(product @ product.T), np.diag(hbar.T @ hbar)
    pairs = {
        "NC2_W_GOF": (product @ product.T, np.diag(p**2)),
        "NC2_GOF": (hbar.T @ hbar, np.diag(h**2)),
        "NC3_GOF": (product @ hbar, np.diag(p * h)),
        "duality_GOF": (product, np.diag(p / h) @ hbar.T),
    }
    distances = {name: np.linalg.norm(unit(a) - unit(b)) for name, (a, b) in pairs.items()}
    return distances | {"W_div_H": np.linalg.norm(rows / columns - (p / h) ** 2)}


def frames_read(*arguments, **options):
    readings = list(frame_readings(*arguments, **options))
    found = {(layer, name): value for layer, name, value in readings}
    assert len(found) == len(readings)
    return found


shapes = dict(
    classes=st.integers(2, 6),
    wider=st.integers(0, 5),
    depth=st.integers(1, 4),
    seed=st.integers(0, 10**6),
)


@few
@given(**shapes)
def test_an_exact_general_orthogonal_frame(classes, wider, depth, seed):
    weights, lengths, rows = drawn_frame(classes, classes + wider, seed)
    counts = np.random.default_rng(seed).integers(1, 6, classes)
    features, labels = samples_of(lengths[:, None] * rows, counts, seed)
    head = split(weights[:, None] * rows, depth, seed)
    assert len(head) == depth
    found = frames_read(features, labels, head, (weights, lengths))
    for key in GOF_KEYS[:-1]:
        assert found.pop(("H1", key)) < 1e-12, key
    largest = np.max((weights / lengths) ** 2)
    assert found.pop(("H1", "W_div_H")) < 1e-11 * largest
    expected = {
        "feature_norm": lengths,
        "weight_norm": weights,
        "logit_norm": weights * lengths,
        "own_logit": weights * lengths,
        "alignment": np.ones(classes),
    }
    for name, values in expected.items():
        read = [found.pop(("H1", f"{name}[{k}]")) for k in range(classes)]
        assert read == pytest.approx(values, rel=1e-11), name
    assert not found


@few
@given(**shapes)
def test_grams_and_sizes_are_given_on_demand(classes, wider, depth, seed):
    generator = np.random.default_rng(seed)
    means, product = generator.normal(size=(2, classes, classes + wider))
    counts = generator.integers(1, 6, classes)
    features, labels = samples_of(means, counts, seed)
    head = split(product, depth, seed)
    plain = frames_read(features, labels, head)
    found = frames_read(features, labels, head, grams=True)
    assert plain.items() <= found.items()
    names = ("feature_norm", "weight_norm", "logit_norm", "own_logit", "alignment")
    assert set(plain) == {("H1", f"{name}[{k}]") for name in names for k in range(classes)}
    expected = {("all", f"class_size[{k}]"): size for k, size in enumerate(counts)}
    for name, vectors in (("class_gram", means), ("product_gram", product)):
        expected |= {
            ("H1", f"{name}[{k},{other}]"): vectors[k] @ vectors[other]
            for k in range(classes)
            for other in range(k, classes)
        }
    added = {key: value for key, value in found.items() if key not in plain}
    assert added == pytest.approx(expected, rel=1e-10, abs=1e-10)
    for k in range(classes):
        cosine = means[k] @ product[k] / np.linalg.norm(means[k]) / np.linalg.norm(product[k])
        assert plain["H1", f"alignment[{k}]"] == pytest.approx(cosine, abs=1e-11)
        logit = np.linalg.norm(product @ means[k])
        assert plain["H1", f"logit_norm[{k}]"] == pytest.approx(logit, rel=1e-11)
        own = product[k] @ means[k]
        assert plain["H1", f"own_logit[{k}]"] == pytest.approx(own, rel=1e-9, abs=1e-11)


@few
@given(**shapes, size=st.sampled_from([1e-4, 0.1, 1.0]))
def test_a_perturbed_frame_agrees_with_the_definitions(classes, wider, depth, seed, size):
    weights, lengths, rows = drawn_frame(classes, classes + wider, seed)
    generator = np.random.default_rng(seed)
    means, product = (
        norms[:, None] * rows + size * norms.min() * generator.normal(size=rows.shape)
        for norms in (lengths, weights)
    )
    counts = generator.integers(1, 6, classes)
    features, labels = samples_of(means, counts, seed)
    found = frames_read(features, labels, split(product, depth, seed), (weights, lengths))
    expected = gof_reference(means, product, weights, lengths)
    assert min(expected.values()) > 1e-7
    for key, value in expected.items():
        assert found["H1", key] == pytest.approx(value, rel=1e-7), key


@pytest.mark.parametrize("scale", [1e-6, 3.0, 1e6])
def test_gof_distances_do_not_depend_on_scales(scale):
    weights, lengths, rows = (torch.from_numpy(each) for each in drawn_frame(4, 6, 0))
    generator = torch.Generator().manual_seed(0)
    means, product = (
        norms[:, None] * rows + 0.1 * torch.randn(4, 6, generator=generator, dtype=torch.float64)
        for norms in (lengths, weights)
    )
    expected = gof_readings(means, product, weights, lengths)
    scaled = [
        gof_readings(scale * means, product, weights, lengths),
        gof_readings(means, scale * product, weights, lengths),
        gof_readings(means, product, scale * weights, lengths),
        gof_readings(means, product, weights, scale * lengths),
    ]
    for found in scaled:
        for key in GOF_KEYS[:-1]:
            assert found[key] == pytest.approx(expected[key], rel=1e-9), key
    # What is not relative tells the scale.
    found = gof_readings(means, scale * product, scale * weights, lengths)
    assert found["W_div_H"] == pytest.approx(scale**2 * expected["W_div_H"], rel=1e-9)


def test_a_collapsed_class_leaves_the_others_to_be_compared():
    weights, lengths, rows = drawn_frame(4, 6, 1)
    weights[2] = lengths[2] = 0
    features = torch.from_numpy((lengths[:, None] * rows).repeat(2, 0))
    labels, head = torch.arange(4).repeat_interleave(2), split(weights[:, None] * rows, 2, 1)
    found = frames_read(features, labels, head, (weights, lengths))
    for key in GOF_KEYS[:-1]:
        assert found["H1", key] < 1e-12, key
    assert ("H1", "W_div_H") not in found and ("H1", "alignment[2]") not in found
    for name in ("feature_norm", "weight_norm", "logit_norm", "own_logit"):
        assert found["H1", f"{name}[2]"] == 0
    assert sum(name.startswith("alignment") for _, name in found) == 3


def test_a_class_that_only_theory_or_only_training_collapses():
    ones, two = torch.ones(3).double(), torch.tensor([1, 1, 0]).double()
    rows = torch.from_numpy(drawn_frame(3, 4, 1)[2])
    distance = np.linalg.norm(unit(np.eye(3)) - unit(np.diag([1, 1, 0])))
    expected = dict.fromkeys(GOF_KEYS[:3], distance)
    dead, alive = two[:, None] * rows, rows
    found = gof_readings(dead, dead, ones, ones)
    # P and the class means agree on the class that is zero.
    assert found == pytest.approx(expected | {"duality_GOF": 0, "W_div_H": None}, abs=1e-12)
    found = gof_readings(alive, alive, two, two)
    rest = np.linalg.norm(unit(alive.numpy()) - unit(dead.numpy()))
    assert found == pytest.approx(expected | {"duality_GOF": rest, "W_div_H": None})


@pytest.mark.parametrize("zero", ["theory", "means", "product"])
def test_nothing_is_compared_with_zero(zero):
    weights, lengths, rows = (torch.from_numpy(each) for each in drawn_frame(3, 4, 2))
    means, product = lengths[:, None] * rows, weights[:, None] * rows
    if zero == "theory":
        found = gof_readings(means, product, 0 * weights, 0 * lengths)
        assert found == dict.fromkeys(GOF_KEYS)
        return
    if zero == "means":
        found = gof_readings(0 * means, product, weights, lengths)
        defined = {"NC2_W_GOF"}
    else:
        found = gof_readings(means, 0 * product, weights, lengths)
        defined = {"NC2_GOF", "W_div_H"}
    assert {key for key, value in found.items() if value is not None} == defined


def test_metric_functions_take_the_statistics():
    features, labels = collapsed([30, 20], 8, 0.3)
    assert nc1(class_statistics(features, labels)) == measure(features, labels)["NC1"]


# Regression


def regression_reference(features, targets, weight, bias):
    h = np.asarray(features, dtype=np.float64)
    y = np.asarray(targets, dtype=np.float64)
    w = np.asarray(weight, dtype=np.float64)
    n = y.shape[1]
    centred = h - h.mean(0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    main = directions[:n].T @ directions[:n]
    span = np.linalg.pinv(w) @ w

    def residual(vectors, projection):
        u = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.mean(np.sum((u - u @ projection) ** 2, 1))

    shares = (singular**2 / np.sum(singular**2))[:5]
    error = h @ w.T + bias - y
    result = {
        "NRC1": residual(h, main),
        "NRC1_centred": residual(centred, main),
        "explained_variance_ratio": [*shares, *[0.0] * (5 - len(shares))],
        "NRC2": residual(h, span),
        "NRC2_centred": residual(centred, span),
        "r2": 1 - np.sum(error**2) / np.sum((y - y.mean(0)) ** 2),
        "mse": np.mean(error**2),
    }
    if n > 1:
        values, vectors = np.linalg.eigh(np.cov(y.T, ddof=0))
        root = (vectors * np.sqrt(values)) @ vectors.T

        def distance(gamma):
            return np.linalg.norm(unit(w @ w.T) - unit(root - math.sqrt(gamma) * np.eye(n))) ** 2

        grid = np.linspace(0, values[0], 4001)[:-1]
        searched = [distance(gamma) for gamma in grid]
        result |= {"NRC3": min(searched), "gamma": grid[np.argmin(searched)]}
    return result


@few
@given(
    outputs=st.integers(1, 4),
    dim=st.integers(2, 9),
    samples=st.sampled_from([5, 12, 40]),
    seed=st.integers(0, 10**6),
)
def test_regression_agrees_with_the_definitions(outputs, dim, samples, seed):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    features = torch.randn(samples, dim, generator=generator, dtype=torch.float64) @ mix + 1
    weight = torch.randn(outputs, dim, generator=generator, dtype=torch.float64)
    bias = torch.randn(outputs, generator=generator, dtype=torch.float64)
    noise = torch.randn(samples, outputs, generator=generator, dtype=torch.float64)
    targets = features @ weight.T + 0.3 * noise
    found = measure(features, targets=targets, weight=weight, bias=bias)
    expected = regression_reference(features, targets, weight, bias.numpy())
    assert list(found) == list(expected)
    if outputs > 1:
        searched, gamma = expected.pop("NRC3"), expected.pop("gamma")
        found_nrc3, found_gamma = found.pop("NRC3"), found.pop("gamma")
        assert found_nrc3 <= searched + 1e-12
        assert found_nrc3 == pytest.approx(searched, rel=1e-3, abs=1e-6)
        assert found_gamma == pytest.approx(gamma, rel=1e-2, abs=1e-2 * gamma + 1e-3)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-7, abs=1e-10), key


def ufm_minimum(sigma, decay, dim):
    """W W^T and features at the global minimum of the regression UFM, decay = c."""
    values, vectors = torch.linalg.eigh(sigma)
    strengths = values.sqrt() - math.sqrt(decay)
    frame = torch.linalg.qr(torch.randn(dim, len(values), dtype=torch.float64))[0]
    return vectors @ torch.diag(strengths.sqrt()) @ vectors.T @ frame.T, strengths.flip(0)


def test_the_regression_minimum_is_collapsed():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    targets = targets @ torch.tensor([[2, 0, 0], [0.5, 1, 0], [0, 0.3, 0.7]], dtype=torch.float64)
    centred = targets - targets.mean(dim=0)
    sigma = centred.T @ centred / 200
    weight, strengths = ufm_minimum(sigma, 0.04, 16)
    values, vectors = torch.linalg.eigh(sigma)
    whiten = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    features = centred @ whiten @ weight
    found = measure(features, targets=targets, weight=weight, bias=targets.mean(dim=0))
    for key in ("NRC1", "NRC1_centred", "NRC2", "NRC2_centred", "NRC3"):
        assert found[key] == pytest.approx(0, abs=1e-14), key
    assert found["gamma"] == pytest.approx(0.04, rel=1e-6)
    assert found["mse"] == pytest.approx(0.04, rel=1e-9)
    assert found["r2"] == pytest.approx(1 - 3 * 0.04 / float(sigma.trace()), rel=1e-9)
    shares = (strengths / strengths.sum()).tolist() + [0, 0]
    assert found["explained_variance_ratio"] == pytest.approx(shares, abs=1e-12)


@pytest.mark.parametrize(
    ("gram_values", "gamma"),
    [
        ((4.0, 1.0), 0.0),
        ((3.0, 1.0), 0.0),
        ((6.0, 1.0), 0.36),
        ((1.0, 0.0), 1.0),
        ((1.0, 4.0), 0.0),
    ],
)
def test_gamma_ends(gram_values, gamma):
    # Sigma = diag(9, 1): S - g I ~ (3 - g, 1 - g), parallel to (r, 1) at g = (r - 3) / (r - 1).
    corners = torch.tensor([[3.0, 1], [3, -1], [-3, 1], [-3, -1]], dtype=torch.float64)
    weight = torch.tensor(gram_values, dtype=torch.float64).sqrt().diag()
    found = measure(torch.randn(4, 2), targets=corners, weight=weight)
    expected = {(4.0, 1.0): (1 / 3) ** 2}.get(gram_values, gamma)
    assert found["gamma"] == pytest.approx(expected, abs=1e-12)


def test_gamma_is_zero_when_nothing_depends_on_it():
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    found = measure(torch.randn(4, 3), targets=corners, weight=torch.randn(2, 3))
    assert found["gamma"] == 0.0


def test_one_target_has_no_nrc3():
    found = measure(torch.randn(9, 3), targets=torch.randn(9, 1), weight=torch.randn(1, 3))
    assert "NRC3" not in found
    assert "gamma" not in found


def test_without_a_weight_only_the_features_are_measured():
    found = measure(torch.randn(9, 3), targets=torch.randn(9, 2))
    assert list(found) == ["NRC1", "NRC1_centred", "explained_variance_ratio"]


def test_constant_regression_features_do_not_pass_for_collapse():
    features, targets, weight = torch.full((30, 4), 0.1), torch.randn(30, 2), torch.randn(2, 4)
    for constant in (features, features.double(), torch.zeros(30, 4)):
        found = measure(constant, targets=targets, weight=weight)
        for key in ("NRC1", "NRC1_centred", "NRC2_centred", "explained_variance_ratio"):
            assert found[key] is None, key
    assert found["NRC2"] is None


def test_dead_features_count_as_no_residual():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    targets = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    alive = measure(features, targets=targets, weight=features[:2])["NRC2"]
    features = torch.cat([features, torch.zeros(20, 5, dtype=torch.float64)])
    dead = measure(features, targets=torch.cat([targets, targets]), weight=features[:2])["NRC2"]
    assert dead == pytest.approx(alive / 2, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", [0, 1e-14])
def test_a_target_without_variance_is_refused(dtype, noise):
    targets = torch.randn(9, 2, dtype=dtype)
    targets[:, 1] = 0.1 + noise * torch.arange(9)
    with pytest.raises(InputError, match="targets: column 1 has zero variance, it is 0.1"):
        measure(torch.randn(9, 3), targets=targets, weight=torch.randn(2, 3))


def test_zero_weight():
    found = measure(torch.randn(9, 3), targets=torch.randn(9, 2), weight=torch.zeros(2, 3))
    assert (found["NRC3"], found["gamma"]) == (None, None)
    assert found["NRC2"] == pytest.approx(1)


def test_regression_residuals_reach_the_floor_of_float32():
    generator = torch.Generator().manual_seed(0)
    plane = torch.randn(2, 64, generator=generator, dtype=torch.float64)
    codes = torch.randn(500, 2, generator=generator, dtype=torch.float64)
    features = codes @ plane
    assert measure(features, targets=codes, weight=plane)["NRC1"] < 1e-28
    assert measure(features.float(), targets=codes, weight=plane)["NRC1"] < 1e-13


def test_spectrum_of_fewer_samples_than_features():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 40, generator=generator, dtype=torch.float64)
    spectrum = regression_statistics(features, torch.randn(6, 2)).spectrum
    expected = np.linalg.eigvalsh(np.cov(features.T, ddof=0))[::-1][:6]
    np.testing.assert_allclose(spectrum, expected, atol=1e-12)


# Bad input

FEATURES, LABELS = collapsed([3, 3, 3], 4, 0.1)
TARGETS, WEIGHT, BIAS = torch.ones(9, 2), torch.ones(3, 4), torch.ones(3)


def spoiled(tensor, index, value):
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


BAD = {
    "neither": (dict(), "features: found with neither labels nor targets"),
    "both": (dict(labels=LABELS, targets=TARGETS), "both labels and targets"),
    "features of one axis": (dict(features=torch.ones(9), labels=LABELS), "features: shape 9"),
    "features of three axes": (
        dict(features=torch.ones(9, 2, 2), labels=LABELS),
        "features: shape 9 x 2 x 2, allowed is N x d",
    ),
    "no samples": (
        dict(features=torch.ones(0, 4), labels=LABELS[:0]),
        "features: shape 0 x 4 is empty",
    ),
    "integer features": (
        dict(features=torch.ones(9, 4, dtype=torch.int32), labels=LABELS),
        "features: dtype int32, allowed are float16",
    ),
    "NaN in features": (
        dict(features=spoiled(FEATURES, (7, 2), math.nan), labels=LABELS),
        "features: 1 of 4 values in row 7 are NaN, infinite",
    ),
    "infinity in features": (
        dict(features=spoiled(FEATURES, 5, -math.inf), labels=LABELS),
        "features: 4 of 4 values in row 5",
    ),
    "NaN in the first row": (
        dict(features=spoiled(FEATURES.double(), (0, 0), math.nan), labels=LABELS),
        "features: 1 of 4 values in row 0",
    ),
    "huge features": (
        dict(features=1e200 * FEATURES.double(), labels=LABELS),
        "features: 4 of 4 values in row 0",
    ),
    "NaN in regression features": (
        dict(features=spoiled(FEATURES, (7, 2), math.nan), targets=TARGETS),
        "features: 1 of 4 values in row 7",
    ),
    "float labels": (dict(labels=LABELS.float()), "labels: dtype float32, allowed are integers"),
    "bool labels": (dict(labels=LABELS.bool()), "labels: dtype bool"),
    "one-hot labels": (
        dict(labels=torch.nn.functional.one_hot(LABELS)),
        "labels: shape 9 x 3, allowed is N",
    ),
    "fewer labels": (dict(labels=LABELS[:8]), "labels: 8 rows, .* 9 rows of features"),
    "negative label": (
        dict(labels=spoiled(LABELS, 4, -1)),
        "labels: row 4 is -1, allowed are 0 to K-1",
    ),
    "label beyond the weight": (
        dict(labels=spoiled(LABELS, 4, 3), weight=WEIGHT),
        "labels: row 4 is 3, allowed are 0 to 2",
    ),
    "missing class": (
        dict(labels=torch.where(LABELS == 1, 2, LABELS)),
        "labels: class 1 has no sample, allowed are at least 2 .* 0 to 2",
    ),
    "absurd label": (dict(labels=spoiled(LABELS, 4, 2**60)), "labels: class 3 has no sample"),
    "single sample": (
        dict(labels=torch.tensor([0, 0, 0, 1, 2, 2, 2, 0, 0])),
        "labels: class 1 has 1 sample",
    ),
    "narrow weight": (
        dict(labels=LABELS, weight=WEIGHT[:, :3]),
        "weight: 3 columns, .* 4 columns of features",
    ),
    "weight of one axis": (dict(labels=LABELS, weight=BIAS), "weight: shape 3, allowed is K x d"),
    "empty weight": (dict(labels=LABELS, weight=WEIGHT[:0]), "weight: no rows"),
    "integer weight": (dict(labels=LABELS, weight=WEIGHT.int()), "weight: dtype int32"),
    "NaN in weight": (
        dict(labels=LABELS, weight=spoiled(WEIGHT, (2, 1), math.nan)),
        "weight: 1 of 4 values in row 2",
    ),
    "bias alone": (dict(labels=LABELS, bias=BIAS), "bias: found without weight"),
    "short bias": (
        dict(labels=LABELS, weight=WEIGHT, bias=BIAS[:2]),
        "bias: 2 values, .* 3 rows of weight",
    ),
    "bias of two axes": (
        dict(labels=LABELS, weight=WEIGHT, bias=BIAS[None]),
        "bias: shape 1 x 3, allowed is K",
    ),
    "infinity in bias": (
        dict(labels=LABELS, weight=WEIGHT, bias=spoiled(BIAS, 1, math.inf)),
        "bias: 1 of 1 values in row 1",
    ),
    "targets of one axis": (dict(targets=torch.ones(9)), "targets: shape 9, allowed is N x n"),
    "integer targets": (dict(targets=LABELS[:, None]), "targets: dtype int64, allowed are float"),
    "fewer targets": (dict(targets=TARGETS[:8]), "targets: 8 rows, .* 9 rows of features"),
    "empty targets": (dict(targets=TARGETS[:, :0]), "targets: shape 9 x 0 is empty"),
    "NaN in targets": (
        dict(targets=spoiled(TARGETS, (3, 0), math.nan)),
        "targets: 1 of 2 values in row 3",
    ),
    "weight of other targets": (
        dict(targets=TARGETS, weight=WEIGHT),
        "weight: 3 rows, .* 2 columns of targets",
    ),
}


@pytest.mark.parametrize(("given_", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(given_, message):
    with pytest.raises(InputError, match=message) as caught:
        measure(**{"features": FEATURES} | given_)
    assert "\n" not in str(caught.value)


def test_bad_rows_are_named_by_their_place_in_the_whole(monkeypatch):
    monkeypatch.setitem(rows.ELEMENTS_PER_BLOCK, "cpu", 8)
    with pytest.raises(InputError, match="in row 7 "):
        measure(Stream(spoiled(FEATURES, (7, 2), math.nan)), LABELS)


def test_accuracy_is_given_for_all_and_by_class():
    logits = torch.eye(4)[torch.tensor([0, 0, 1, 2, 2, 2])]
    labels = torch.tensor([0, 1, 1, 2, 2, 0])
    found = {name: value for _, name, value in accuracy_readings(logits, labels)}
    # The fourth class has no held-out sample.
    assert found == pytest.approx(
        {
            "test_accuracy": 4 / 6,
            "test_accuracy[0]": 1 / 2,
            "test_accuracy[1]": 1 / 2,
            "test_accuracy[2]": 1.0,
        }
    )
