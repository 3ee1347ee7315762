"""Data sets as networks get them: subsets, units and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse.artifacts import write_tensors
from collapse.data import dataset
from collapse.data.dataset import long_tail, subset
from collapse.errors import InputError
from collapse.training.samples import held_out, training_set
from conftest import CPU, FEW, regression_arrays, write_regression


def test_subset_takes_the_first_of_each_class():
    labels = np.array([2, 0, 1, 1, 0, 2, 2, 0, 1])
    assert subset(labels).tolist() == list(range(9))
    assert subset(labels, 2).tolist() == [0, 1, 2, 3, 4, 5]
    assert subset(labels, class_sizes=[3, 1, 2]).tolist() == [0, 1, 2, 4, 5, 7]
    assert subset(labels, imbalance_ratio=3).tolist() == [0, 1, 2, 4, 7]


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 5000), st.floats(1, 500), st.integers(2, 20))
def test_a_long_tail_falls_by_a_constant_factor(largest, ratio, classes):
    sizes = long_tail(largest, ratio, classes)
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == largest
    exact = largest * np.logspace(0, -np.log10(ratio), classes)
    np.testing.assert_array_less(np.abs(sizes - exact + 0.5), 0.5 + 1e-6)


def test_a_long_tail_of_whole_powers():
    assert long_tail(5000, 100, 3) == [5000, 500, 50]
    assert long_tail(64, 8, 4) == [64, 32, 16, 8]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples_per_class": 4}, "samples_per_class: 4 samples of class 'a' wanted, allowed are"),
        (
            {"class_sizes": [1, 4, 1]},
            "class_sizes: 4 samples of class 'b' wanted, allowed are 1 to 3",
        ),
        ({"class_sizes": [1, 0, 1]}, "class_sizes: 0 samples of class 'b'"),
        ({"class_sizes": [1, 1]}, "class_sizes: 2 sizes found, 3 are needed"),
        ({"samples_per_class": 1, "class_sizes": [1, 1, 1]}, "only one is allowed"),
        ({"imbalance_ratio": 2.0, "class_sizes": [1, 1, 1]}, "imbalance_ratio and class_sizes"),
        ({"samples_per_class": 2, "imbalance_ratio": 9.0}, "imbalance_ratio: 0 samples of class"),
    ],
)
def test_a_subset_that_cannot_be_taken_is_refused(arguments, message):
    labels = np.array([2, 0, 1, 1, 0, 2, 2, 0, 1])
    with pytest.raises(InputError, match=message):
        subset(labels, classes="abc", **arguments)


@FEW
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 4))
def test_padded_images_lie_in_the_middle_of_black(height, width, more):
    size = max(height, width) + more
    pictures = np.random.default_rng(0).integers(1, 256, (7, 2, height, width), dtype=np.uint8)
    read = dataset.Dataset(
        inputs=pictures[:4],
        targets=np.array([0, 1, 0, 1]),
        test_inputs=pictures[4:],
        test_targets=np.array([0, 1, 1]),
        mean=(0.5, 0.5),
        std=(1.0, 1.0),
        maximum=255,
        outputs=("a", "b"),
    )
    found = dataset.prepare(read, {"size": size, "samples_per_class": 1})
    for images, before in ((found.inputs, pictures[:2]), (found.test_inputs, pictures[4:])):
        assert images.shape == (len(before), 2, size, size) and images.dtype == np.uint8
        top, left = (size - height) // 2, (size - width) // 2
        np.testing.assert_array_equal(images[:, :, top : top + height, left : left + width], before)
        # None of the images' own pixels is black.
        assert np.count_nonzero(images) == before.size
    assert (found.mean, found.std) == (read.mean, read.std)
    # Networks see black as every other value of a pixel, (0 - mean)/std.
    samples, _ = training_set(read, {"size": size, "samples_per_class": 1}, CPU)
    np.testing.assert_allclose(
        samples.take(slice(None)), found.inputs / 255 - np.float64(0.5), atol=1e-6
    )
    whole = dataset.prepare(read, {"size": None})
    assert whole.inputs.tobytes() == read.inputs.tobytes()


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        dataset.load(tmp_path / "absent.safetensors")
    other = tmp_path / "other.safetensors"
    write_tensors(other, {"features": np.zeros(3)}, {})
    with pytest.raises(InputError, match="not a data set, it holds no train_inputs"):
        dataset.load(other)


@pytest.fixture
def toy(tmp_path):
    def make(arrays):
        return dataset.load(write_regression(tmp_path / "toy.safetensors", arrays))

    return make


def test_a_regression_is_raw_by_default(toy):
    arrays = regression_arrays()
    read = toy(arrays)
    assert read.regression and read.outputs == ("y0", "y1")
    for choice in ({}, {"samples": None, "standardise": []}):
        found = dataset.prepare(read, choice)
        for part, images, values in (
            ("train", found.inputs, found.targets),
            ("test", found.test_inputs, found.test_targets),
        ):
            np.testing.assert_array_equal(images[:, :, 0, 0], arrays[f"{part}_inputs"])
            np.testing.assert_array_equal(values, arrays[f"{part}_targets"])
        pixels, values = training_set(read, choice, CPU)
        assert pixels.take(slice(None)).dtype == values.dtype == torch.float32
        np.testing.assert_allclose(
            pixels.take(slice(None))[:, :, 0, 0], arrays["train_inputs"], rtol=1e-6
        )


@FEW
@given(st.integers(2, 60), st.data())
def test_samples_are_evenly_spaced(available, data):
    wanted = data.draw(st.integers(2, available))
    values = np.arange(float(available))
    read = dataset.Dataset(
        inputs=values[:, None, None, None],
        targets=values[:, None],
        test_inputs=values[:3, None, None, None],
        test_targets=values[:3, None],
        mean=(0.0,),
        std=(1.0,),
        maximum=1,
        outputs=("y",),
    )
    found = dataset.prepare(read, {"samples": wanted})
    chosen = found.targets[:, 0]
    assert len(chosen) == wanted and chosen[0] == 0
    np.testing.assert_array_equal(found.inputs[:, 0, 0, 0], chosen)
    gaps = np.diff([*chosen, available])
    assert set(gaps) <= {available // wanted, -(-available // wanted)}
    assert len(found.test_targets) == min(3, available)


@pytest.mark.parametrize("wanted", [["inputs"], ["targets"], ["inputs", "targets"]])
@pytest.mark.parametrize("samples", [None, 7])
def test_standardised_data_have_mean_0_and_variance_1(toy, wanted, samples):
    arrays = regression_arrays()
    found = dataset.prepare(toy(arrays), {"standardise": wanted, "samples": samples})
    rows = np.arange(samples or 12) * 12 // (samples or 12)
    for kind, own, test in (
        ("inputs", found.inputs[:, :, 0, 0], found.test_inputs[:, :, 0, 0]),
        ("targets", found.targets, found.test_targets),
    ):
        given, held = arrays[f"train_{kind}"][rows], arrays[f"test_{kind}"]
        if kind not in wanted:
            np.testing.assert_array_equal(own, given)
            np.testing.assert_array_equal(test, held)
            continue
        varying = [0, 2] if kind == "inputs" else [0, 1]
        np.testing.assert_allclose(own.mean(0), 0, atol=1e-13)
        np.testing.assert_allclose(own[:, varying].std(0), 1, rtol=1e-13)
        # The held-out samples are in the units of the training samples, not in their own.
        mean, deviation = given.mean(0), given.std(0)
        np.testing.assert_allclose(
            test[:, varying], ((held - mean) / np.where(deviation, deviation, 1))[:, varying]
        )
        if kind == "inputs":
            assert (own[:, 1] == 0).all()
            np.testing.assert_allclose(test[:, 1], held[:, 1] - 7)
    images, values = held_out(toy(arrays), {"standardise": wanted, "samples": samples}, CPU)
    np.testing.assert_allclose(values, found.test_targets, rtol=1e-6)
    np.testing.assert_allclose(images.take(slice(None)), found.test_inputs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("value", [0.1, 0.7, 1 / 3])
def test_a_constant_input_becomes_0_and_a_constant_target_is_refused(toy, value):
    arrays = regression_arrays(samples=11)
    arrays["train_inputs"][:, 1] = value
    found = dataset.prepare(toy(arrays), {"standardise": ["inputs"]})
    np.testing.assert_allclose(found.inputs[:, 1], 0, atol=1e-12)
    arrays["train_targets"][:, 0] = value
    with pytest.raises(InputError, match="target 'y0' does not vary over 11 samples"):
        dataset.prepare(toy(arrays), {})


def test_what_cannot_be_prepared_is_refused(toy):
    arrays = regression_arrays()
    with pytest.raises(InputError, match=r"data.samples: 13 found, allowed are up to 12"):
        dataset.prepare(toy(arrays), {"samples": 13})
    # Constant over the samples that are chosen, though not over all.
    arrays["train_targets"][[0, 4, 8], 1] = 2.0
    dataset.prepare(toy(arrays), {})
    with pytest.raises(InputError, match="data: target 'y1' does not vary over 3 samples"):
        dataset.prepare(toy(arrays), {"samples": 3})
