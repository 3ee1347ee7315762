"""What language models are measured by beside GNC2, against the definitions written out."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse.metrics.collapse import class_statistics
from collapse.metrics.uniformity import disagreement, duality_readings, log_norm_variance
from conftest import FEW

SHAPES = {"classes": st.integers(2, 7), "dim": st.integers(1, 5), "seed": st.integers(0, 100)}


def drawn(classes, dim, seed, count=40):
    """Features, their labels with every class among them, and a weight."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.append(np.arange(classes), rng.integers(0, classes, count)))
    weight = rng.normal(size=(classes, dim))
    features = weight[labels] + rng.normal(size=(len(labels), dim)) + 3
    return features, labels, weight


def statistics_of(features, labels, weight):
    features, labels, weight = map(torch.from_numpy, (features, labels, weight))
    return class_statistics(features, labels, weight=weight, least=1).unweighted()


@FEW
@given(**SHAPES)
def test_all_are_their_definitions(classes, dim, seed):
    features, labels, weight = drawn(classes, dim, seed)
    found = statistics_of(features, labels, weight)
    means = np.stack([features[labels == k].mean(0) for k in range(classes)])
    centred = means - means.mean(0)
    lengths = [math.dist(row, np.zeros(dim)) for row in centred]
    logs = [math.log(length) for length in lengths]
    assert log_norm_variance(found) == pytest.approx(np.var(logs), abs=1e-9)
    products = [float(np.dot(w, c)) for w, c in zip(weight, centred, strict=True)]
    cosines = [
        product / (length * math.dist(w, np.zeros(dim)))
        for product, length, w in zip(products, lengths, weight, strict=True)
    ]
    of_head = duality_readings(found)
    assert of_head["duality_cosine_mean"] == pytest.approx(np.mean(cosines), abs=1e-9)
    assert of_head["duality_cosine_variance"] == pytest.approx(np.var(cosines), abs=1e-9)
    assert of_head["duality_product_variance"] == pytest.approx(np.var(products), abs=1e-8)


@FEW
@given(**SHAPES)
def test_choices_are_those_of_the_distances_to_other_samples_means(classes, dim, seed):
    features, labels, weight = drawn(classes, dim, seed)
    means = np.stack([features[labels == k].mean(0) for k in range(classes)])
    others = np.random.default_rng(seed + 1).normal(size=(30, dim)) * 2 + 3
    expected = [
        int(np.argmax(weight @ h)) != int(np.argmin([math.dist(h, mean) for mean in means]))
        for h in others
    ]
    found = disagreement(torch.from_numpy(others), statistics_of(features, labels, weight))
    assert found.tolist() == expected


def test_a_large_offset_costs_no_digits():
    features, labels, weight = drawn(5, 4, 0)
    near = disagreement(torch.from_numpy(features), statistics_of(features, labels, weight))
    weight -= weight.mean(0)
    offset = 1e6 * np.linalg.svd(weight)[2][-1]
    # At right angles to the rows of the weight: the head does not notice.
    narrow = weight - weight @ np.outer(offset, offset) / (offset @ offset)
    base = disagreement(torch.from_numpy(features), statistics_of(features, labels, narrow))
    moved = statistics_of(features + offset, labels, narrow)
    assert torch.equal(disagreement(torch.from_numpy(features + offset), moved), base)
    assert near.dtype == torch.bool


@FEW
@given(scale=st.floats(1e-3, 1e3), **SHAPES)
def test_lengths_are_compared_at_any_scale(scale, classes, dim, seed):
    features, labels, weight = drawn(classes, dim, seed)
    given_scale = log_norm_variance(statistics_of(features, labels, weight))
    found = log_norm_variance(statistics_of(scale * features, labels, weight))
    assert found == pytest.approx(given_scale, rel=1e-6, abs=1e-9)


def test_self_dual_classes_are_uniformly_dual():
    features, labels, weight = drawn(5, 4, 1)
    found = statistics_of(features, labels, weight)
    lengths = torch.linalg.vector_norm(found.centred, dim=1, keepdim=True)
    dual = duality_readings(replace(found, weight=2 * found.centred / lengths))
    assert dual["duality_cosine_mean"] == pytest.approx(1)
    assert dual["duality_cosine_variance"] == pytest.approx(0, abs=1e-15)
    assert dual["duality_product_variance"] == pytest.approx(4 * lengths.var(correction=0).item())


def test_what_has_no_direction_is_undefined():
    features, labels, weight = drawn(3, 2, 2)
    alike = statistics_of(np.ones_like(features), labels, weight)
    assert log_norm_variance(alike) is None
    assert set(duality_readings(alike).values()) == {None}
    weight[0] = 0
    lame = duality_readings(statistics_of(features, labels, weight))
    assert set(lame.values()) == {None}
