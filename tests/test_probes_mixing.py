"""Probes of mixed samples, against samples that are mixed and passed on by hand."""

from copy import deepcopy
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
import torch

from collapse.errors import InputError
from collapse.probes import State, mixed_curves, mixed_labels, mixed_points
from collapse.probes.mixing import mixed_features
from collapse.training.samples import Samples
from conftest import CPU, MLP, PLAIN, K, network, pixels

LINEAR = PLAIN | {"hidden": [12], "ending": "linear"}
CURVES = {
    "views": ["eval"], "augmentation": [], "layers": "last", "pairs": 6, "samples": 1, "mixes": 5,
}  # fmt: skip
POINTS = {
    "views": ["eval"], "augmentation": [], "layers": "last", "classes": None, "batches": 4,
    "batch_size": 12,
}  # fmt: skip


def state_of(model=MLP, count=K, last=True, **changes):
    """A state of a network with a head of two layers, and so many samples of K classes in turn.

    With K samples each class has one, and nothing depends on which are chosen.
    """
    images = Samples(pixels(count), (0.5,), (0.3,), 16, CPU)
    net = network(model, seed=2)
    state = {"targets": torch.arange(count) % K, "samples": images, "network": net}
    weights = [weight.detach() for weight in net.head.weights]
    return State(config={}, tensors={}, weights=weights, last=last, **state | changes)


def passed_on(state, images):
    """Features of images by layer, by the network's own modules one after the other, float64."""
    net, found = deepcopy(state.network).double().eval(), {}
    with torch.no_grad():
        values = images.double()
        for module in net.backbone.layers:
            values = module(values)
            if any(module is each for each in net.backbone.hidden):
                found[f"hidden{len(found) + 1}"] = values.clone()
    return {name: each.numpy() for name, each in (found | {"H1": values}).items()}


def product_of(state):
    return (state.weights[1].double() @ state.weights[0].double()).numpy()


def reads(logits, first, second):
    """u and v of rows of logits: of both classes, less the mean of the others."""
    others = [label for label in range(logits.shape[1]) if label not in (first, second)]
    centre = logits[:, others].mean(1)
    return logits[:, first] - centre, logits[:, second] - centre


def mixes_of(state, first, second, mix):
    """Mixed images of one sample each, a row for each lambda."""
    images = state.samples.take(slice(None)).double()
    weight = torch.tensor(np.asarray(mix), dtype=torch.float64).view(-1, 1, 1, 1)
    return weight * images[first] + (1 - weight) * images[second]


def rows_of(state, settings):
    return {(layer, name): value for layer, name, value in mixed_curves.rows(state, settings)}


@pytest.mark.parametrize("model", [PLAIN, MLP], ids=["plain", "batchnorm"])
def test_curves_are_of_samples_that_are_mixed_first_and_then_passed_on(model):
    state, mix = state_of(model), np.linspace(0, 1, 5)
    settings = CURVES | {"layers": "all"}
    table, rows = mixed_curves.points(state, settings), rows_of(state, settings)
    assert set(table["view"]) == {"eval"} and len(table) == 3 * 6 * 5
    means = passed_on(state, state.samples.take(slice(None)))
    along, layers = {layer: [] for layer in means}, list(means)
    left, spread = dict.fromkeys(layers, 0.0), dict.fromkeys(layers, 0.0)
    for first, second in combinations(range(K), 2):
        features = passed_on(state, mixes_of(state, first, second, mix))
        for layer, values in features.items():
            centred = means[layer] - means[layer].mean(0)
            logits = values @ (product_of(state) if layer == "H1" else centred).T
            u, v = reads(logits, first, second)
            chosen = table[(table["layer"] == layer) & (table["first"] == first)]
            chosen = chosen[chosen["second"] == second]
            np.testing.assert_array_equal(chosen["mix"], mix)
            scale = abs(logits).max()
            np.testing.assert_allclose(chosen[["u", "v"]].T, [u, v], rtol=1e-4, atol=1e-5 * scale)
            along[layer].append(u + v)
            between = values[1:-1]
            straight = mix[1:-1, None] * values[-1] + (1 - mix[1:-1, None]) * values[0]
            left[layer] += np.sum((between - straight) ** 2)
            spread[layer] += np.sum((between - between.mean(0)) ** 2)
    for layer in layers:
        total = np.sum(along[layer], axis=0)
        half = 2 * total[2] / (total[0] + total[-1])
        assert rows[layer, "amplification_half"] == pytest.approx(half, rel=1e-3, abs=1e-4)
        assert rows[layer, "convex_r2"] == pytest.approx(1 - left[layer] / spread[layer], abs=1e-4)
    # Not linear: neither is 1 by itself.
    assert abs(rows["H1", "convex_r2"] - 1) > 1e-3
    weight = product_of(state) - product_of(state).mean(0)
    gram, ideal = weight @ weight.T, (np.eye(K) - 1 / K) / np.sqrt(K - 1)
    distance = np.linalg.norm(gram / np.linalg.norm(gram) - ideal)
    assert rows["H1", "classifier_ETF"] == pytest.approx(distance, rel=1e-5)
    norm = np.linalg.norm(weight, axis=1).mean()
    assert rows["H1", "classifier_norm"] == pytest.approx(norm, rel=1e-6)


def test_a_linear_network_puts_mixed_samples_between_the_class_means():
    # Each of the 12 samples of a class is taken once: by linearity no pairing matters.
    state, mix = state_of(LINEAR, 48), np.linspace(0, 1, 5)
    settings = CURVES | {"samples": 12}
    rows, table = rows_of(state, settings), mixed_curves.points(state, settings)
    assert rows["H1", "amplification_half"] == pytest.approx(1, abs=1e-4)
    assert rows["H1", "convex_r2"] == pytest.approx(1, abs=1e-9)
    features = passed_on(state, state.samples.take(slice(None)))["H1"]
    means = np.stack([features[label::K].mean(0) for label in range(K)])
    for (first, second), chosen in table.groupby(["first", "second"]):
        ends = mix[:, None] * means[first] + (1 - mix[:, None]) * means[second]
        u, v = reads(ends @ product_of(state).T, first, second)
        np.testing.assert_allclose(chosen[["u", "v"]].T, [u, v], atol=1e-5)
    # Fewer pairs of classes are a selection of all, the same at every state.
    few = mixed_curves.points(state, settings | {"pairs": 2})
    again = mixed_curves.points(state_of(LINEAR, 48, last=False), settings | {"pairs": 2})
    assert few.equals(again) and len(few) == 2 * 5
    assert len(few.merge(table, on=["first", "second", "mix", "u", "v"])) == len(few)


def test_in_training_mode_batches_give_the_statistics_and_running_ones_stay():
    state = state_of(MLP)
    before = {name: value.clone() for name, value in state.network.named_buffers()}
    settings = CURVES | {"views": ["train", "eval"]}
    table = mixed_curves.points(state, settings)
    rows = rows_of(state, settings)
    for name, value in state.network.named_buffers():
        assert torch.equal(value, before[name]), name
    net, pairs = deepcopy(state.network).train(), list(combinations(range(K), 2))
    total = []
    for mix in np.linspace(0, 1, 5):
        # All pairs of classes at one lambda are a batch.
        images = torch.cat([mixes_of(state, *pair, [mix]) for pair in pairs]).float()
        with torch.no_grad():
            logits = (net.backbone(images).double() @ torch.from_numpy(product_of(state)).T).numpy()
        u, v = np.array(
            [np.ravel(reads(row[None], *pair)) for row, pair in zip(logits, pairs, strict=True)]
        ).T
        found = table[(table["view"] == "train") & (table["mix"] == mix)]
        np.testing.assert_allclose(found["u"], u, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found["v"], v, rtol=1e-4, atol=1e-4)
        total.append((u + v).sum())
    # Rows are of the first view.
    half = 2 * total[2] / (total[0] + total[4])
    assert rows["H1", "amplification_half"] == pytest.approx(half, rel=1e-3)
    evaluated = table.loc[table["view"] == "eval", ["u", "v"]].to_numpy()
    assert evaluated.tolist() == mixed_curves.points(state, CURVES)[["u", "v"]].to_numpy().tolist()
    # On the way only the first view is measured.
    assert set(mixed_curves.points(state_of(last=False), settings)["view"]) == {"train"}


def test_both_of_a_pair_are_moved_by_themselves_before_they_are_mixed():
    state = state_of(LINEAR, 48)
    first, second = torch.arange(24), torch.arange(24, 48)
    mix = torch.full((24,), 0.3, dtype=torch.float64)
    batches, settings = [(first, second, mix)], {"augmentation": ["flip"]}

    def found(view, **changes):
        return mixed_features(state, view, batches, settings | changes, False)["H1"].numpy()

    images = state.samples.take(slice(None))
    ways = [passed_on(state, each)["H1"] for each in (images, images.flip(-1))]
    moved, plain = found("eval_augmented"), found("eval")
    taken = set()
    for row in range(24):
        gaps = {
            (one, other): abs(0.3 * ways[one][row] + 0.7 * ways[other][row + 24] - moved[row]).max()
            for one, other in product((0, 1), repeat=2)
        }
        way = min(gaps, key=gaps.get)
        assert gaps[way] < 1e-5
        taken.add(way)
    assert taken == set(product((0, 1), repeat=2))
    np.testing.assert_allclose(plain, 0.3 * ways[0][:24] + 0.7 * ways[0][24:], atol=1e-5)
    assert np.array_equal(moved, found("eval_augmented"))
    cropped = found("eval_augmented", augmentation=["crop"])
    assert abs(cropped - plain).max(1).min() > 1e-3
    assert np.array_equal(cropped, found("eval_augmented", augmentation=["crop"]))


def test_mixed_samples_are_passed_on_in_the_products_of_the_state():
    first, second = torch.arange(24), torch.arange(24, 48)
    batches = [(first, second, torch.full((24,), 0.3, dtype=torch.float64))]
    exact, rounded = (state_of(LINEAR, 48, products=name) for name in ("float32", "float16"))

    def found(state):
        return mixed_features(state, "eval", batches, {"augmentation": []}, True)

    for layer, values in found(exact).items():
        gap = (found(rounded)[layer] - values).norm() / values.norm()
        assert 0 < gap < 2e-3
    # Beyond float16, whose largest number is 65,504, they are float32's.
    for state in (exact, rounded):
        with torch.no_grad():
            state.network.backbone.layers[1].weight.mul_(1e7)
    large = found(exact)
    assert large["H1"].abs().max() > 1e5
    for layer, values in found(rounded).items():
        assert torch.equal(values, large[layer])


def plane(rows):
    """The map to the plane of three rows: the polar factor by an eigendecomposition."""
    centre = rows.mean(0)
    values, vectors = np.linalg.eigh((rows - centre) @ (rows - centre).T)
    inverse = (vectors[:, 1:] / np.sqrt(values[1:])) @ vectors[:, 1:].T
    polar = inverse @ (rows - centre)
    base = np.sqrt(2) * np.array([[0.5, -0.5, 0], [0, 0, np.sqrt(0.75)]])
    return base @ (np.eye(3) - 1 / 3) @ polar, centre


@pytest.mark.parametrize("chosen", [None, [3, 0, 1]], ids=["random", "chosen"])
def test_points_lie_where_the_plane_of_three_classes_has_them(chosen):
    state = state_of(PLAIN)
    settings = POINTS | {"layers": "all", "classes": chosen}
    table = mixed_points.points(state, settings)
    labels = chosen or sorted(table["first"].unique())
    assert len(set(labels)) == 3 and set(table["second"]) == set(labels)
    means = passed_on(state, state.samples.take(slice(None)))
    for layer, own in table.groupby("layer"):
        rows = (product_of(state) if layer == "H1" else means[layer])[labels]
        projection, centre = plane(rows)
        weights = own[own["view"] == "weights"]
        assert weights["first"].tolist() == weights["second"].tolist() == labels
        np.testing.assert_allclose(
            weights[["x", "y"]], (rows - centre) @ projection.T, rtol=1e-4, atol=1e-5
        )
        points = own[own["view"] == "eval"]
        assert len(points) == (4 + 1) * 12
        lambdas = points["mix"].to_numpy().reshape(5, 12)
        # One in each batch, from as many intervals; then 1/2.
        assert (lambdas == lambdas[:, :1]).all() and lambdas[4, 0] == 0.5
        assert (lambdas[:4, 0] * 4).astype(int).tolist() == [0, 1, 2, 3]
        features = passed_on(
            state,
            mixes_of(state, points["first"].tolist(), points["second"].tolist(), points["mix"]),
        )[layer]
        scale = abs(features).max()
        places = (features - centre) @ projection.T
        np.testing.assert_allclose(points[["x", "y"]], places, rtol=1e-4, atol=1e-5 * scale)
        # Of hidden layers the three classes' centred means are the classifier.
        centred = means[layer][labels] - means[layer][labels].mean(0)
        classifier = product_of(state) if layer == "H1" else centred
        column = {label: label if layer == "H1" else labels.index(label) for label in labels}
        logits, ends = (values @ classifier.T for values in (features, means[layer]))
        for row, point in enumerate(points.itertuples()):
            if point.first == point.second:
                assert np.isnan(point.along) and np.isnan(point.convex_along)
                continue
            pair = column[point.first], column[point.second]
            near = {"rel": 1e-4, "abs": 1e-5 * abs(logits).max()}
            assert point.along == pytest.approx(sum(reads(logits[[row]], *pair)).item(), **near)
            both = sum(reads(ends[[point.first, point.second]], *pair))
            straight = point.mix * both[0] + (1 - point.mix) * both[1]
            assert point.convex_along == pytest.approx(straight, **near)
    # As in training: each of a batch is once the first and once the second of a pair.
    batches = table[(table["view"] == "eval") & (table["layer"] == "H1")].groupby("mix")
    for _, batch in batches:
        assert sorted(batch["first"]) == sorted(batch["second"])


def test_points_on_the_way_are_of_one_view_of_the_last_layer():
    settings = POINTS | {"views": ["train", "eval"], "layers": "all"}
    # More samples than are drawn: none is drawn twice in a batch.
    last, before = (
        mixed_points.points(state_of(MLP, 80, last=last), settings) for last in (True, False)
    )
    assert set(last["view"]) == {"train", "eval", "weights"}
    assert set(last["layer"]) == {"hidden1", "hidden2", "H1"}
    assert set(before["view"]) == {"train", "weights"} and set(before["layer"]) == {"H1"}
    same = last[(last["layer"] == "H1") & (last["view"] != "eval")]
    pd.testing.assert_frame_equal(same.reset_index(drop=True), before)
    assert list(mixed_points.rows(state_of(), settings)) == []


def test_a_linear_network_has_no_channel_between_its_classes():
    table = mixed_points.points(state_of(LINEAR), POINTS)
    points = table[table["view"] == "eval"].dropna()
    np.testing.assert_allclose(points["along"], points["convex_along"], atol=1e-5)


@pytest.mark.parametrize(("probe", "settings"), [(mixed_curves, CURVES), (mixed_points, POINTS)])
@pytest.mark.parametrize("lacking", ["targets", "network", "samples"])
def test_what_has_no_labels_or_no_network_is_refused(probe, settings, lacking):
    # Real targets have no classes to mix.
    state = state_of(**{lacking: torch.zeros(K, 2) if lacking == "targets" else None})
    with pytest.raises(InputError, match="probes: mixed samples need a network that is trained on"):
        probe.points(state, settings)


def test_the_least_excess_is_that_of_any_epoch_so_far():
    history = pd.DataFrame(
        {"epoch": [1, 2, 3], "data_loss": [1.5, 0.7, 0.9], "label_entropy": [0.5, 0.4, 0.45]}
    )
    for epochs, excess in ((1, 1.0), (2, 0.3), (3, 0.3)):
        past = history[history["epoch"] <= epochs]
        found = list(mixed_labels.rows(state_of(history=past), {}))
        assert [(layer, name) for layer, name, _ in found] == [
            ("all", "training_loss"), ("all", "label_entropy"), ("all", "least_excess"),
        ]  # fmt: skip
        expected = [*past[["data_loss", "label_entropy"]].iloc[-1], excess]
        assert [value for *_, value in found] == pytest.approx(expected)
    assert list(mixed_labels.rows(state_of(history=history.iloc[:0]), {})) == []
    for wrong in (None, history.drop(columns="label_entropy")):
        with pytest.raises(InputError, match="probe mixed_labels: a network .* soft labels needed"):
            list(mixed_labels.rows(state_of(history=wrong), {}))


@pytest.mark.parametrize("size", [3, 12])
def test_a_rare_class_has_a_mean_though_it_is_in_no_batch(size):
    targets = torch.tensor([0, 1, 3, *[2] * 500])
    state = state_of(PLAIN, len(targets), targets=targets)
    settings = POINTS | {"layers": "all", "classes": [0, 1, 2], "batches": 1, "batch_size": size}
    table = mixed_points.points(state, settings)
    assert set(table["layer"]) == {"hidden1", "hidden2", "H1"}
    samples = table[table["view"] == "eval"]
    assert not {0, 1} <= set(samples["first"])
    rows = table[(table["view"] == "weights") & (table["layer"] != "H1")]
    assert np.isfinite(rows[["x", "y"]]).all(axis=None)
