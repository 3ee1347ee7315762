"""The variables of a problem by name, and in one buffer."""

import torch

from collapse.problems.parameters import Parameters, flat_copy


def test_flat_copy_shares_its_buffer():
    start = Parameters.of_head(torch.ones(2, 4, 5), [torch.ones(2, 3, 4)], torch.ones(2, 3))
    flat = flat_copy(start)
    assert flat.rows.shape == (18, 4) and flat.rows.sum() == 2 * (20 + 12 + 3)
    flat.rows.zero_()
    assert all((tensor == 0).all() for tensor in flat.parameters.tensors())
    assert all((tensor == 1).all() for tensor in start.tensors())


def test_a_column_holds_a_factor_per_row():
    start = Parameters.of_head(torch.ones(2, 4, 5), [torch.ones(2, 3, 4)], torch.ones(2, 3))
    flat = flat_copy(start)
    flat.rows.mul_(flat.column(torch.tensor([[1.0, 2.0], [3.0, 4.0]])))
    for tensor, factors in zip(flat.parameters.tensors(), [(1, 3), (2, 4), (0, 0)], strict=True):
        assert (tensor[0] == factors[0]).all() and (tensor[1] == factors[1]).all()


def test_equal_variables_stack_without_a_copy():
    weights = (torch.full((2, 3, 3), 1.0), torch.full((2, 3, 3), 2.0), torch.ones(2, 4, 3))
    flat = flat_copy(Parameters.of_head(torch.zeros(2, 3, 5), weights))
    stack = flat.stacked(1, 3)
    torch.testing.assert_close(stack, torch.cat(weights[:2]))
    stack.zero_()
    assert all((weight == 0).all() for weight in flat.parameters.weights[:2])
    assert (flat.parameters.weights[2] == 1).all()


def test_the_variables_of_a_head_are_found_by_name():
    weights = [torch.full((2, 4, 5), 1.0), torch.full((2, 3, 4), 2.0)]
    head = Parameters.of_head(torch.zeros(2, 5, 6), weights, torch.full((2, 3), 3.0))
    assert list(head.named) == ["H", "W1", "W2", "bias"]
    assert all(map(torch.equal, head.tensors(), (head.features, *head.weights, head.bias)))
    assert list(Parameters.of_head(torch.zeros(2, 5, 6), weights).named) == ["H", "W1", "W2"]
    # Read back from a file they are sorted by name, W10 before W2.
    layers = [torch.full((1, 1, 1), float(number)) for number in range(1, 13)]
    many = Parameters.of_head(torch.zeros(1, 1, 1), layers)
    for found in (many, Parameters(**dict(sorted(many.named.items())))):
        assert [weight.item() for weight in found.weights] == list(range(1, 13))


def test_a_problem_names_its_variables_as_it_likes():
    drawn = {"Wide": torch.randn(2, 3, 4), "maps": torch.randn(2, 3, 4), "shift": torch.randn(2, 5)}
    found = Parameters(**drawn)
    assert found.features is None and found.weights == () and found.bias is None
    assert found.first is drawn["Wide"]
    doubled = found.map(lambda tensor: 2 * tensor)
    assert list(doubled.named) == list(drawn)
    assert all(torch.equal(doubled.named[name], 2 * tensor) for name, tensor in drawn.items())
    changed = found.replaced(maps=torch.zeros(2, 3, 4))
    assert list(changed.named) == list(drawn) and not changed.named["maps"].any()
    assert changed.named["shift"] is drawn["shift"] and found.named["maps"] is drawn["maps"]
    squares = sum(tensor.square().flatten(1).sum(1) for tensor in drawn.values())
    torch.testing.assert_close(found.norm(), squares.sqrt())
