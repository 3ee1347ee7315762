from importlib import import_module

import numpy as np
import pytest
import torch
import torchvision
from torch.utils._python_dispatch import TorchDispatchMode

from collapse.config import slots
from collapse.errors import InputError
from collapse.models.head import LinearHead
from collapse.models.head import build as build_head
from collapse.models.network import build
from collapse.models.states import get_arrays, set_arrays
from collapse.training.extract import features_of

BACKBONES = {
    "mlp": {
        "kind": "mlp",
        "hidden": [24, 12],
        "normalisation": "batch",
        "ending": "signed",
        "init": "uniform",
    },
    "plain": {
        "kind": "mlp",
        "hidden": [24, 12],
        "normalisation": "none",
        "ending": "signed",
        "init": "uniform",
    },
    "cnn": {"kind": "cnn", "channels": [4, 6, 8, 12, 12], "feature_normalisation": "batch"},
}
RESNET18 = {"kind": "resnet18", "stem": "cifar", "feature_normalisation": "batch"}
IMAGENET = RESNET18 | {"stem": "imagenet", "feature_normalisation": "none"}
VGG16 = {"kind": "vgg16", "feature_normalisation": "batch"}
WRN = {"kind": "wideresnet", "depth": 10, "width": 1}
RESNET20 = {"kind": "cifar_resnet", "depth": 20}
VIT = {"kind": "vit", "patch": 4, "layers": 2, "heads": 2, "width": 8, "mlp_width": 12}
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8)]


def network(model, shape=(1, 8, 8), depth=1, bias=False, seed=0):
    return build(
        {"model": model, "head": {"depth": depth, "bias": bias, "init": "orthogonal"}},
        shape,
        10,
        seed,
    )


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ({"kind": "mlp", "hidden": [16, 16, 16]}, "MLP 3x16"),
        ({"kind": "mlp", "hidden": [8]}, "MLP 1x8"),
        ({"kind": "mlp", "hidden": [24, 12]}, "MLP 24-12"),
        ({"kind": "cnn", "channels": [4, 6, 8]}, "CNN 4-6-8"),
        ({"kind": "resnet18"}, "ResNet18"),
        ({"kind": "resnet18", "stem": "imagenet"}, "ResNet18 (ImageNet stem)"),
        ({"kind": "wideresnet", "depth": 16, "width": 2}, "WRN-16-2"),
        (RESNET20, "ResNet20"),
        (VIT, "ViT 2x8"),
        (VGG16, "VGG16"),
    ],
)
def test_the_config_says_what_a_network_is(model, label):
    section = slots.kinds("model")[model["kind"]].model_validate(model)
    assert section.label == label
    backbone = network(section.model_dump()).backbone
    assert section.dim in (backbone.dim, None)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", BACKBONES)
def test_features_have_the_backbone_dimension_and_both_signs(name, shape):
    net = network(BACKBONES[name], shape, depth=2)
    logits, features = net(torch.randn(16, *shape))
    assert features.shape == (16, net.backbone.dim) == (16, 12)
    assert logits.shape == (16, 10)
    assert (features < 0).any() and (features > 0).any()


@pytest.mark.parametrize("normalisation", ["none", "batch_before"])
@pytest.mark.parametrize(
    ("ending", "last"), [("relu", torch.nn.ReLU), ("linear", torch.nn.Linear), ("signed", None)]
)
def test_endings_of_an_mlp(ending, last, normalisation):
    model = BACKBONES["plain"] | {"hidden": [8, 6], "ending": ending}
    backbone = network(model | {"normalisation": normalisation}, (3, 1, 1)).backbone
    inputs = torch.randn(200, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    features = backbone(inputs)
    assert features.shape == (200, 6) and backbone.dim == 6
    linear = [layer for layer in backbone.layers if isinstance(layer, torch.nn.Linear)]
    assert [(each.in_features, each.out_features) for each in linear] == [(3, 8), (8, 6)] + (
        [(6, 6)] if ending == "signed" else []
    )
    assert (features < 0).any() == (ending != "relu") and (features > 0).any()
    # Written out: ReLUs between the layers, and behind the last one only if it says so.
    values = inputs.flatten(1)
    for index, layer in enumerate(linear):
        values = layer(values)
        if ending == "relu" or index < len(linear) - 1:
            if normalisation == "batch_before":
                variances, means = torch.var_mean(values, 0, correction=0)
                values = (values - means) / (variances + 1e-5).sqrt()
            values = values.clamp_min(0)
    torch.testing.assert_close(features, values)
    assert last is None or isinstance(backbone.layers[-1], last)


@pytest.mark.parametrize("ending", ["signed", "relu", "linear"])
@pytest.mark.parametrize("name", ["mlp", "plain"])
def test_the_hidden_layers_of_an_mlp_are_what_the_next_ones_get(name, ending):
    if name == "mlp" and ending != "signed":
        return
    backbone = network(BACKBONES[name] | {"hidden": [8, 7, 6], "ending": ending}).backbone
    values, inputs = [], []
    for module in backbone.hidden:
        module.register_forward_hook(lambda *call: values.append(call[2].clone()))
    layers = [layer for layer in backbone.layers if isinstance(layer, torch.nn.Linear)]
    for layer in layers:
        layer.register_forward_hook(lambda *call: inputs.append(call[1][0].clone()))
    features = backbone(torch.randn(16, 1, 8, 8))
    # Of the first layer the inputs are the image; of a last ReLU nothing but the head takes values.
    if ending == "relu":
        inputs.append(features)
    if name == "mlp":
        inputs.append(values[-1])
    assert [each.shape[1] for each in values] == [8, 7, 6][: len(values)]
    assert len(values) == (2 if ending == "linear" else 3)
    for found, expected in zip(values, inputs[1:], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("model", "millions"),
    [
        # Published with the architectures: Zagoruyko & Komodakis 2016, Table 4, ViT-B/16
        # without its 1000 outputs and the positions and patches of its larger images,
        # torchvision's VGG16 without the 123,642,856 parameters of its classifier, and He et al.
        # 2016, Table 6.
        ({"kind": "wideresnet", "depth": 16, "width": 8}, 11.0),
        ({"kind": "wideresnet", "depth": 40, "width": 4}, 8.9),
        ({"kind": "wideresnet", "depth": 28, "width": 10}, 36.5),
        (VIT | {"layers": 12, "heads": 12, "width": 768, "mlp_width": 3072}, 85.1),
        (VGG16 | {"feature_normalisation": "none"}, 138.366 - 123.643),
        (RESNET20, 0.27),
        (RESNET20 | {"depth": 110}, 1.7),
    ],
    ids=["WRN-16-8", "WRN-40-4", "WRN-28-10", "ViT-B", "VGG16", "ResNet20", "ResNet110"],
)
def test_networks_have_the_published_number_of_parameters(model, millions):
    with torch.device("meta"):
        backbone = import_module(f"collapse.models.{model['kind']}").build(model, (3, 32, 32))
    count = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(
    ("model", "shape", "widths"),
    [
        (BACKBONES["cnn"] | {"channels": [4, 6]}, (1, 8, 8), [4, 6]),
        (RESNET18, (1, 8, 8), [64, 128, 256, 512]),
        (WRN | {"width": 2}, (3, 9, 9), [32, 64, 128]),
        (WRN, (1, 1, 1), [16, 32, 64]),
        (VGG16, (1, 32, 35), [64, 128, 256, 512, 512]),
        (VIT, (2, 8, 8), [8, 8]),
        (RESNET20, (3, 9, 9), [16, 32, 64]),
        (RESNET20 | {"depth": 8}, (1, 1, 1), [16, 32, 64]),
    ],
    ids=["cnn", "resnet18", "wideresnet", "one-pixel", "vgg16", "vit", "resnet20", "resnet8"],
)
def test_hidden_layers_are_vectors_of_each_sample(model, shape, widths):
    images = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    net = network(model, shape)
    found = features_of(net, [images[:3], images[3:]], hidden=True)
    assert list(found) == [*(f"hidden{n}" for n in range(1, len(widths) + 1)), "H1"]
    assert [values.shape[1] for name, values in found.items() if name != "H1"] == widths
    torch.testing.assert_close(found["H1"], net(images)[1].detach(), rtol=1e-4, atol=1e-5)
    assert all(len(values) == 5 and values.std() > 0 for values in found.values())


def test_the_class_token_of_an_encoder_and_the_average_of_a_last_group_are_the_features():
    for model, ending in (
        (VIT, lambda net, last: net.backbone.layers.encoder.ln(last.clone())),
        (RESNET18 | {"feature_normalisation": "none"}, lambda _, last: last),
    ):
        net = network(model)
        found = features_of(net, [torch.randn(4, 1, 8, 8)], hidden=True)
        last = found[f"hidden{len(net.backbone.hidden)}"]
        torch.testing.assert_close(ending(net, last).detach(), found["H1"], rtol=1e-4, atol=1e-5)


def test_attention_is_made_of_products_that_a_gpu_repeats():
    names = []

    class Operators(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            names.append(str(function))
            return function(*args, **(kwargs or {}))

    net = network(VIT)
    with Operators():
        net(torch.randn(3, 1, 8, 8))[0].sum().backward()
    assert any("softmax" in name for name in names)
    # The fused kernels are called so, forward and backward.
    assert not [name for name in names if "attention" in name]


def test_in_training_mode_batches_have_statistics_of_their_own_and_the_running_ones_stay():
    net = network(BACKBONES["cnn"])
    images = 3 + torch.randn(40, 1, 8, 8)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = features_of(net, [images], training=True)["H1"]
    assert found.mean(0).abs().max() < 1e-5
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert (features_of(net, [images])["H1"].mean(0).abs() > 1e-6).any()


@pytest.mark.parametrize(("classes", "dim"), [(3, 2), (10, 12), (4, 3)])
def test_a_head_starts_as_a_simplex_etf_and_stays(classes, dim):
    torch.manual_seed(0)
    head = LinearHead(dim, classes, 1, bias=True, init="etf", frozen=True)
    weight = head.weights[0].double()
    expected = classes / (classes - 1) * (torch.eye(classes) - 1 / classes).double()
    torch.testing.assert_close(weight @ weight.T, expected, rtol=1e-5, atol=1e-6)
    assert [name for name, _ in head.named_parameters()] == ["layers.0.bias"]
    assert "layers.0.weight" in head.state_dict()
    with pytest.raises(InputError, match=f"etf found with {classes - 2} features, needed are"):
        LinearHead(classes - 2, classes, 1, bias=False, init="etf")


def test_a_kaiming_start_keeps_the_size_of_signals():
    hidden = [300] * 8
    model = BACKBONES["plain"] | {"hidden": hidden, "ending": "relu"}
    inputs = torch.randn(50, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    sizes = {}
    for init in ("kaiming", "uniform"):
        backbone = network(model | {"init": init}, (1, 20, 20)).backbone
        sizes[init] = backbone(inputs).square().mean().item()
        for layer in backbone.layers:
            if isinstance(layer, torch.nn.Linear) and init == "kaiming":
                variance = 2 / layer.in_features
                assert layer.weight.var().item() == pytest.approx(variance, rel=0.05)
                assert not layer.bias.any()
    assert 0.3 < sizes["kaiming"] < 3 and sizes["uniform"] < 0.02


def test_batch_normalised_features_are_centred_in_training():
    for name in ("mlp", "cnn"):
        _, features = network(BACKBONES[name])(torch.randn(64, 1, 8, 8))
        assert features.mean(0).abs().max() < 1e-5


def test_resnet18_keeps_small_images_large():
    net = network(RESNET18, (3, 32, 32), depth=3)
    maps = []
    net.backbone.layers.layer1.register_forward_hook(lambda *call: maps.append(call[2].shape))
    logits, features = net(torch.randn(2, 3, 32, 32))
    assert maps == [(2, 64, 32, 32)]
    assert features.shape == (2, 512) and logits.shape == (2, 10)
    logits.sum().backward()
    assert torch.isfinite(net.backbone.layers.conv1.weight.grad).all()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
def test_the_imagenet_stem_is_torchvisions(shape):
    """The same features as torchvision's network of the same weights, before its classifier."""
    net, maps = network(IMAGENET, shape).double(), []
    whole = torchvision.models.resnet18(weights=None)
    whole.conv1 = torch.nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
    whole.fc = torch.nn.Identity()
    whole.double().load_state_dict(net.backbone.layers.state_dict())
    net.backbone.layers.layer1.register_forward_hook(lambda *call: maps.append(call[2].shape))
    images = torch.randn(4, *shape, dtype=torch.float64)
    _, features = net(images)
    torch.testing.assert_close(features, whole(images))
    size = -(-shape[1] // 4)
    assert maps == [(4, 64, size, size)] and features.shape == (4, 512)


def test_the_imagenet_stem_starts_as_torchvisions():
    found = network(IMAGENET, (1, 28, 28)).backbone.layers.conv1.weight
    own = torchvision.models.resnet18(weights=None).conv1.weight
    # Normal with variance 2/(fan out), whatever the channels of an image.
    for weight in (found, own):
        assert weight.std().item() == pytest.approx((2 / (64 * 7 * 7)) ** 0.5, rel=0.05)
        assert weight.abs().max() > 3 * weight.std()


@pytest.mark.parametrize("model", [BACKBONES["cnn"], RESNET18], ids=["cnn", "resnet18"])
def test_features_without_batchnorm_are_what_enters_it(model):
    images = torch.randn(8, 3, 32, 32)
    _, normalised = network(model, (3, 32, 32))(images)
    net = network(model | {"feature_normalisation": "none"}, (3, 32, 32))
    _, features = net(images)
    # Averages of ReLUs.
    assert (features >= 0).all() and (features > 0).any()
    centred = features - features.mean(0)
    expected = centred / (features.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(normalised, expected, rtol=1e-3, atol=1e-3)


def test_the_parts_of_a_resnet18_are_drawn_in_one_order():
    """The networks of a seed stay what they are: torchvision's, then the stem, then the head."""
    torch.manual_seed(5)
    expected = torchvision.models.resnet18(weights=None).state_dict()
    stem = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False).weight
    head = LinearHead(512, 10, 1, bias=False, init="orthogonal").weights[0]
    found = network(RESNET18, (3, 32, 32), seed=5).state_dict()
    assert torch.equal(found["backbone.layers.conv1.weight"], stem)
    assert torch.equal(found["head.layers.0.weight"], head)
    kept = [name for name in expected if not name.startswith(("conv1.", "fc."))]
    assert len(kept) > 100
    for name in kept:
        assert torch.equal(found[f"backbone.layers.{name}"], expected[name]), name
    assert torch.equal(found["backbone.layers.fc.weight"], torch.ones(512))


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_head_layers_are_orthogonal(depth):
    head = LinearHead(16, 10, depth, bias=False, init="orthogonal")
    shapes = [tuple(weight.shape) for weight in head.weights]
    assert shapes == [(16, 16)] * (depth - 1) + [(10, 16)]
    for weight in head.weights:
        torch.testing.assert_close(weight @ weight.T, torch.eye(len(weight)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_uniform_head_is_within_its_bounds(depth):
    dim, outputs = 400, 30
    torch.manual_seed(0)
    heads = {
        init: LinearHead(dim, outputs, depth, bias=True, init=init)
        for init in ("uniform", "orthogonal")
    }
    for value in (*heads["uniform"].weights, heads["uniform"].bias, heads["orthogonal"].bias):
        assert value.abs().max() <= dim**-0.5
    for weight in heads["uniform"].weights:
        # Uniform: a variance of 1/(3 d), and values all the way to both ends.
        assert weight.std().item() == pytest.approx((3 * dim) ** -0.5, rel=0.02)
        assert weight.max() > 0.99 * dim**-0.5 and weight.min() < -0.99 * dim**-0.5
    assert heads["orthogonal"].weights[-1].abs().max() > dim**-0.5


def test_head_is_linear_and_biased_only_in_the_last_layer():
    head = LinearHead(6, 4, 3, bias=True, init="uniform")
    assert [name for name, _ in head.named_parameters() if "bias" in name] == ["layers.2.bias"]
    features = torch.randn(5, 6)
    product = head.weights[2] @ head.weights[1] @ head.weights[0]
    torch.testing.assert_close(head(features), features @ product.T + head.bias)
    assert LinearHead(6, 4, 3, bias=False, init="uniform").bias is None


def test_a_shortcut_of_a_cifar_resnet_takes_every_second_pixel_and_adds_zeros():
    block = network(RESNET20, (3, 9, 9)).backbone.groups[1][0].eval()
    images = torch.randn(2, 16, 9, 9).abs()
    with torch.no_grad():
        block.norm2.weight.zero_()  # nothing but the shortcut is left
        found = block(images)
    assert found.shape == (2, 32, 5, 5) and not found[:, 16:].any()
    assert torch.equal(found[:, :16], images[:, :, ::2, ::2])


def test_a_relu_head_has_relus_between_its_layers_but_none_on_the_features():
    settings = {"depth": 3, "bias": True, "init": "orthogonal", "activation": "relu", "width": 5}
    head = build_head(6, 4, **settings)
    assert [tuple(weight.shape) for weight in head.weights] == [(5, 6), (5, 5), (4, 5)]
    features = torch.randn(7, 6)
    values = features @ head.weights[0].T
    values = values.clamp_min(0) @ head.weights[1].T
    expected = values.clamp_min(0) @ head.weights[2].T + head.bias
    torch.testing.assert_close(head(features), expected)
    linear = build_head(6, 4, depth=3, bias=False, init="orthogonal")
    assert type(linear) is LinearHead and [w.shape[1] for w in linear.weights] == [6, 6, 6]


def test_a_seed_fixes_the_parameters_and_leaves_the_global_state_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = get_arrays(network(BACKBONES["cnn"], seed=3).state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = get_arrays(network(BACKBONES["cnn"], seed=3).state_dict())
    other = get_arrays(network(BACKBONES["cnn"], seed=4).state_dict())
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["head.layers.0.weight"], other["head.layers.0.weight"])


def test_heads_of_any_depth_stand_on_the_same_backbone():
    shallow, deep = (
        get_arrays(network(BACKBONES["mlp"], depth=depth).state_dict()) for depth in (1, 4)
    )
    names = [name for name in shallow if name.startswith("backbone.")]
    assert names and all(np.array_equal(shallow[name], deep[name]) for name in names)


def test_a_state_survives_the_round_trip_with_scalars_as_vectors():
    source, target = network(BACKBONES["cnn"], seed=0), network(BACKBONES["cnn"], seed=1)
    source(torch.randn(8, 1, 8, 8))
    state = {
        name: np.ascontiguousarray(array) for name, array in get_arrays(source.state_dict()).items()
    }
    set_arrays(target.state_dict(), state)
    found = get_arrays(target.state_dict())
    assert all(np.array_equal(found[name].reshape(-1), state[name].reshape(-1)) for name in state)
    assert found["backbone.layers.2.num_batches_tracked"] == 1


def test_a_foreign_state_is_refused():
    net = network(BACKBONES["mlp"])
    state = get_arrays(net.state_dict())
    with pytest.raises(InputError, match="head.layers.0.weight: shape"):
        set_arrays(net.state_dict(), state | {"head.layers.0.weight": np.zeros((3, 3), np.float32)})
    missing = {name: array for name, array in state.items() if "head" not in name}
    with pytest.raises(InputError, match="head.layers.0.weight: not there"):
        set_arrays(net.state_dict(), missing)
    with pytest.raises(InputError, match="more: not a tensor of this network"):
        set_arrays(net.state_dict(), state | {"more": np.zeros(1)})
