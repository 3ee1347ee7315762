"""Reliability and calibration errors, against their definitions sample by sample."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse.errors import InputError
from collapse.metrics import (
    confidence,
    confidence_gap,
    expected_calibration_error,
    reliability,
)
from conftest import FEW, needs_gpu


def drawn(samples, classes, seed):
    """Logits from unsure to sure, and labels that they are right about now and then."""
    random = np.random.default_rng(seed)
    logits = random.standard_normal((samples, classes)) * random.uniform(0, 8, (samples, 1))
    labels = np.where(random.random(samples) < 0.5, logits.argmax(1), random.integers(classes))
    return torch.from_numpy(logits), torch.from_numpy(labels)


def logits_of(probabilities):
    """Logits of two classes, the first one's probability as given."""
    first = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([first.log(), (1 - first).log()], 1)


def by_hand(logits, labels, bins):
    """Each bin's samples: confidences and whether they are right."""
    logits, content = logits.numpy(), [[] for _ in range(bins)]
    for row, label in zip(logits, labels.tolist(), strict=True):
        odds = np.exp(row - row.max())
        sure = odds.max() / odds.sum()
        # The first bin whose upper edge is not below it.
        place = next(b for b in range(bins) if sure <= (b + 1) / bins or b == bins - 1)
        content[place].append((sure, float(row.argmax() == label)))
    return content


@FEW
@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 20), st.integers(0, 2**31))
def test_bins_and_errors_agree_with_their_definitions(samples, classes, bins, seed):
    logits, labels = drawn(samples, classes, seed)
    found, error = reliability(logits, labels, bins), 0.0
    for place, content in enumerate(by_hand(logits, labels, bins)):
        assert found.low[place] == pytest.approx(place / bins)
        assert found.high[place] == pytest.approx((place + 1) / bins)
        assert found.count[place] == len(content)
        values = found.confidence[place].item(), found.accuracy[place].item()
        means = np.mean(content, axis=0) if content else (np.nan, np.nan)
        assert values == pytest.approx(tuple(means), abs=1e-12, nan_ok=True)
        error += len(content) / samples * abs(means[0] - means[1]) if content else 0
    assert expected_calibration_error(logits, labels, bins) == pytest.approx(error, abs=1e-12)
    every = np.array(sum(by_hand(logits, labels, bins), []))
    assert confidence(logits) == pytest.approx(every[:, 0].mean(), abs=1e-12)
    gap = every[:, 0].mean() - every[:, 1].mean()
    assert confidence_gap(logits, labels) == pytest.approx(gap, abs=1e-12)


def test_a_confidence_on_an_edge_is_in_the_bin_below_it():
    # Softmax of equal logits is exact: 1/2 and 1/4.
    halves, quarters = torch.zeros(2, 2), torch.zeros(2, 4)
    assert reliability(halves, torch.tensor([0, 1]), 4).count.tolist() == [0, 2, 0, 0]
    assert reliability(quarters, torch.tensor([0, 1]), 4).count.tolist() == [2, 0, 0, 0]
    certain = torch.tensor([[800.0, 0.0], [0.0, 1e30]])
    found = reliability(certain, torch.tensor([0, 0]), 4)
    assert found.count.tolist() == [0, 0, 0, 2] and found.confidence[3] == 1


def test_the_gap_is_signed_and_the_error_is_not():
    over = logits_of([0.9] * 10), torch.tensor([0] * 7 + [1] * 3)
    under = logits_of([0.6] * 10), torch.tensor([0] * 10)
    for (logits, labels), gap in ((over, 0.2), (under, -0.4)):
        assert confidence_gap(logits, labels) == pytest.approx(gap)
        assert expected_calibration_error(logits, labels) == pytest.approx(abs(gap))
    # Together they are calibrated on average, and bin by bin they are not.
    logits = torch.cat([*[over[0]] * 2, under[0]])
    labels = torch.cat([*[over[1]] * 2, under[1]])
    assert confidence_gap(logits, labels) == pytest.approx(0, abs=1e-12)
    assert expected_calibration_error(logits, labels) == pytest.approx(4 / 15)


def test_answers_that_are_right_as_often_as_they_are_sure_are_calibrated():
    random = np.random.default_rng(0)
    logits = torch.from_numpy(2 * random.standard_normal((40000, 5)))
    odds = logits.softmax(1).numpy().cumsum(1)
    labels = torch.from_numpy((random.random((len(odds), 1)) > odds).sum(1).clip(max=4))
    assert expected_calibration_error(logits, labels) < 0.015
    assert expected_calibration_error(3 * logits, labels) > 0.1


def test_narrow_logits_are_widened_first():
    logits, labels = drawn(50, 4, 0)
    narrow = logits.half()
    found, expected = reliability(narrow, labels), reliability(narrow.double(), labels)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@needs_gpu
def test_a_gpu_says_the_same():
    logits, labels = drawn(500, 10, 0)
    found = reliability(logits.cuda(), labels.cuda())
    for one, other in zip(found, reliability(logits, labels), strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


@pytest.mark.parametrize(
    ("logits", "labels", "bins", "words"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=int), 15, "logits: shape 3, allowed is N x K"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=int), 15, "logits: shape 0 x 2 is empty"),
        (torch.tensor([[0.0, torch.nan]]), torch.tensor([0]), 15, "logits: 1 of 2 values in row 0"),
        (torch.zeros(2, 3, dtype=int), torch.tensor([0, 1]), 15, "logits: dtype int64"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), 15, "labels: row 1 is 3, allowed are 0 to 2"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), 15, "labels: row 1 is -1"),
        (torch.zeros(2, 3), torch.tensor([0]), 15, "labels: 1 rows, .* 2 rows of logits"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), 15, "labels: dtype float32"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), 0, "bins: 0 found, allowed is at least 1"),
    ],
)
def test_bad_input_is_refused(logits, labels, bins, words):
    with pytest.raises(InputError, match=words):
        expected_calibration_error(logits, labels, bins)
