"""Where mixed features lie: coordinates, amplification, convexity, the plane of three classes."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse.errors import InputError
from collapse.metrics import (
    amplification,
    classifier_norm,
    convex_r2,
    etf_distance,
    logit_coordinates,
    triangle_plane,
)
from conftest import FEW, rotation, unit

MIX = torch.linspace(0, 1, 5, dtype=torch.float64)


def etf(classes, dim, norm=1.0, seed=0):
    """Rows of a simplex ETF of a norm, turned at random, K x d."""
    frame = np.eye(classes) - 1 / classes
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]
    frame = np.linalg.svd(frame)[0][:, : classes - 1] @ basis[: classes - 1]
    return torch.from_numpy(norm * np.sqrt(classes / (classes - 1)) * frame)


def randoms(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@FEW
@given(st.integers(1, 20), st.integers(3, 8), st.integers(0, 2**31))
def test_coordinates_are_logits_less_the_mean_of_the_others(samples, classes, seed):
    random = np.random.default_rng(seed)
    logits = randoms(samples, classes, seed=seed) + 100
    pairs = np.array([random.choice(classes, 2, replace=False) for _ in range(samples)])
    u, v = logit_coordinates(logits, *torch.from_numpy(pairs).T)
    for row, (i, j), *found in zip(logits.numpy(), pairs, u.tolist(), v.tolist(), strict=True):
        others = np.mean([row[k] for k in range(classes) if k not in (i, j)])
        assert found == pytest.approx([row[i] - others, row[j] - others], abs=1e-11)
    # One pair for all, and the other way round.
    i, j = pairs[0].tolist()
    one, other = logit_coordinates(logits, i, j), logit_coordinates(logits, j, i)
    assert one[0][0] == u[0] and torch.equal(one[0], other[1]) and torch.equal(one[1], other[0])


def test_coordinates_of_an_etf_are_read_off_its_features():
    # h = a (u w_i + v w_j), a = (K - 1)/(m^2 K), whatever the turn of the classifier.
    classes, norm = 6, 1.7
    weight = etf(classes, 9, norm)
    feature = (classes - 1) / (norm**2 * classes) * (3.5 * weight[4] - 1.2 * weight[1])
    u, v = logit_coordinates((weight @ feature).unsqueeze(0), 4, 1)
    assert (u.item(), v.item()) == pytest.approx((3.5, -1.2))


def test_amplification_is_of_the_sum_over_that_of_the_convex_combination():
    mix = torch.tensor([1.0, 0.25, 0.0, 0.5])
    u, v = (
        torch.tensor([[4.0, 1, 1, 3], [2, 2, 0, 2]]),
        torch.tensor([[0.0, 5, 1, 3], [0, 0, 0, 0]]),
    )
    found = amplification(u, v, mix)
    expected = [[1, 6 / (0.25 * 4 + 0.75 * 2), 1, 6 / 3], [1, 4, np.nan, 2]]
    np.testing.assert_allclose(found.numpy(), expected)
    assert found.dtype == torch.float64


@FEW
@given(st.lists(st.integers(1, 4), max_size=2), st.integers(0, 2**31))
def test_convex_curves_have_amplification_1_and_no_scale(shape, seed):
    ends = randoms(2, *shape, 1, seed=seed).abs() + 0.1
    u, v = (start * MIX + end * (1 - MIX) for start, end in ((ends[0], 0), (0, ends[1])))
    np.testing.assert_allclose(amplification(u, v, MIX).numpy(), 1, rtol=1e-12)
    bent = u * (2 - MIX)
    curve = amplification(bent, v, MIX)
    torch.testing.assert_close(amplification(7 * bent, 7 * v, MIX.float()), curve)
    swapped = amplification(v.flip(-1), bent.flip(-1), MIX)
    torch.testing.assert_close(swapped, curve.flip(-1))


@FEW
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**31))
def test_r2_pools_the_pairs(pairs, dim, seed):
    means, mix = randoms(pairs, 5, dim, seed=seed).numpy(), MIX.numpy()
    left = spread = 0.0
    for curve in means:
        centre = curve[1:4].mean(0)
        for place in (1, 2, 3):
            convex = mix[place] * curve[4] + (1 - mix[place]) * curve[0]
            left += np.sum((curve[place] - convex) ** 2)
            spread += np.sum((curve[place] - centre) ** 2)
    found = convex_r2(torch.from_numpy(means).float(), MIX)
    assert found == pytest.approx(1 - left / spread, rel=1e-4)


def test_r2_is_1_of_convex_combinations_and_nan_where_nothing_varies():
    ends = randoms(3, 2, 1, 4) + 5
    convex = MIX.view(-1, 1) * ends[:, 0] + (1 - MIX.view(-1, 1)) * ends[:, 1]
    assert convex_r2(convex, MIX) == pytest.approx(1, abs=1e-12)
    assert convex_r2(convex.flip(1), MIX.flip(0)) == pytest.approx(1, abs=1e-12)
    assert convex_r2(convex + 2 * (MIX * (1 - MIX)).view(-1, 1), MIX) < 0.99
    assert np.isnan(convex_r2(torch.ones(2, 5, 3), MIX))


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_a_turned_scaled_and_shifted_etf_is_one(classes):
    weight = etf(classes, classes + 3, norm=2.5)
    for shift in (0, randoms(classes + 3)):
        assert etf_distance(weight + shift) == pytest.approx(0, abs=1e-12)
        assert classifier_norm(weight + shift) == pytest.approx(2.5)


@FEW
@given(st.integers(2, 7), st.integers(1, 9), st.integers(0, 2**31))
def test_the_distance_and_the_norm_are_of_the_centred_rows(classes, dim, seed):
    weight = randoms(classes, dim, seed=seed)
    centred = weight.numpy() - weight.numpy().mean(0)
    expected = np.linalg.norm(unit(centred @ centred.T) - unit(np.eye(classes) - 1 / classes))
    assert etf_distance(weight) == pytest.approx(expected, abs=1e-10)
    norms = [np.linalg.norm(row) for row in centred]
    assert classifier_norm(weight) == pytest.approx(np.mean(norms))


def test_equal_rows_are_no_frame():
    assert np.isnan(etf_distance(torch.ones(4, 3))) and classifier_norm(torch.ones(4, 3)) == 0


@pytest.mark.parametrize("classes", [3, 10, 100])
def test_three_rows_of_an_etf_become_an_equilateral_triangle(classes):
    norm = 1.3
    rows = etf(classes, 2 * classes, norm)[[2, 0, 1]]
    projection, centre = triangle_plane(rows)
    places = (rows - centre) @ projection.T
    side = norm * np.sqrt(2 * classes / (classes - 1))
    corners = side * np.array(
        [[0.5, -np.sqrt(1 / 12)], [-0.5, -np.sqrt(1 / 12)], [0, np.sqrt(1 / 3)]]
    )
    np.testing.assert_allclose(places.numpy(), corners, atol=1e-13)


@FEW
@given(st.integers(2, 8), st.integers(0, 2**31))
def test_the_plane_keeps_lengths_and_what_is_off_it_is_not_seen(dim, seed):
    rows = randoms(3, dim, seed=seed)
    projection, centre = triangle_plane(rows.float())
    rows = rows.float().double()
    np.testing.assert_allclose((projection @ projection.T).numpy(), np.eye(2), atol=1e-10)
    inside = randoms(4, 3, seed=seed + 1) @ (rows - centre)
    for one, other in combinations(inside, 2):
        distance = torch.linalg.vector_norm(projection @ (one - other))
        assert distance == pytest.approx(torch.linalg.vector_norm(one - other).item())
    feature = randoms(dim, seed=seed)
    basis = np.linalg.qr((rows - centre).T.numpy()[:, :2])[0]
    off = feature - torch.from_numpy(basis @ basis.T) @ feature
    np.testing.assert_allclose((projection @ off).numpy(), 0, atol=1e-10)


@FEW
@given(st.integers(3, 8), st.integers(0, 2**31))
def test_the_picture_does_not_turn_with_the_features(dim, seed):
    rows, features = randoms(3, dim, seed=seed), randoms(5, dim, seed=seed + 1)
    turn = rotation(dim)
    pictures = []
    for each, shown in ((rows, features), (3 * rows @ turn.T, features @ turn.T)):
        projection, _ = triangle_plane(each)
        pictures.append(shown @ projection.T)
    torch.testing.assert_close(*pictures, atol=1e-8, rtol=1e-8)


def test_rows_that_span_no_plane_have_a_picture_too():
    ray = torch.tensor([[1.0], [2.0], [6.0]]) * torch.tensor([0.6, 0.8, 0.0])
    projection, centre = triangle_plane(ray)
    places = (ray - centre) @ projection.T
    # The line keeps its lengths.
    assert torch.linalg.matrix_rank(projection) == 1
    assert torch.pdist(places).tolist() == pytest.approx([1, 5, 4])
    projection, centre = triangle_plane(torch.ones(3, 4))
    assert projection.shape == (2, 4) and not projection.any() and (centre == 1).all()


CURVE = torch.zeros(2, 5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: logit_coordinates(torch.zeros(4, 2), 0, 1), "logits: 2 classes, .* at least 3"),
        (lambda: logit_coordinates(torch.zeros(4, 3), 1, 1), "second: the class that is first"),
        (lambda: logit_coordinates(torch.zeros(4, 3), 0, 3), "second: row 0 is 3, .* 0 to 2"),
        (lambda: logit_coordinates(torch.zeros(4, 3), torch.arange(3), 0), "first: 3 rows, .* 4"),
        (lambda: amplification(CURVE, torch.zeros(5), MIX), "v: shape"),
        (lambda: amplification(CURVE, CURVE, MIX[:4]), "mix: 4 values, .* each of the 5"),
        (lambda: amplification(CURVE, CURVE, MIX / 2), "mix: 0 to 0.5, allowed are"),
        (lambda: amplification(CURVE, CURVE, MIX * torch.nan), "mix: nan to nan, allowed are"),
        (lambda: convex_r2(torch.zeros(5, 3), MIX), "means: shape 5 x 3, allowed is P x L x d"),
        (lambda: convex_r2(torch.zeros(1, 5, 3), 2 * MIX), "mix: 0 to 2"),
        (lambda: etf_distance(torch.zeros(4)), "weight: shape 4, allowed is K x d"),
        (lambda: classifier_norm(torch.full((4, 2), torch.inf)), "weight: 2 of 2 values in row 0"),
        (lambda: triangle_plane(torch.zeros(4, 2)), "rows: 4 rows, allowed are 3"),
        (lambda: triangle_plane(torch.zeros(3)), "rows: shape 3, allowed is 3 x d"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()
