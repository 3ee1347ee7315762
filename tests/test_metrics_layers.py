"""What is read of a head's layers: collapse, spectra, frames and accuracy."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse.metrics.layers import (
    accuracy_readings,
    frame_readings,
    gof_readings,
    head_readings,
)
from conftest import FEW, STUDY_KEYS, class_reference, collapsed, needs_gpu, rotation, unit


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
        for key in STUDY_KEYS:
            value = expected[key]
            assert found[layer, key] == pytest.approx(value, rel=1e-4, abs=1e-6), (layer, key)
        spread = np.linalg.norm(unit(product @ product.T) - target)
        assert found[layer, "NC2_W"] == pytest.approx(spread, rel=1e-5)
        inputs = inputs @ weight.T
    logits = features.numpy() @ (w3 @ w2 @ w1).T
    spectra = {"W1": ("layer", w1), "Z": ("logit", logits)}
    for layer, (name, matrix) in spectra.items():
        values = [found[layer, f"{name}_singular_values[{i}]"] for i in range(classes)]
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


@FEW
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


@FEW
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


@FEW
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
