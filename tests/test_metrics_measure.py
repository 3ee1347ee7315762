"""What `measure` takes: any block size, format, device and precision; and what it refuses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse.errors import InputError
from collapse.metrics import checks, measure, rows
from conftest import FEW, assert_metrics, collapsed, needs_gpu, random_head


class Stream:
    """Features that can only be sliced."""

    def __init__(self, tensor):
        self._tensor, self.shape, self.dtype = tensor, tuple(tensor.shape), tensor.dtype
        self.largest = 0

    def __getitem__(self, window):
        self.largest = max(self.largest, window.stop - window.start)
        return self._tensor[window]


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
    assert_metrics(measure(stream, labels, weight=weight, bias=bias), whole, rel)
    assert_metrics(measure(stream, targets=targets, weight=weight[:2], bias=bias[:2]), whole_fit)
    assert stream.largest <= per_block


def test_blocks_shrink_where_classes_outnumber_columns(monkeypatch):
    features, labels = collapsed([4] * 50, 3, 0.3)
    weight, _ = random_head(50, 3)
    expected = measure(features, labels, weight=weight)
    monkeypatch.setitem(rows.ELEMENTS_PER_BLOCK, "cpu", 1000)
    stream = Stream(features)
    assert_metrics(measure(stream, labels, weight=weight), expected, rel=1e-5)
    assert stream.largest * 50 <= 1000


def test_arrays_and_strided_tensors_are_measured_alike():
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


@needs_gpu
@pytest.mark.parametrize("small", [0, 10**9])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_gpu_measures_what_a_cpu_measures(monkeypatch, tf32, dtype, small):
    monkeypatch.setattr(rows, "SMALL", small)
    features, labels = collapsed([600, 300, 90, 9], 48, 1e-5, dtype=dtype)
    weight, bias = random_head(4, 48)
    targets = (features[:, :2] + torch.sin(features[:, 3:5])).float()
    monkeypatch.setitem(rows.ELEMENTS_PER_BLOCK, "cuda", 48 * 100)
    head = {"weight": weight.cuda(), "bias": bias.cuda()}
    found = measure(features.cuda(), labels.cuda(), **head)
    assert_metrics(found, measure(features, labels, weight=weight, bias=bias), rel=1e-5)
    assert found == measure(features.cuda(), labels, weight=weight, bias=bias)
    fit = {"targets": targets, "weight": weight[:2], "bias": bias[:2]}
    assert_metrics(measure(features.cuda(), **fit), measure(features, **fit), rel=1e-8)
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


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
    "targets that do not vary": (
        dict(targets=torch.full((9, 2), 0.1)),
        "targets: column 0 has zero variance, it is 0.1 in every row",
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


@FEW
@given(st.floats(1e-3, 1e6), st.sampled_from([-1, 1]), st.integers(2, 9), st.booleans())
def test_a_target_that_varies_by_rounding_only_is_refused(value, sign, samples, rounded):
    given = torch.randn(samples, 2, generator=torch.Generator().manual_seed(0)).double()
    given[:, 1] = sign * value
    if rounded:
        given[0, 1] = np.nextafter(sign * value, np.inf)
    with pytest.raises(InputError, match="targets: column 1 has zero variance"):
        checks.check_spread(given)
    given[0, 1] = sign * value * (1 + 1e-9)
    checks.check_spread(given)
