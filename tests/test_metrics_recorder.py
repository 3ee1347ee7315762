"""Metrics of a network while it trains."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from collapse.errors import InputError
from collapse.metrics import Batches, Recorder, measure
from conftest import CPU, collapsed, needs_gpu

FEATURES, LABELS = collapsed([30, 20, 10], 8, 0.3)


def trained(steps, recorded, device=CPU):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3)
    ).to(device)
    data = TensorDataset(FEATURES, LABELS)
    recorder = Recorder(Batches(DataLoader(data, batch_size=16, shuffle=True), network))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    loader = DataLoader(data, batch_size=20, shuffle=True)
    step = 0
    while step < steps:
        for inputs, labels in loader:
            if recorded:
                recorder(step)
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs.to(device)), labels.to(device)).backward()
            optimiser.step()
            step += 1
    return network, recorder


@pytest.mark.parametrize("device", [CPU, pytest.param("cuda", marks=needs_gpu)], ids=str)
def test_a_training_that_is_measured_is_the_same(device):
    (alone, _), (measured, recorder) = (trained(21, recorded, device) for recorded in (False, True))
    for one, other in zip(alone.state_dict().values(), measured.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert [row["step"] for row in recorder.rows] == [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20]
    last = recorder.record(21)
    assert recorder.rows[-1] == {"step": 21} | last
    measured.eval()
    entering = measured[:4](FEATURES.to(device)).detach()
    head = {"weight": measured[4].weight.detach(), "bias": measured[4].bias.detach()}
    assert last["NC1"] == pytest.approx(measure(entering, LABELS, **head)["NC1"], rel=1e-4)
    assert last["NC4"] == measure(entering, LABELS, **head)["NC4"]


@pytest.mark.parametrize("per_decade", [1, 3, 10, 50])
def test_steps_are_evenly_spaced_on_a_logarithmic_axis(per_decade):
    recorder = Recorder(Batches([(FEATURES, LABELS)]), per_decade)
    due = [step for step in range(10001) if recorder.is_due(step)]
    expected = {0} | {round(10 ** (i / per_decade)) for i in range(4 * per_decade + 1)}
    assert due == sorted(expected)


def test_a_dead_network_is_recorded_and_does_not_end_its_training():
    recorder = Recorder(Batches([(torch.zeros(60, 8), LABELS)]))
    assert set(recorder(0).values()) == {None}
    assert recorder(7) is None


def test_less_than_one_step_a_decade_is_refused():
    with pytest.raises(InputError, match="^per_decade: found 0, allowed are integers from 1"):
        Recorder(Batches([(FEATURES, LABELS)]), 0)
