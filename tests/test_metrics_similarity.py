"""Likeness of two sets of features, against its definitions by kernels and by SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from collapse.errors import InputError
from collapse.metrics.similarity import cka, procrustes
from conftest import FEW, rotation

SHAPES = st.tuples(st.integers(2, 12), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))


def drawn(shape):
    samples, *dims, seed = shape
    random = np.random.default_rng(seed)
    return [3 * random.standard_normal((samples, dim)) + 5 for dim in dims]


def centred(features):
    deviations = features - features.mean(0)
    return deviations / np.linalg.norm(deviations)


@FEW
@given(SHAPES)
def test_cka_is_the_alignment_of_centred_kernels(shape):
    first, second = drawn(shape)
    kernels = [centred(each) @ centred(each).T for each in (first, second)]
    expected = np.sum(kernels[0] * kernels[1]) / np.prod([np.linalg.norm(k) for k in kernels])
    found = cka(torch.from_numpy(first), torch.from_numpy(second))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@FEW
@given(SHAPES)
def test_the_procrustes_distance_is_what_the_best_rotation_leaves(shape):
    first, second = (centred(each) for each in drawn(shape))
    width = max(first.shape[1], second.shape[1])
    first, second = (np.pad(each, ((0, 0), (0, width - each.shape[1]))) for each in (first, second))
    turned = second @ orthogonal_procrustes(second, first)[0]
    expected = np.sum((first - turned) ** 2)
    found = procrustes(*(torch.from_numpy(each) for each in drawn(shape)))
    assert found == pytest.approx(expected, abs=1e-9)


def test_neither_sees_rotation_scale_or_a_shift():
    features = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 4)))
    turned = 7 * features @ torch.as_tensor(rotation(4), dtype=torch.float64) + 3
    assert cka(features, turned.float()) == pytest.approx(1, abs=1e-6)
    assert procrustes(features, turned) == pytest.approx(0, abs=1e-12)
    # Classes that are one-hot in both, against features that have nothing in common.
    labels = torch.eye(4).repeat(5, 1)
    other = torch.tensor([[1.0], [-1.0]]).repeat_interleave(4, 0).repeat(3, 1)[:20]
    assert cka(labels[:16], other[:16]) == pytest.approx(0, abs=1e-12)
    assert procrustes(labels[:16], other[:16]) == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("likeness", [cka, procrustes])
@pytest.mark.parametrize(
    ("second", "words"),
    [(torch.rand(4, 2), "3 and 4 samples"), (torch.ones(3, 2), "samples are equal")],
)
def test_what_has_no_likeness_is_refused(likeness, second, words):
    with pytest.raises(InputError, match=words):
        likeness(torch.rand(3, 2), second)
