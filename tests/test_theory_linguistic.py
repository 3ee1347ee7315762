"""The floor of the ETF error, against frames and class means of every kind."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse.errors import InputError
from collapse.metrics.frames import etf_gram, gram, gram_distance
from collapse.theory.linguistic import etf_floor, of_run, predict
from conftest import FEW


def error(means):
    """The ETF error of class means, K x d, about their unweighted mean."""
    centred = torch.from_numpy(means - means.mean(0))
    return gram_distance(gram(centred), etf_gram(len(means), centred.device))


@FEW
@given(classes=st.integers(3, 30), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_no_class_means_are_below_the_floor(classes, width, seed):
    means = np.random.default_rng(seed).normal(size=(classes, width))
    assert error(means) >= etf_floor(width, classes) - 1e-12


@FEW
@given(classes=st.integers(3, 30), width=st.integers(1, 28), seed=st.integers(0, 99))
def test_a_centred_tight_frame_reaches_it_whatever_its_lengths(classes, width, seed):
    width = min(width, classes - 1)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(classes, width))
    # Orthonormal columns of sum 0: rows of many lengths.
    frame, _ = np.linalg.qr(values - values.mean(0))
    assert error(frame) == pytest.approx(etf_floor(width, classes), abs=1e-7)
    if width > 1:
        bent = frame * np.linspace(1, 2, width)
        assert error(bent) > etf_floor(width, classes) + 1e-6


def test_with_room_for_a_simplex_there_is_no_floor():
    assert etf_floor(9, 10) == etf_floor(50, 10) == 0
    assert error(np.eye(10)) == pytest.approx(0, abs=1e-7)


@FEW
@given(classes=st.integers(3, 10**6), width=st.integers(1, 10**6))
def test_it_is_the_formula_and_falls_with_the_width(classes, width):
    share = min(width, classes - 1) / (classes - 1)
    floor = etf_floor(width, classes)
    assert floor == pytest.approx(math.sqrt(max(0, 2 - 2 * math.sqrt(share))), abs=1e-7)
    assert 0 <= floor < math.sqrt(2) and etf_floor(width + 1, classes) <= floor


def test_a_billion_classes_leave_it_all_digits():
    # 2 - 2 sqrt(1 - x) = x + x^2/4 + ..., x = 1/(10^9 - 1).
    assert etf_floor(10**9 - 2, 10**9) == pytest.approx((10**9 - 1) ** -0.5, rel=1e-9)


def test_the_papers_sizes():
    floors = [round(etf_floor(width, 29_233), 3) for width in (64, 1024)]
    assert floors == [1.381, 1.275]
    assert predict(classes=29_233, width=64) == {
        "NC2_ETF_floor": etf_floor(64, 29_233), "rank": 64
    }  # fmt: skip
    with pytest.raises(InputError, match="classes"):
        predict(classes=1, width=64)


@pytest.mark.parametrize(
    ("sizes", "vocabulary", "classes"),
    [([5, 4, 3], None, 3), ([5, 0, 3], None, 2), ([5, 4, 3, 2, 0], 3, 3), ([5, 4, 0, 0], 3, 2)],
)
def test_classes_of_a_run_are_those_that_occur(sizes, vocabulary, classes):
    config = {"width": 1, "data": {"vocabulary": vocabulary, "tokens": None}}
    assert of_run(config, {"class_sizes": sizes}) == {"NC2_ETF_floor": etf_floor(1, classes)}
    config["data"]["tokens"] = 7
    assert of_run(config, {"class_sizes": sizes}) == {}
