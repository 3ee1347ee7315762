"""The class that torchmetrics and Lightning know what to do with."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection

from collapse.errors import InputError
from collapse.metrics import measure
from collapse.metrics.torchmetrics import NeuralCollapse
from conftest import FEW, assert_metrics, class_reference, collapsed, needs_gpu, random_head

OF_CHOICES = ("NC4", "NC4_by_class")


def as_numbers(values):
    assert all(value.shape == () for value in values.values())
    return {key: None if value.isnan() else value.item() for key, value in values.items()}


@FEW
@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    dim=st.integers(2, 12),
    size=st.integers(1, 50),
    seed=st.integers(0, 10**6),
)
def test_one_pass_measures_what_two_do(counts, dim, size, seed):
    features, labels = collapsed(counts, dim, 0.3, seed, torch.float64)
    head = nn.Linear(dim, len(counts), dtype=torch.float64)
    metric = NeuralCollapse(len(counts), dim, head=head)
    for part, of in zip(features.split(size), labels.split(size), strict=True):
        metric.update(part, of)
    expected = measure(features, labels, weight=head.weight.detach(), bias=head.bias.detach())
    for key in OF_CHOICES:
        expected.pop(key)
    found = as_numbers(metric.compute())
    assert list(found) == list(expected)
    # float32, which torchmetrics' loggers take.
    assert_metrics(found, expected, rel=1e-5, abs_=1e-6)


@pytest.mark.parametrize("shifted", [False, True])
def test_one_pass_is_right_down_to_a_collapse_of_1e_minus_8(shifted):
    noise = 3.6e-4
    features, labels = collapsed([900, 400, 60], 32, noise, offset=100.0 if shifted else 0.0)
    shift = torch.full((32,), 100.0) if shifted else None
    metric = NeuralCollapse(3, 32, shift)
    for part, of in zip(features.split(100), labels.split(100), strict=True):
        metric.update(part, of)
    expected = class_reference(features, labels)
    assert 5e-9 < expected["NC1"] < 5e-8
    found = as_numbers(metric.compute())
    for key in ("NC1", "NC1_ratio", "CDNV", "VCI", "NC1_unweighted"):
        assert found[key] == pytest.approx(expected[key], rel=1e-6), key


def test_processes_join_as_torchmetrics_adds_their_states():
    features, labels = collapsed([30, 20, 10], 8, 0.3)
    whole, parts = NeuralCollapse(3, 8), [NeuralCollapse(3, 8) for _ in range(2)]
    whole.update(features, labels)
    for metric, half in zip(parts, (slice(0, 25), slice(25, 60)), strict=True):
        metric.update(features[half], labels[half])
    joined = NeuralCollapse(3, 8)
    for name, reduce in whole._reductions.items():
        assert reduce is not None
        setattr(joined, name, reduce(torch.stack([getattr(part, name) for part in parts])))
    joined._update_count = 1
    assert_metrics(as_numbers(joined.compute()), as_numbers(whole.compute()), rel=1e-6)
    whole.reset()
    assert whole.counts.sum() == 0


@needs_gpu
def test_a_gpu_sums_what_a_cpu_sums_twice_the_same():
    features, labels = collapsed([600, 300, 90, 9], 48, 3.6e-4)
    head = nn.Linear(48, 4)

    def once(device):
        owner = nn.ModuleDict({"head": head, "metric": NeuralCollapse(4, 48, head=head)})
        metric = owner.to(device)["metric"]
        for part, of in zip(features.split(100), labels.split(100), strict=True):
            metric.update(part.to(device), of)
        return as_numbers(metric.compute())

    expected, found = once("cpu"), once("cuda")
    assert_metrics(found, expected, rel=1e-6)
    assert found == once("cuda")


def test_a_network_cast_to_another_format_leaves_the_sums_as_exact():
    features, labels = collapsed([300, 200, 100], 8, 0.3)
    head = nn.Linear(8, 3)
    owner = nn.ModuleDict({"head": head, "metric": NeuralCollapse(3, 8, head=head)})
    owner.to(torch.bfloat16)
    metric = owner["metric"]
    metric.update(features.bfloat16(), labels)
    expected = measure(features.bfloat16(), labels)
    assert as_numbers(metric.compute())["NC1"] == pytest.approx(expected["NC1"], rel=1e-5)
    metric.update(features * math.nan, labels)
    assert all(value.isnan() for value in metric.compute().values())


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (dict(classes=1, dim=8), "classes, dim: found 1, 8"),
        (dict(classes=3, dim=8, head=nn.Linear(8, 4)), "head: allowed is a Linear with a weight"),
        (dict(classes=3, dim=8, head=nn.ReLU()), "head: allowed is a Linear with a weight"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_start(given_, message):
    with pytest.raises(InputError, match=f"^{message}"):
        NeuralCollapse(**given_)


def test_until_every_class_was_met_nothing_is_defined():
    metric = NeuralCollapse(3, 8)
    metric.update(torch.randn(5, 8), torch.tensor([0, 1, 0, 1, 2]))
    assert all(value.isnan() for value in metric.compute().values())


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.randn(4, 7), torch.tensor([0, 1, 2, 0]), "features: 7 columns, allowed are 8"),
        (torch.randn(4, 8), torch.tensor([0, 1, 3, 0]), "labels: row 2 is 3, allowed are 0 to 2"),
        (torch.randn(4, 8), torch.tensor([0, 1]), "labels: 2 rows"),
        (torch.randn(8), torch.tensor([0]), "features: shape 8, allowed is N x d"),
    ],
)
def test_bad_batches_are_refused_in_one_line(features, labels, message):
    with pytest.raises(InputError, match=f"^{message}"):
        NeuralCollapse(3, 8).update(features, labels)
    with pytest.raises(InputError, match="^shift: shape"):
        NeuralCollapse(3, 8, shift=torch.zeros(7))


def test_it_drops_into_lightning(tmp_path):
    lightning = pytest.importorskip("lightning")
    features, labels = collapsed([30, 20, 10], 8, 0.3)
    random_head(3, 8)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.body, self.fc = nn.Linear(8, 6), nn.Linear(6, 3)
            self.collapse = NeuralCollapse(3, 6, head=self.fc)

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.fc(self.body(batch[0])), batch[1])

        def validation_step(self, batch, _):
            self.collapse.update(self.body(batch[0]), batch[1])

        def on_validation_epoch_end(self):
            values = self.collapse.compute()
            self.log_dict({key: values[key] for key in ("NC1", "NC3", "VCI")})
            self.collapse.reset()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Module()
    assert not [name for name in module.state_dict() if name.startswith("collapse")]
    loader = DataLoader(TensorDataset(features, labels), batch_size=16)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader, loader)
    logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
    with torch.no_grad():
        expected = measure(module.body(features), labels, weight=module.fc.weight)
    for key in ("NC1", "NC3", "VCI"):
        assert logged[key] == pytest.approx(expected[key], rel=1e-4)
        assert math.isfinite(logged[key])


def test_copies_share_the_head_but_of_a_copied_network():
    head = nn.Linear(8, 3)
    metric = NeuralCollapse(3, 8, head=head)
    copies = [metric.clone(), MetricCollection({"a": metric}).clone(prefix="val_")["val_a"]]
    for other in copies:
        assert other._head.module is head
    owner = copy.deepcopy(nn.ModuleDict({"head": head, "metric": metric}))
    assert owner["metric"]._head.module is owner["head"] is not head
