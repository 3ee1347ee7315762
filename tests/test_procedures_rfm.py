"""Deep recursive feature machines: kernel, gradients and layers, and from config to tables."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse import config, jobs
from collapse.artifacts import read_table, read_tensors
from collapse.cli import main
from collapse.config.sections.procedure.rfm import DEVICE_BYTES, MATRICES, Section
from collapse.errors import InputError
from collapse.metrics import rows as blocks
from collapse.procedures.rfm import kernel, layers
from conftest import CLASS_KEYS, CPU, FEW, assert_metrics, class_reference, needs_gpu
from test_procedures_problem import CONFIG, command, make

BLOCK = {
    "procedure": "rfm",
    "data": {"name": "digits", "samples_per_class": 7},
    "depth": 3,
    "width": 20,
    "bandwidth": 1.5,
    "ridge": 1e-2,
    "seeds": 1,
}
ARMS = ("agop", "identity", "shuffled")
SHAPES = {"count": st.integers(2, 9), "dim": st.integers(1, 6), "outputs": st.integers(1, 4)}


def drawn(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def by_autograd(point, samples, coefficients, bandwidth):
    """The Jacobian of the predictor at a point, C x d, of the samples that do not coincide."""
    others = (samples != point).any(1)

    def predictor(x):
        lengths = (x - samples[others]).square().sum(1).sqrt()
        return torch.exp(-lengths / bandwidth) @ coefficients[others]

    return torch.autograd.functional.jacobian(predictor, point)


# Kernel regression


@FEW
@given(count=SHAPES["count"], others=st.integers(1, 7), dim=SHAPES["dim"])
def test_the_kernel_is_that_of_every_pair(count, others, dim):
    points, samples = drawn(1, others, dim), drawn(2, count, dim)
    expected = [[math.exp(-math.dist(x, z) / 0.7) for z in samples] for x in points]
    torch.testing.assert_close(
        kernel.laplace(points, samples, 0.7), torch.tensor(expected, dtype=torch.float64)
    )


@FEW
@given(scale=st.floats(1e-6, 1e6), dim=SHAPES["dim"])
def test_what_coincides_is_at_distance_zero_and_nothing_else_is(scale, dim):
    samples = scale * drawn(3, 5, dim)
    near = samples.clone()
    near[0, 0] += 1e-5 * samples[0].norm()
    found = kernel.distances(near, samples)
    assert (found.diagonal()[1:] == 0).all()
    assert found[0, 0].item() == pytest.approx(1e-5 * samples[0].norm().item(), rel=1e-4)
    assert (found + torch.eye(5) > 0).all()


@FEW
@given(**SHAPES)
def test_the_ridge_regression_is_that_of_a_linear_solve(count, dim, outputs):
    samples, targets = drawn(4, count, dim), drawn(5, count, outputs)
    matrix = np.exp(-np.linalg.norm(samples[:, None] - samples[None], axis=2) / 2)
    expected = np.linalg.solve(matrix + 0.1 * np.eye(count), targets.numpy())
    found = kernel.fit(samples, targets, 2.0, 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    values = kernel.predict(samples, samples, found, 2.0)
    np.testing.assert_allclose(values, matrix @ expected, rtol=1e-9, atol=1e-12)
    # What the regression leaves of its targets is the ridge times the coefficients.
    np.testing.assert_allclose(targets - values, 0.1 * found, rtol=1e-7, atol=1e-10)


def test_a_ridge_too_small_for_its_samples_is_one_line():
    same = torch.ones(6, 2, dtype=torch.float64)
    with pytest.raises(InputError, match="ridge: 1e-30 found, too little"):
        kernel.fit(same, drawn(6, 6, 1), 1.0, 1e-30)


# Gradients


@FEW
@given(**SHAPES, twin=st.booleans())
def test_gradients_are_those_of_autograd(count, dim, outputs, twin):
    samples, coefficients = drawn(7, count, dim), drawn(8, count, outputs)
    if twin:
        samples[-1] = samples[0]
    points = torch.cat([samples, drawn(9, 3, dim)])
    found = torch.stack(list(kernel.gradients(points, samples, coefficients, 1.3)), 1)
    for point, jacobian in zip(points, found, strict=True):
        expected = by_autograd(point, samples, coefficients, 1.3)
        torch.testing.assert_close(jacobian, expected, rtol=1e-9, atol=1e-12)


@FEW
@given(**SHAPES)
def test_the_agop_is_that_of_a_loop(count, dim, outputs):
    samples, coefficients = drawn(10, count, dim), drawn(11, count, outputs)
    expected = torch.zeros(dim, dim, dtype=torch.float64)
    for i in range(count):
        jacobian = torch.zeros(outputs, dim, dtype=torch.float64)
        for j in range(count):
            if i != j:
                gap = samples[i] - samples[j]
                pull = -torch.exp(-gap.norm() / 0.9) / 0.9 * gap / gap.norm()
                jacobian += coefficients[j][:, None] * pull
        expected += jacobian.T @ jacobian / count
    found = kernel.agop(samples, coefficients, 0.9)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("numbers", [1, 7, 23, 100])
def test_blocks_of_rows_change_nothing(numbers, monkeypatch):
    samples, targets = drawn(12, 11, 4), drawn(13, 11, 3)

    def everything():
        coefficients = kernel.fit(samples, targets, 1.0, 0.01)
        values = kernel.predict(samples[:5], samples, coefficients, 1.0)
        return coefficients, values, kernel.agop(samples, coefficients, 1.0)

    whole = everything()
    monkeypatch.setitem(blocks.ELEMENTS_PER_BLOCK, "cpu", numbers)
    for part, expected in zip(everything(), whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-10, atol=1e-12)


@needs_gpu
def test_a_gpu_computes_the_same():
    samples, targets = drawn(16, 300, 20), drawn(17, 300, 3)
    found = []
    for device in ("cpu", "cuda"):
        here, there = samples.to(device), targets.to(device)
        coefficients = kernel.fit(here, there, 1.0, 0.01)
        agop = kernel.agop(here, coefficients, 1.0)
        root = layers.root_of(agop, "shuffled", 0, 1)
        outside = layers.features(layers.projected(here, root), MAP, 0, 1)
        found.append([each.cpu() for each in (coefficients, agop, outside)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


# Layers


def data_set(train, test):
    """Images of 2 x 2 pixels, of two classes in turn."""
    images = [np.asarray(values, np.uint8).reshape(-1, 1, 2, 2) for values in (train, test)]
    labels = [np.arange(len(values)) % 2 for values in images]
    parts = dict(zip(("inputs", "test_inputs"), images, strict=True))
    parts |= dict(zip(("targets", "test_targets"), labels, strict=True))
    return layers.Dataset(**parts, mean=(0.0,), std=(1.0,), maximum=255, outputs=("a", "b"))


def test_each_pixel_is_standardised_by_the_training_images():
    train = [[1, 5, 9, 0], [3, 5, 1, 8], [1, 5, 9, 0], [3, 5, 1, 8]]
    given_set = data_set(train, [[2, 7, 5, 4], [3, 5, 9, 8]])
    inputs, labels, test, test_labels = layers.inputs_of(given_set, {}, CPU)
    assert inputs.tolist() == [[-1, 0, 1, -1], [1, 0, -1, 1]] * 2
    assert test.tolist() == [[0, 0, 0, 0], [1, 0, 1, 1]]  # a pixel that never varied says nothing
    assert labels.tolist() == [0, 1, 0, 1] and test_labels.tolist() == [0, 1]
    assert inputs.dtype == test.dtype == torch.float64
    chosen, *_ = layers.inputs_of(given_set, {"samples_per_class": 1}, CPU)
    assert len(chosen) == 2


def test_targets_are_signs():
    assert layers.signs(torch.tensor([2, 0]), 3).tolist() == [[-1, -1, 1], [1, -1, -1]]


def test_rows_are_normalised_and_zero_stays():
    found = layers.normalised(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    assert found.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]


@FEW
@given(dim=st.integers(1, 12), rank=st.integers(1, 12), seed=st.integers(0, 99))
def test_roots_have_the_spectrum_of_the_agop(dim, rank, seed):
    half = drawn(seed, dim, rank)
    agop = half @ half.T
    expected = np.linalg.eigvalsh(agop / agop.max()).clip(0)
    for projection in ("agop", "shuffled"):
        root = layers.root_of(agop, projection, seed, 1)
        torch.testing.assert_close(root, root.T)
        square = (root @ root).numpy()
        np.testing.assert_allclose(np.linalg.eigvalsh(square), expected, atol=1e-10)
    straight = layers.root_of(agop, "agop", seed, 1)
    torch.testing.assert_close(straight @ straight, agop / agop.max(), rtol=0, atol=1e-10)


def test_a_shuffled_basis_is_orthonormal_and_another_for_each_layer_and_seed():
    agop = torch.diag(torch.arange(1.0, 9.0, dtype=torch.float64))
    roots = [layers.root_of(agop, "shuffled", *place) for place in ((0, 1), (0, 2), (1, 1))]
    again = layers.root_of(agop, "shuffled", 0, 1)
    assert torch.equal(roots[0], again)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (roots[one] - roots[other]).norm() > 0.5
    # Of a uniform basis every direction gets the mean eigenvalue.
    many = [layers.root_of(agop, "shuffled", seed, 1) for seed in range(400)]
    diagonal = torch.stack([(root @ root).diagonal() for root in many]).mean(0)
    torch.testing.assert_close(diagonal, torch.full((8,), 4.5 / 8).double(), rtol=0.05, atol=0)


MAP = {"width": 30, "length_scale": 0.8, "feature_map": "relu"}


def test_relu_features_are_those_of_a_layer_as_pytorch_starts_it():
    values = torch.eye(5, dtype=torch.float64)
    found = layers.features(values, MAP | {"width": 4000}, 0, 1)
    weights = torch.cat([found, layers.features(-values, MAP | {"width": 4000}, 0, 1)])
    assert found.shape == (5, 4000) and (found >= 0).all()
    bound = 1 / math.sqrt(5)
    assert 0.99 * bound < weights.max() <= bound
    assert found.mean().item() == pytest.approx(bound / 4, rel=0.03)


def test_fourier_features_approach_the_laplace_kernel():
    values = drawn(14, 6, 3)
    found = layers.features(values, MAP | {"width": 100_000, "feature_map": "fourier"}, 0, 1)
    expected = kernel.laplace(values, values, 0.8)
    torch.testing.assert_close(found @ found.T, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("feature_map", layers.MAPS)
def test_features_are_those_of_seed_and_layer_alone(feature_map):
    values, given_map = drawn(15, 4, 3), MAP | {"feature_map": feature_map}
    first = layers.features(values, given_map, 3, 1)
    assert torch.equal(first, layers.features(values, given_map, 3, 1))
    torch.testing.assert_close(first[:2], layers.features(values[:2], given_map, 3, 1))
    for seed, layer in ((3, 2), (4, 1)):
        assert not torch.allclose(first, layers.features(values, given_map, seed, layer))


@FEW
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 20))
def test_the_scale_of_the_agop_changes_no_next_layer(scale, seed):
    half, values = drawn(seed, 4, 4), drawn(seed + 1, 6, 4)

    def following(agop):
        root = layers.root_of(agop, "agop", 0, 1)
        return layers.normalised(layers.features(values @ root, MAP, 0, 1))

    agop = half @ half.T
    torch.testing.assert_close(following(agop), following(scale * agop), rtol=1e-6, atol=1e-8)


# From the config to tables


def atlas_of(**changes):
    """The config with such an experiment, whose first seed is 1."""
    user = {"scale": "smoke", "first_seed": 1, "deep_rfm": {"mine": BLOCK | changes}}
    return config.load(CONFIG, user, "my.yaml")


def computed(results, atlas, folder):
    """Compute and measure a group; return its states, what they say of runs, and its tables."""
    place = f"deep_rfm/mine/{folder}"
    job = jobs.measure_group(atlas, "deep_rfm", "mine", folder)
    make(results, f"{place}/metrics.parquet", job)
    states, attributes = read_tensors(results / place / "states.safetensors")
    names = ("history", "metrics", "samples")
    tables = (read_table(results / place / f"{name}.parquet") for name in names)
    return states, attributes["runs"], *tables


@pytest.fixture(scope="module")
def finished_group(tmp_path_factory):
    results = tmp_path_factory.mktemp("rfm")
    grid = {"feature_map": ["relu", "fourier"], "projection": list(ARMS)}
    return results, computed(results, atlas_of(grid=grid, seeds=2), "seeds=1-2")


def images(results):
    """Images as standardised rows, and labels: the first 7 of each class, and those held out."""
    tensors, _ = read_tensors(results / "data/digits.safetensors")
    labels = tensors["train_labels"]
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == k)[:7] for k in range(10)]))
    train, test = (
        tensors[f"{part}_inputs"].reshape(len(tensors[f"{part}_inputs"]), -1).astype(float)
        for part in ("train", "test")
    )
    train = train[chosen]
    deviation = np.where(train.std(0) > 0, train.std(0), np.inf)
    standard = [(values - train.mean(0)) / deviation for values in (train, test)]
    return standard[0], labels[chosen], standard[1][:70], tensors["test_labels"][:70]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("feature_map", layers.MAPS)
def test_each_layer_is_that_of_the_definition(finished_group, arm, feature_map):
    results, (states, _, history, table, samples) = finished_group
    run = f"feature_map={feature_map}+projection={arm}+seed=2"
    chosen = [
        rows[
            (rows["feature_map"] == feature_map) & (rows["projection"] == arm) & (rows["seed"] == 2)
        ]
        for rows in (history, table, samples)
    ]
    values, labels, test, test_labels = images(results)
    targets = 2 * np.eye(10)[labels] - 1
    settings = {"feature_map": feature_map, "width": 20, "length_scale": 1.0}
    for step in (1, 2, 3):
        values, test = unit(values), unit(test)
        gaps = values[:, None] - values[None]
        lengths = np.linalg.norm(gaps, axis=2)
        matrix = np.exp(-lengths / 1.5)
        alpha = np.linalg.solve(matrix + 1e-2 * np.eye(70), targets)
        state = f"{run}/{step:06d}"
        np.testing.assert_allclose(states[f"{state}/coefficients"], alpha, rtol=1e-6, atol=1e-8)
        root = np.eye(values.shape[1])
        if arm == "identity":
            assert f"{state}/root" not in states
        else:
            root = states[f"{state}/root"]
            pulls = -matrix / 1.5 / np.where(lengths > 0, lengths, np.inf)
            jacobians = np.einsum("ij,jc,ijd->icd", pulls, alpha, gaps)
            agop = np.einsum("icd,ice->de", jacobians, jacobians) / 70
            expected, found = agop / agop.max(), root @ root
            if arm == "shuffled":
                expected, found = (np.linalg.eigvalsh(each) for each in (expected, found))
            np.testing.assert_allclose(found, expected, atol=1e-8)
        inside, inside_test = values @ root, test @ root
        outside, outside_test = (
            layers.features(torch.from_numpy(each), settings, 2, step).numpy()
            for each in (inside, inside_test)
        )
        rows = chosen[1][chosen[1]["step"] == step]
        for place, each in (("X", values), ("MX", inside), ("Phi", outside)):
            measured = rows[rows["layer"] == place].set_index("metric")["value"]
            reference = class_reference(each, labels)
            keys = [key for key in CLASS_KEYS if key != "NC1" or place != "MX"]
            assert_metrics(
                {key: measured[key] for key in keys}, {key: reference[key] for key in keys}, 1e-5
            )
        outer = np.exp(-np.linalg.norm(test[:, None] - values[None], axis=2) / 1.5) @ alpha
        accuracy = np.mean(outer.argmax(1) == test_labels)
        errors = np.mean((matrix @ alpha).argmax(1) != labels)
        squares = np.mean((matrix @ alpha - targets) ** 2)
        found = rows[rows["layer"] == "all"].set_index("metric")["value"]
        assert found["test_accuracy"] == pytest.approx(accuracy)
        assert found["error"] == pytest.approx(errors)
        assert found["squared_error"] == pytest.approx(squares, rel=1e-6)
        assert chosen[0].set_index("step").loc[step, "error"] == pytest.approx(errors)
        values, test = outside, outside_test
    # Cosines of the first five samples of each class, each pair once.
    first = chosen[2][(chosen[2]["step"] == 1) & (chosen[2]["layer"] == "X")]
    start = unit(images(results)[0])
    order = np.concatenate([np.flatnonzero(labels == k)[:5] for k in range(10)])
    centred = unit(start[order] - start.mean(0))
    row, column = first["row"], first["column"]
    np.testing.assert_allclose(first["value"], (centred @ centred.T)[row, column], atol=1e-10)
    assert len(first) == 50 * 51 // 2 and (first["row_class"] == row // 5).all()
    assert set(zip(chosen[2]["step"], chosen[2]["layer"], strict=True)) == {
        (1, "X"), (2, "X"), (3, "X"), (3, "Phi"),
    }  # fmt: skip


def test_runs_of_all_arms_share_a_job_and_end_at_their_depth(finished_group):
    _, (_, runs, history, table, _) = finished_group
    assert len(runs) == 12
    assert all(run["steps"] == [1, 2, 3] and run["status"] == "completed" for run in runs)
    assert list(history) == ["feature_map", "projection", "seed", "step", "error", "squared_error"]
    assert len(history) == 36 and set(table["layer"]) == {"X", "MX", "Phi", "all"}


def test_the_same_bytes_come_out_again(finished_group, tmp_path):
    results, _ = finished_group
    grid = {"feature_map": ["relu", "fourier"], "projection": list(ARMS)}
    computed(tmp_path, atlas_of(grid=grid, seeds=2), "seeds=1-2")
    for name in ("states.safetensors", "history.parquet", "metrics.parquet", "samples.parquet"):
        files = [folder / "deep_rfm/mine/seeds=1-2" / name for folder in (results, tmp_path)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_layer_without_a_direction_ends_the_run(tmp_path, monkeypatch, capsys):
    agop, calls = kernel.agop, []

    def vanishing(*arguments):
        calls.append(arguments)
        return agop(*arguments) * (len(calls) < 2)

    monkeypatch.setattr(kernel, "agop", vanishing)
    states, (run,), history, table, samples = computed(tmp_path, atlas_of(), "seed=1")
    assert run["status"] == "diverged" and run["diverged_at"] == 2 and run["steps"] == [1]
    assert "seed=1: diverged at layer 2" in capsys.readouterr().err
    assert {name.split("/")[1] for name in states} == {"000001"}
    assert history["step"].tolist() == [1] and set(samples["step"]) == {1}
    ends = table[table["metric"] == "diverged"]
    assert ends[["step", "layer", "value"]].values.tolist() == [[2, "all", 1.0]]


def test_a_ridge_that_is_too_small_is_told_on_the_console(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(kernel, "laplace", lambda points, samples, _: points @ samples.T)
    atlas = atlas_of(ridge=1e-30)
    job = jobs.compute(atlas, "deep_rfm", "mine", "seed=1")
    for path, maker in job.reads["data"]:
        make(tmp_path, path, maker)
    capsys.readouterr()
    words = command(tmp_path, "deep_rfm/mine/seed=1/states.safetensors", job)
    assert main(words) == 2
    assert capsys.readouterr().err.strip().endswith("kernel matrix of this bandwidth")


# What a config may not say


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"ridge": 0}, ["mine.ridge", "greater than 0"]),
        ({"ridge": -1e-3}, ["mine.ridge", "greater than 0"]),
        ({"bandwidth": 0.0}, ["mine.bandwidth", "greater than 0"]),
        ({"bandwidth": math.inf}, ["mine.bandwidth", "finite"]),
        ({"length_scale": 0}, ["mine.length_scale", "greater than 0"]),
        ({"depth": 1}, ["mine.depth", "greater than or equal to 2"]),
        ({"depth": 1001}, ["mine.depth", "less than or equal to 1000"]),
        ({"width": 1}, ["mine.width", "greater than or equal to 2"]),
        ({"width": 10**7}, ["mine.width", "less than or equal to 1000000"]),
        ({"width": 200_000}, ["mine.width: 200000 found", "1.92e+03 GB", "allowed are 80 GB"]),
        ({"projection": "none"}, ["mine.projection", "agop", "none"]),
        ({"feature_map": "tanh"}, ["mine.feature_map", "relu", "tanh"]),
        ({"data": {"name": "reacher"}}, ["mine.data.name: reacher", "real targets"]),
        ({"data": {"name": "digits", "class_sizes": [3] * 10}}, ["mine.data.class_sizes"]),
        (
            {"data": {"name": "fashion_mnist"}},
            ["mine.data.samples_per_class: 60000 samples", "takes 87.9 GB", "80 GB, up to 57204"],
        ),
        (
            {"data": {"name": "fashion_mnist"}, "grid": {"data.samples_per_class": [10, 5721]}},
            ["samples_per_class: 57210 samples found", "80 GB"],
        ),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(changes, parts):
    with pytest.raises(InputError) as caught:
        atlas_of(**changes)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_the_largest_number_of_samples_is_allowed():
    atlas = atlas_of(data={"name": "fashion_mnist", "samples_per_class": 5720})
    assert atlas.experiment("deep_rfm", "mine").data.samples_per_class == 5720


def test_classes_are_two_at_least():
    alone = SimpleNamespace(regression=False, classes=("a",), image_shape=(1, 2, 2), train_count=9)
    section = Section(**BLOCK | {"data": {"name": "alone"}})
    assert list(section.misfits(alone)) == [
        (("data", "name"), "alone found with 1 class, needed are 2 classes or more")
    ]


# Costs


def test_memory_is_that_of_the_kernel_matrices_and_work_grows_with_the_samples():
    fashion = {"name": "fashion_mnist", "samples_per_class": 2000}
    few, many = (
        atlas_of(data=fashion | {"samples_per_class": each}, depth=20, width=1024)
        for each in (1000, 2000)
    )
    asked = []
    for atlas in (few, many):
        experiment = atlas.experiment("deep_rfm", "mine")
        data_set_of = atlas.data_set(experiment)
        asked.append(experiment.resources([experiment], data_set_of))
        assert experiment._held(data_set_of) < DEVICE_BYTES
        assert experiment.length() == (20, "layers") and experiment.clock == "layer"
    # On a core or a GPU, whichever pays: matrices are quadratic, products more.
    kernels = 8 * MATRICES * (20_000**2 - 10_000**2) / 1e6
    assert asked[1].gpus == 1 or asked[1].memory - asked[0].memory >= kernels
    # Of which some is quadratic, and some is the number of layers alone.
    assert asked[1].seconds > 2 * asked[0].seconds
    assert asked[1].disk > asked[0].disk > 0


def test_an_ablation_without_a_projection_costs_less():
    whole, bare = (
        atlas_of(projection=arm).experiment("deep_rfm", "mine") for arm in ("agop", "identity")
    )
    digits = atlas_of().data_set(whole)
    for ask in ("resources", "measure_resources"):
        costs = [getattr(each, ask)([each], digits) for each in (whole, bare)]
        assert costs[0].seconds >= costs[1].seconds > 0
    assert whole._recorded(digits) - bare._recorded(digits) == 64**2 + 2 * 20**2
