"""Samples on their way to a network: units, order and augmentation."""

import numpy as np
import pytest
import torch

from collapse.data.dataset import Dataset
from collapse.training.order import Order, batch_sizes, generator
from collapse.training.samples import training_set
from conftest import CPU, digits, pixels


def test_images_are_normalised_like_the_data_set():
    images = pixels(5)
    labels = np.array([0, 1, 0, 1, 1])
    dataset = Dataset(images, labels, images, labels, (0.4,), (0.2,), 16, ("a", "b"))
    chosen, kept = training_set(dataset, {"name": "toy", "samples_per_class": 2}, CPU)
    assert kept.tolist() == [0, 1, 0, 1] and len(chosen) == 4
    expected = torch.tensor((images[:4] / 16 - 0.4) / 0.2, dtype=torch.float32)
    torch.testing.assert_close(chosen.take(slice(0, 4)), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(chosen.take(torch.tensor([3, 0])), expected[[3, 0]])


def test_moved_images_are_shifted_over_black_and_mirrored():
    images, _ = digits(3)
    plain = images.take(slice(0, 3))
    assert torch.equal(images.take_moved(torch.arange(3), None, None), plain)
    flip = torch.tensor([True, False, True])
    mirrored = images.take_moved(torch.arange(3), None, flip)
    assert torch.equal(mirrored, torch.where(flip.view(3, 1, 1, 1), plain.flip(-1), plain))
    shift = torch.tensor([[0, 0], [2, -3], [-4, 1]])
    moved = images.take_moved(torch.arange(3), shift, flip)
    black = -0.5 / 0.3
    for index, (down, right) in enumerate(shift.tolist()):
        wide = torch.nn.functional.pad(mirrored[index], [4] * 4, value=black)
        window = wide[:, 4 + down : 12 + down, 4 + right : 12 + right]
        if not flip[index]:
            torch.testing.assert_close(moved[index], window)
    # What is mirrored is the window.
    wide = torch.nn.functional.pad(plain[2], [4] * 4, value=black)
    torch.testing.assert_close(moved[2], wide[:, 0:8, 5:13].flip(-1))


@pytest.mark.parametrize("samples, sizes", [(50, [16, 16, 16, 2]), (49, [16, 16, 17]), (9, [9])])
def test_no_sample_is_alone_in_a_batch(samples, sizes):
    assert batch_sizes(samples, 16) == sizes


def drawn(epoch, seeds, augmentation=()):
    order = Order(digits(40)[0], seeds, augmentation, [40])
    order.draw(epoch)
    return order


def test_the_order_of_samples_follows_from_seed_and_epoch_alone():
    orders = [drawn(1, [0, 1]).indices[0], drawn(2, [0]).indices[0], drawn(1, [1]).indices[0]]
    assert all(sorted(order.tolist()) == list(range(40)) for order in orders)
    assert torch.equal(drawn(1, [1, 0]).indices[1], orders[0])
    assert torch.equal(drawn(1, [0], ["crop", "flip"]).indices[0], orders[0])
    assert not torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])


def test_streams_of_one_seed_and_epoch_share_no_numbers():
    def numbers(*key):
        return torch.randperm(40, generator=generator(0, 1, CPU, *key)).tolist()

    # The order has the stream without a name. A name of 0 is a name.
    streams = [numbers(), numbers(0), numbers(1), numbers(0, 0)]
    assert streams[0] == drawn(1, [0]).indices[0].tolist()
    assert len({tuple(each) for each in streams}) == 4


def test_augmentation_is_drawn_anew_in_each_epoch_and_keeps_the_samples():
    first, second = (drawn(epoch, [0], ["crop", "flip"]) for epoch in (1, 2))
    plain = digits(40)[0].take(slice(0, 40))
    for order in (first, second):
        images, index = order.take(torch.arange(40))
        kept = (images[0] == plain[index[0]]).flatten(1).all(1)
        # 1 in 162 windows is the image itself.
        assert not kept.all() and images.shape == (1, 40, 1, 8, 8)
    assert not torch.equal(first.take(torch.arange(40))[0], second.take(torch.arange(40))[0])
    flips = drawn(1, [0], ["flip"])
    images, index = flips.take(torch.arange(40))
    kept = (images[0] == plain[index[0]]).flatten(1).all(1)
    mirrored = (images[0].flip(-1) == plain[index[0]]).flatten(1).all(1)
    assert (kept | mirrored).all() and 8 < kept.sum() < 32
