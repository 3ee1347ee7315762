"""Features that come in batches: the same metrics as of the whole, whatever brings them."""

import copy
import math
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from collapse.cli import main
from collapse.errors import InputError
from collapse.metrics import Batches, class_statistics, measure, regression_statistics, rows
from conftest import FEW, assert_metrics, collapsed, needs_gpu, random_head

FEATURES, LABELS = collapsed([30, 20, 10], 8, 0.3)
WEIGHT, BIAS = random_head(3, 8)


def cut(sizes, *tensors):
    return list(zip(*(torch.split(tensor, sizes) for tensor in tensors), strict=True))


class Network(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.body = nn.Sequential(
            nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(dropout)
        )
        self.fc = nn.Linear(6, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)

    def forward(self, inputs):
        return self.fc(self.body(inputs))


@FEW
@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    dim=st.integers(2, 12),
    size=st.integers(1, 50),
    double=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_batches_of_any_size_measure_as_the_whole(counts, dim, size, double, seed):
    dtype = torch.float64 if double else torch.float32
    features, labels = collapsed(counts, dim, 0.3, seed, dtype, offset=3.0)
    weight, bias = random_head(len(counts), dim, seed, dtype)
    expected = measure(features, labels, weight=weight, bias=bias)
    found = measure(Batches(cut(size, features, labels)), weight=weight, bias=bias)
    assert list(found) == list(expected)
    assert_metrics(found, expected, rel=1e-9 if double else 1e-4)


@FEW
@given(
    samples=st.integers(4, 60),
    dim=st.integers(2, 12),
    size=st.integers(1, 50),
    seed=st.integers(0, 10**6),
)
def test_batches_of_targets_measure_as_the_whole(samples, dim, size, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(samples, dim, generator=generator) + 3
    targets = torch.randn(samples, 2, generator=generator)
    weight, bias = random_head(2, dim, seed)
    expected = measure(features, targets=targets, weight=weight, bias=bias)
    found = measure(Batches(cut(size, features, targets)), weight=weight, bias=bias)
    assert_metrics(found, expected, rel=1e-7)


@needs_gpu
@pytest.mark.parametrize("counts, dim", [([600, 300, 90, 9], 48), ([5] * 200, 16)], ids=str)
def test_a_gpu_measures_batches_as_a_cpu(tf32, counts, dim):
    features, labels = collapsed(counts, dim, 1e-4)
    weight, bias = random_head(len(counts), dim)
    head = {"weight": weight, "bias": bias}
    on_gpu = {name: tensor.cuda() for name, tensor in head.items()}
    parts = cut(100, features, labels)
    expected = measure(Batches(parts), **head)
    resident = Batches([(part.cuda(), of.cuda()) for part, of in parts])
    found = measure(resident, **on_gpu)
    assert_metrics(found, expected, rel=1e-5)
    assert found == measure(resident, **head)
    targets = (features[:, :2] + torch.sin(features[:, 3:5])).float()
    parts, fit = cut(100, features, targets), {name: each[:2] for name, each in head.items()}
    resident = Batches([(part.cuda(), of) for part, of in parts])
    assert_metrics(measure(resident, **fit), measure(Batches(parts), **fit), rel=1e-7)


@needs_gpu
def test_a_network_on_a_gpu_is_measured_as_on_a_cpu(tf32):
    loader = DataLoader(TensorDataset(FEATURES, LABELS), batch_size=7)
    expected = measure(Batches(loader, Network(dropout=0.5)))
    found = measure(Batches(loader, Network(dropout=0.5).cuda()))
    assert_metrics(found, expected, rel=1e-4)
    compiled = torch.compile(Network(dropout=0.5).cuda())
    assert measure(Batches(loader, compiled)) == found


def test_features_of_batches_are_read_twice_and_never_held(monkeypatch):
    monkeypatch.setitem(rows.ELEMENTS_PER_BLOCK, "cpu", 8 * 16)
    passes, alive = 0, weakref.WeakSet()

    def batches(others):
        nonlocal passes
        passes += 1
        for window in range(0, 60, 5):
            features = FEATURES[window : window + 5].clone()
            alive.add(features)
            # This one, and the one before in the hands of the reader.
            assert len(alive) <= 2
            yield features, others[window : window + 5]
            del features

    found = measure(Batches(lambda: batches(LABELS)), weight=WEIGHT)
    assert passes == 2
    assert_metrics(found, measure(FEATURES, LABELS, weight=WEIGHT), rel=1e-5)
    passes, targets = 0, FEATURES[:, :2].sin()
    found = measure(Batches(lambda: batches(targets)), weight=WEIGHT[:2])
    assert passes == 2
    assert_metrics(found, measure(FEATURES, targets=targets, weight=WEIGHT[:2]), rel=1e-7)


@pytest.mark.parametrize(
    "source",
    [
        cut(7, FEATURES, LABELS),
        [(FEATURES.numpy(), LABELS.numpy())],
        DataLoader(TensorDataset(FEATURES, LABELS), batch_size=7),
        DataLoader(TensorDataset(FEATURES, LABELS), batch_size=7, shuffle=True),
        lambda: iter(cut(7, FEATURES, LABELS)),
        [(features, labels, "more") for features, labels in cut(7, FEATURES, LABELS)],
    ],
    ids=["list", "arrays", "loader", "shuffled", "function", "triples"],
)
def test_whatever_brings_batches_may_be_measured_again(source):
    batches = Batches(source)
    expected = measure(FEATURES, LABELS)
    for _ in range(2):
        assert_metrics(measure(batches), expected, rel=1e-5)


def test_a_folder_of_shards_is_measured_as_the_whole(tmp_path, capsys):
    for number, (features, labels) in enumerate(cut(25, FEATURES, LABELS)):
        head = {"weight": WEIGHT, "bias": BIAS} if number == 1 else {}
        tensors = {"features": features.clone(), "labels": labels.clone(), **head}
        save_file(tensors, tmp_path / f"{number}.safetensors")
    expected = measure(FEATURES, LABELS, weight=WEIGHT, bias=BIAS)
    assert_metrics(measure(Batches(tmp_path)), expected, rel=1e-5)
    assert main(["measure", str(tmp_path)]) == 0
    assert '"NC4_by_class": [' in capsys.readouterr().out
    save_file({"features": FEATURES, "weight": 2 * WEIGHT}, tmp_path / "9.safetensors")
    assert main(["measure", str(tmp_path)]) == 2
    assert "9.safetensors: weight is not that of" in capsys.readouterr().err
    save_file({"features": FEATURES}, tmp_path / "9.safetensors")
    assert main(["measure", str(tmp_path)]) == 2
    assert "9.safetensors: features with neither labels nor targets" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"targets": LABELS}, "targets: dtype torch.int64, allowed are floats"),
        ({"labels": FEATURES[:, :2].clone()}, "labels: dtype torch.float32, allowed are integers"),
    ],
)
def test_the_name_of_a_tensor_in_a_folder_says_what_it_is(tmp_path, tensors, message):
    save_file({"features": FEATURES, **tensors}, tmp_path / "0.safetensors")
    with pytest.raises(InputError, match=f"0.safetensors: {message}"):
        measure(Batches(tmp_path))


def test_features_are_what_enters_the_head_of_a_network():
    network = Network(dropout=0.5)
    network.body[1].eval()
    inputs = DataLoader(TensorDataset(FEATURES, LABELS), batch_size=11)
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    found = measure(Batches(inputs, network))
    assert [module.training for module in network.modules()] == modes
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not network.fc._forward_pre_hooks
    network.eval()
    entering = network.body(FEATURES).detach()
    head = {"weight": network.fc.weight, "bias": network.fc.bias}
    assert_metrics(found, measure(entering, LABELS, **head), rel=1e-4)
    assert_metrics(measure(Batches(inputs, network, head="fc")), found, rel=1e-9)
    hidden = measure(Batches(inputs, network, layer="body.0"))
    assert_metrics(hidden, measure(network.body[0](FEATURES).detach(), LABELS), rel=1e-4)


def test_precision_and_autocast_of_the_caller_do_not_reach_the_features():
    network = Network().eval()
    expected = measure(Batches(cut(20, FEATURES, LABELS), network))
    with torch.autocast("cpu"), torch.enable_grad():
        assert measure(Batches(cut(20, FEATURES, LABELS), network)) == expected


def test_maps_of_a_convolution_are_flattened():
    convolution = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    images = FEATURES.repeat(1, 2).reshape(60, 1, 4, 4)
    found = measure(Batches([(images, LABELS)], convolution, layer="0"))
    maps = convolution[0](images).detach().flatten(1)
    assert_metrics(found, measure(maps, LABELS), rel=1e-4)


def generator_of_batches():
    yield FEATURES, LABELS


def flaky(*passes):
    remaining = iter(passes)
    return lambda: iter([next(remaining)])


REFUSED = {
    "generator": (generator_of_batches(), "batches: an iterator can be read once only"),
    "number": (3, "batches: found int, allowed are a list"),
    "no folder": ("nowhere", "nowhere: no such folder"),
    "none": ([], "batches: none came"),
    "tensors": ([FEATURES], "batch 0: found Tensor, allowed are pairs"),
    "rows": ([(FEATURES, LABELS[:5])], "batch 0: labels: 5 rows"),
    "label": ([(FEATURES, LABELS), (FEATURES, LABELS - 1)], "batch 1: labels: one is -1"),
    "huge label": ([(FEATURES, LABELS + 10**12)], r"batch 0: labels: one is 100000000000\d, allow"),
    "columns": ([(FEATURES, LABELS), (FEATURES[:, :3], LABELS)], "batch 1: features: 3 columns"),
    "format": ([(FEATURES, LABELS), (FEATURES.double(), LABELS)], "batch 1: features: dtype"),
    "nan": ([(FEATURES * math.nan, LABELS)], "features: 8 of 8 values in row 0"),
    "class": ([(FEATURES, LABELS + 1)], "labels: class 0 has no sample"),
    "other labels": (
        flaky((FEATURES, LABELS), (FEATURES[1:], LABELS[1:])),
        "labels: another pass over the batches found others",
    ),
    "augmented": (
        flaky((FEATURES, LABELS), (FEATURES + 0.01, LABELS)),
        "features: another pass over the batches found others",
    ),
    "targets' columns": (
        [(FEATURES, FEATURES[:, :2]), (FEATURES, FEATURES[:, :1])],
        "batch 1: targets: 1 columns, allowed are the 2 of batch 0",
    ),
    "other targets": ([(FEATURES, FEATURES[:, :2]), (FEATURES, LABELS)], "batch 1: targets: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_batches_are_refused_in_one_line(name):
    source, message = REFUSED[name]
    with pytest.raises(InputError, match=f"^{message}") as raised:
        measure(Batches(source))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (dict(head="fc"), "head, layer: found without a model"),
        (dict(model=Network(), head="fc", layer="fc"), "head, layer: found both"),
        (dict(model=Network(), head="nothing"), "model: it has no module 'nothing'"),
        (dict(model=Network(), head="body"), "head: 'body' has no weight of K x d"),
        (dict(model=nn.ReLU()), "model: it has no Linear"),
        (dict(model=LABELS), "model: found Tensor, allowed is a torch.nn.Module"),
    ],
)
def test_a_head_or_layer_that_is_not_there_is_refused(given_, message):
    with pytest.raises(InputError, match=f"^{message}"):
        Batches([(FEATURES, LABELS)], **given_)


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_compiled_is_read_all_the_same(kept):
    network = Network().eval()
    expected = measure(Batches(cut(20, FEATURES, LABELS), network))
    compiled = torch.compile(network, backend="eager")
    if kept:
        compiled(FEATURES)
    assert measure(Batches(cut(20, FEATURES, LABELS), compiled, head="fc")) == expected


def test_a_pass_leaves_alone_that_of_a_training_over_the_same_loader():
    data = TensorDataset(FEATURES, LABELS)
    loader = DataLoader(data, batch_size=20, num_workers=1, persistent_workers=True)
    batches, met = Batches(loader), 0
    for _ in loader:
        measure(batches)
        met += 1
    assert met == 3


def test_an_error_in_the_middle_of_a_pass_leaves_the_network_as_it_was():
    network = Network(dropout=0.5)
    with pytest.raises(RuntimeError):
        measure(Batches([(FEATURES, LABELS), (FEATURES[:, :3], LABELS)], network))
    assert network.training and network.body[3].training and not network.fc._forward_pre_hooks


def test_a_module_that_is_not_reached_is_refused():
    network = Network()
    network.forward = network.body.forward
    with pytest.raises(InputError, match="^batch 0: model: module 'fc' was called 0 times"):
        measure(Batches([(FEATURES, LABELS)], network))


def test_batches_bring_their_own_labels_and_are_of_one_kind():
    batches = Batches([(FEATURES, LABELS)])
    with pytest.raises(InputError, match="^labels, targets: found beside batches"):
        measure(batches, LABELS)
    with pytest.raises(InputError, match="^batches: found with labels, allowed are targets"):
        regression_statistics(batches)
    with pytest.raises(InputError, match="^batches: found with targets, allowed are labels"):
        class_statistics(Batches([(FEATURES, FEATURES)]))
    with pytest.raises(InputError, match="^bias: found without weight"):
        measure(batches, bias=BIAS)
    with pytest.raises(InputError, match="^labels: class 3 has no sample"):
        measure(batches, weight=torch.randn(4, 8))
    with pytest.raises(InputError, match="^labels: one is 2, allowed are 0 to 1"):
        measure(batches, weight=torch.randn(2, 8))
    with pytest.raises(InputError, match="^weight: 7 columns, allowed is one for each of the 8"):
        measure(batches, weight=np.ones((3, 7), dtype=np.float32))
