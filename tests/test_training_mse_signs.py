"""The squared error against targets of 1 and -1."""

import pytest
import torch
from torch.nn import functional

from collapse.config.slots import kinds
from collapse.training.losses import mse, mse_signs

LOSS = {"kind": "mse_signs"}


def outputs_and_labels(members, seed):
    random = torch.Generator().manual_seed(seed)
    outputs = torch.randn(members, 30, 4, generator=random, dtype=torch.float64)
    return outputs, torch.randint(0, 4, (members, 30), generator=random)


@pytest.mark.parametrize("members", [1, 3])
def test_it_is_pytorchs_against_signs(members):
    outputs, labels = outputs_and_labels(members, 0)
    found, errors = mse_signs.data_term(outputs, labels, LOSS), mse_signs.error(outputs, labels)
    assert found.shape == errors.shape == (members,)
    for member, (z, y) in enumerate(zip(outputs, labels, strict=True)):
        signs = torch.full((30, 4), -1.0, dtype=torch.float64)
        signs[torch.arange(30), y] = 1
        # The released code has the mean over samples and classes.
        torch.testing.assert_close(found[member], 4 / 2 * functional.mse_loss(z, signs))
        assert errors[member].item() == pytest.approx((z.argmax(1) != y).double().mean().item())


def test_it_is_four_times_the_squared_error_of_outputs_on_the_scale_of_one_and_zero():
    outputs, labels = outputs_and_labels(2, 1)
    expected = 4 * mse.data_term((outputs + 1) / 2, labels, {"kind": "mse"})
    torch.testing.assert_close(mse_signs.data_term(outputs, labels, LOSS), expected)


def test_a_label_is_the_distribution_that_is_sure_of_it():
    outputs, labels = outputs_and_labels(2, 2)
    sure = functional.one_hot(labels, 4).double()
    for function in (
        lambda y: mse_signs.data_term(outputs, y, LOSS),
        lambda y: mse_signs.error(outputs, y),
    ):
        torch.testing.assert_close(function(labels), function(sure))


def test_real_targets_have_no_signs():
    section = kinds("loss")["mse_signs"](kind="mse_signs")
    assert not section.real_targets and section.label == "MSE on signs"
