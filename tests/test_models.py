import numpy as np
import pytest
import torch
import torchvision

from collapse.config import slots
from collapse.errors import InputError
from collapse.models.head import LinearHead
from collapse.models.network import build
from collapse.models.states import get_arrays, set_arrays

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
    ],
)
def test_the_config_says_what_a_network_is(model, label):
    section = slots.kinds("model")[model["kind"]].model_validate(model)
    assert section.label == label
    backbone = network(section.model_dump()).backbone
    assert section.width in (backbone.dim, None)
    assert (section.width is None) == (model["kind"] == "resnet18")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", BACKBONES)
def test_features_have_the_backbone_dimension_and_both_signs(name, shape):
    net = network(BACKBONES[name], shape, depth=2)
    logits, features = net(torch.randn(16, *shape))
    assert features.shape == (16, net.backbone.dim) == (16, 12)
    assert logits.shape == (16, 10)
    assert (features < 0).any() and (features > 0).any()


@pytest.mark.parametrize(
    ("ending", "last"), [("relu", torch.nn.ReLU), ("linear", torch.nn.Linear), ("signed", None)]
)
def test_endings_of_an_mlp(ending, last):
    model = BACKBONES["plain"] | {"hidden": [8, 6], "ending": ending}
    backbone = network(model, (3, 1, 1)).backbone
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
