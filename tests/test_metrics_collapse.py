"""The collapse metrics of labelled features, against their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
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
    study_metrics,
)
from conftest import (
    CLASS_KEYS,
    FEW,
    assert_metrics,
    class_reference,
    collapsed,
    random_head,
    rotation,
)

KERNEL_KEYS = [
    f"GNC2_{kernel}_{moment}"
    for kernel in ("distance", "log", "riesz")
    for moment in ("mean", "variance")
]
FURTHER_KEYS = ["CDNV_2", "NC2_GOF_own", "VCI", "effective_rank", *KERNEL_KEYS]
TWINS = ["NC1", "NC1_ratio", "NC2_ETF", "equinorm", "equiangularity", *KERNEL_KEYS]


@FEW
@given(
    counts=st.lists(st.integers(2, 9), min_size=2, max_size=6),
    dim=st.integers(2, 12),
    noise=st.sampled_from([1.0, 0.3, 1e-3]),
    seed=st.integers(0, 10**6),
    bias=st.booleans(),
)
def test_metrics_agree_with_their_definitions(counts, dim, noise, seed, bias):
    features, labels = collapsed(counts, dim, noise, seed, torch.float64)
    weight, offsets = random_head(len(counts), dim, seed, torch.float64)
    offsets = offsets if bias else None
    found = measure(features, labels, weight=weight, bias=offsets)
    assert_metrics(found, class_reference(features, labels, weight, offsets), rel=1e-7)
    unweighted = [f"{key}_unweighted" for key in TWINS]
    assert list(measure(features, labels)) == [*CLASS_KEYS, *FURTHER_KEYS, *unweighted]
    assert tuple(study_metrics(features, labels)) == CLASS_KEYS
    for key, value in study_metrics(features, labels, weight=weight, bias=offsets).items():
        assert value == found[key]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_formats_agree_with_float64_of_the_same_values(dtype):
    features, labels = collapsed([900, 300, 90, 9], 48, 0.5, dtype=dtype)
    weight, bias = random_head(4, 48, dtype=dtype)
    expected = class_reference(features.double(), labels, weight.double(), bias.double())
    assert_metrics(measure(features, labels, weight=weight, bias=bias), expected, rel=2e-6)


@pytest.mark.parametrize("counts", [[2000] * 10, [6000, 3000, 1000, 300, 100, 30, 10, 3, 2, 2]])
@pytest.mark.parametrize("noise", [1e-4, 1.2e-5, 1e-6])
def test_float32_holds_down_to_its_own_resolution(counts, noise):
    features, labels = collapsed(counts, 128, noise)
    weight, bias = random_head(10, 128)
    expected = class_reference(features, labels, weight, bias)
    if noise == 1.2e-5:
        assert 5e-12 < expected["NC1"] < 2e-11
    found = measure(features, labels, weight=weight, bias=bias)
    # Of squares: singular values of 1e-6 of the largest are right to a part in a thousand.
    assert found.pop("effective_rank") == pytest.approx(expected.pop("effective_rank"), rel=2e-4)
    assert_metrics(found, expected, rel=1e-5)


def test_nearly_dependent_class_means_are_measured_exactly():
    features, labels = collapsed([400] * 5, 32, 0.01)
    features[:, 1:] *= 1e-3
    assert_metrics(measure(features, labels), class_reference(features, labels), rel=1e-5)


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
def test_an_offset_that_dwarfs_the_spread_does_not_blur_the_metrics(dtype, offset, spread):
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_constant_column_changes_no_metric_of_the_centred(dtype):
    small = 1e-4 if dtype == torch.float16 else 1e-18
    features, labels = collapsed([6, 4, 5], 4, 0.4)
    features = (small * features).to(dtype)
    wide = torch.cat([torch.ones(15, 1, dtype=dtype), features], 1)
    expected, found = measure(features, labels), measure(wide, labels)
    # The others have an uncentred mean, a dimension or a distance to the fourth in them.
    for key in ("NC1", "NC1_ratio", "CDNV", "NC2_ETF", "equinorm", "equiangularity", "VCI"):
        assert found[key] == pytest.approx(expected[key], rel=1e-6), key


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100])
def test_the_scale_of_the_weight_changes_no_metric(scale):
    features, labels = collapsed([6, 4, 5], 4, 0.4)
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = measure(features, labels, weight=weight)
    found = measure(features, labels, weight=scale * weight)
    assert found.pop("NC4_by_class") == expected.pop("NC4_by_class")
    assert found == pytest.approx(expected, rel=1e-9)


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


def test_class_statistics_are_means_counts_and_spread():
    features, labels = collapsed([5, 3, 2], 4, 0.3)
    statistics = class_statistics(features, labels)
    h, y = features.double().numpy(), labels.numpy()
    means = np.stack([h[y == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(statistics.means, means, rtol=1e-14)
    np.testing.assert_allclose(class_means(features, labels), means, rtol=1e-14)
    np.testing.assert_allclose(statistics.means - statistics.centred, [h.mean(0)] * 3, rtol=1e-12)
    within = np.sum((h - means[y]) ** 2) / 10
    assert float(statistics.within_trace) == pytest.approx(within, rel=1e-6)
    assert statistics.samples == 10
    assert statistics.counts.tolist() == [5, 3, 2]


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 2.0**100])
def test_rotation_and_scale_change_no_metric(scale):
    features, labels = collapsed([30, 20, 10], 8, 0.3, dtype=torch.float64)
    weight, _ = random_head(3, 8, dtype=torch.float64)
    turn = rotation(8)
    found = measure(scale * features @ turn, labels, weight=0.1 * weight @ turn)
    found["CDNV_2"] *= scale**2
    assert_metrics(found, measure(features, labels, weight=weight), rel=1e-9)


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_float32_is_measured_outside_the_range_of_its_squares(scale):
    features, labels = collapsed([30, 20, 10], 8, 0.3)
    weight, _ = random_head(3, 8)
    found = measure(scale * features, labels, weight=weight)
    found["CDNV_2"] *= scale**2
    assert_metrics(found, measure(features, labels, weight=weight), rel=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_an_exact_etf_is_at_distance_zero(classes):
    etf = torch.linalg.qr(torch.eye(classes + 2, dtype=torch.float64))[0][:classes]
    etf = (etf - etf.mean(dim=0)) @ rotation(classes + 2)
    features = torch.cat([5 * etf + 0.25, 5 * etf - 0.25])
    labels = torch.arange(classes).repeat(2)
    found = measure(features, labels, weight=3 * etf, bias=torch.zeros(classes))
    for key in ("NC2_ETF", "equinorm", "equiangularity", "NC3", "NC3_product", "NC4"):
        assert found[key] == pytest.approx(0, abs=1e-14), key
    assert measure(features, labels, weight=3 * etf)["NC3_product"] > 0.1


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_an_exact_orthogonal_frame_is_at_distance_zero(classes):
    frame = 2 * rotation(classes + 1)[:classes]
    features, labels = frame.repeat(3, 1), torch.arange(classes).repeat(3)
    found = measure(features, labels, weight=frame)
    # Centring an orthogonal frame makes it a simplex ETF.
    for key in ("NC1", "NC1_ratio", "CDNV", "NC2_OF", "NC2_ETF", "NC3_product", "NC4"):
        assert found[key] == pytest.approx(0, abs=1e-14), key
    etf = frame - frame.mean(dim=0)
    distance = measure(torch.cat([etf, etf]), labels[: 2 * classes])["NC2_OF"]
    assert distance == pytest.approx(math.sqrt(2 - 2 * math.sqrt(1 - 1 / classes)), rel=1e-12)


def test_grams_of_frames_have_unit_norm_and_tell_frames_apart():
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


def test_one_class_has_no_collapse():
    with pytest.raises(InputError, match="^labels: class 0 is the only one, allowed are two"):
        measure(torch.randn(6, 3), torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-300])
def test_constant_features_do_not_pass_for_collapse(value):
    features = torch.full((9, 4), value, dtype=torch.float64)
    given = {"labels": torch.arange(3).repeat(3), "weight": torch.zeros(3, 4)}
    if value == 0.1:
        found = measure(features, **given)
        assert found.pop("NC2_OF") > 0 and found.pop("NC2_GOF_own") > 0
        assert set(found.values()) == {None}
    else:
        with pytest.raises(InputError, match="^features: no metric is defined of them, all rows"):
            measure(features, **given)


def test_class_means_that_only_rounding_tells_apart():
    cloud = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    found = measure(torch.cat([cloud, cloud[order]]), torch.arange(2).repeat_interleave(50))
    for key in ("NC1", "NC1_ratio", "CDNV", "NC2_ETF", "equinorm", "equiangularity"):
        assert found[key] is None, key


def test_two_equal_class_means_leave_undefined_what_divides_by_their_distance():
    means = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    features = torch.cat([means + 0.5, means - 0.5])
    found = measure(features, torch.arange(3).repeat(2))
    undefined = {key for key, value in found.items() if value is None}
    infinite = [key for key in KERNEL_KEYS if "distance" not in key]
    twins = [f"{key}_unweighted" for key in infinite]
    assert undefined == {"CDNV", "CDNV_2", *infinite, *twins}


def test_more_rows_of_weight_than_labels_is_a_class_without_samples():
    features, labels = collapsed([4, 4], 3, 0.1)
    with pytest.raises(InputError, match="labels: class 2 has no sample"):
        measure(features, labels, weight=torch.randn(3, 3))


def test_metric_functions_take_the_statistics():
    features, labels = collapsed([30, 20], 8, 0.3)
    assert nc1(class_statistics(features, labels)) == measure(features, labels)["NC1"]
