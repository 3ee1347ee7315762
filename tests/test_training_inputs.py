"""Mixed inputs: what a batch is made of, against samples mixed by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from collapse.training.inputs import mixup
from collapse.training.order import Order, batch_sizes
from collapse.training.trainer import train
from conftest import CE, MSE, K, digits, fit, network, prepared

IMAGES, LABELS = digits(48)


def batches(alpha=1.0, per_sample=False, seeds=(3, 8), epoch=2, size=16, augmentation=()):
    """Return the order of an epoch and its batches: inputs and soft labels."""
    sizes = batch_sizes(len(IMAGES), size)
    order = Order(IMAGES, seeds, augmentation, sizes)
    source = mixup.build(order, LABELS, K, {"alpha": alpha, "per_sample": per_sample})
    source.draw(epoch)
    places = torch.arange(len(IMAGES)).split(sizes)
    return order, [source.take(part) for part in places], places


def shares(soft, labels):
    """Return each sample's weight of its own label, NaN where both of a pair have one label."""
    own = soft.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return torch.where(own == 1, torch.nan, own)


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 48), st.sampled_from([0.2, 1.0, 8.0]), st.booleans(), st.integers(1, 50))
def test_a_batch_is_its_samples_mixed_with_a_permutation_of_them(size, alpha, per_sample, epoch):
    order, found, places = batches(alpha, per_sample, size=size, epoch=epoch)
    for row in range(2):
        for (inputs, soft), part in zip(found, places, strict=True):
            own = order.indices[row, part]
            plain, labels = IMAGES.take(own), LABELS[own]
            assert torch.allclose(soft[row].sum(1), torch.ones(len(part)))
            share = shares(soft[row], labels)
            known = share.isfinite()
            if not per_sample and known.any():
                assert torch.allclose(share[known], share[known][0].expand(int(known.sum())))
            # What is left of the mixed image is the partner, a sample of the same batch.
            for x, weight, y in zip(inputs[row][known], share[known], plain[known], strict=True):
                rest = x - weight * y
                distances = [(rest - (1 - weight) * other).abs().max() for other in plain]
                assert min(distances) < 1e-4


def test_partners_are_a_permutation_of_each_batch():
    # Labels that name the sample: each is once the first and once the second of a pair.
    order = Order(IMAGES, [5], [], [20, 20, 8])
    names = torch.arange(48)
    source = mixup.build(order, names, 48, {"alpha": 1.0, "per_sample": False})
    source.draw(1)
    for part in torch.arange(48).split([20, 20, 8]):
        soft = source.take(part)[1][0].double()
        assert set(soft.nonzero()[:, 1].tolist()) == set(order.indices[0, part].tolist())
        np.testing.assert_allclose(soft.sum(0)[order.indices[0, part]], 1, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_follow_their_beta_distribution(alpha):
    drawn = []
    for epoch in range(60):
        order, found, places = batches(alpha, True, seeds=(1,), epoch=epoch, size=48)
        share = shares(found[0][1][0], LABELS[order.indices[0]]).double()
        drawn += share[share.isfinite()].tolist()
    assert len(drawn) > 2000
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_a_network_trains_as_it_would_without_its_neighbour_and_each_epoch_anew():
    _, both, _ = batches(seeds=(3, 8))
    _, alone, _ = batches(seeds=(8,))
    _, later, _ = batches(seeds=(8,), epoch=3)
    for (images, soft), (own, own_soft), (other, _) in zip(both, alone, later, strict=True):
        assert torch.equal(images[1], own[0]) and torch.equal(soft[1], own_soft[0])
        assert not torch.allclose(own, other, atol=0.1)


def test_both_of_a_pair_are_moved_and_then_mixed():
    order, found, places = batches(augmentation=("flip",), size=48, seeds=(2,))
    plain = order.take(places[0])[0][0]
    share = shares(found[0][1][0], LABELS[order.indices[0]])
    lost = [
        min((x - w * y - (1 - w) * other).abs().max() for other in plain)
        for x, w, y in zip(found[0][0][0], share, plain, strict=True)
        if w == w
    ]
    assert max(lost) < 1e-4


@pytest.mark.parametrize("loss", [CE, MSE])
def test_a_training_on_mixed_images_keeps_the_entropy_of_its_labels(loss):
    settings = {"epochs": 6, "batch_size": 16}
    mixed = {"kind": "mixup", "alpha": 1.0, "per_sample": False}
    (result,) = train(prepared([network(seed=4)], [4], loss=loss, input=mixed, **settings))
    entropies = []
    for epoch in range(1, 7):
        order = Order(digits()[0], [4], [], batch_sizes(50, 16))
        source = mixup.build(order, digits()[1], K, mixed)
        source.draw(epoch)
        soft = torch.cat([source.take(part)[1][0] for part in torch.arange(50).split(16)]).double()
        entropies.append(stats.entropy(soft.numpy(), axis=1).mean())
    np.testing.assert_allclose(result.history["label_entropy"], entropies, rtol=1e-5)
    if loss == CE:
        assert (result.history["data_loss"] > result.history["label_entropy"]).all()
    assert "label_entropy" not in fit().history
