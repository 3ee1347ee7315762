"""The ReLU features model: objective, gradient and starts, against NumPy and closed forms."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapse import config, jobs
from collapse.cli import main
from collapse.errors import InputError
from collapse.problems.base import Problem
from collapse.problems.dufm import answers, build
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.sgd import gradient_descent
from collapse.theory.dufm_lowrank import collapsed_loss, predict
from conftest import FEW, f64
from test_procedures_problem import CONFIG, command, measured, states_of


def config_of(classes=4, samples=2, depth=3, widths=6, decay=0.01, feature_decay=None):
    return {
        "problem": {
            "classes": classes,
            "samples_per_class": samples,
            "depth": depth,
            "widths": widths,
        },
        "weight_decay": decay,
        "feature_decay": 0.01 if feature_decay is None else feature_decay,
    }


def numpy_objective(features, weights, classes, weight_decay, feature_decay):
    samples = features.shape[1] // classes
    targets = np.repeat(np.eye(classes), samples, axis=1)
    values = weights[0] @ features
    for weight in weights[1:]:
        values = weight @ np.where(values > 0, values, 0)
    loss = np.sum((values - targets) ** 2) / (2 * features.shape[1])
    loss += sum(d / 2 * np.sum(w**2) for d, w in zip(weight_decay, weights, strict=True))
    return loss + feature_decay / 2 * np.sum(features**2)


@st.composite
def batches(draw):
    """Problems of any shape, each with decays of its own, and a random start."""
    depth = draw(st.integers(2, 5))
    shape = {
        "classes": draw(st.integers(2, 5)),
        "samples": draw(st.integers(1, 4)),
        "depth": depth,
        "widths": draw(
            st.one_of(
                st.integers(1, 6), st.lists(st.integers(1, 6), min_size=depth, max_size=depth)
            )
        ),
    }
    size = draw(st.integers(1, 3))
    decays = [
        draw(st.lists(st.floats(0, 0.5), min_size=depth, max_size=depth)) for _ in range(size)
    ]
    configs = [
        config_of(**shape, decay=decay, feature_decay=draw(st.floats(0, 0.5))) for decay in decays
    ]
    seed = draw(st.integers(0, 10**6))
    problem = build(configs)
    return configs, problem, problem.initial([seed + place for place in range(size)], 1.0)


@FEW
@given(batches())
def test_the_objective_is_the_formula(batch):
    configs, problem, start = batch
    for place, (given_config, value) in enumerate(
        zip(configs, problem.objective(start), strict=True)
    ):
        expected = numpy_objective(
            start.features[place].numpy(),
            [weight[place].numpy() for weight in start.weights],
            given_config["problem"]["classes"],
            given_config["weight_decay"],
            given_config["feature_decay"],
        )
        assert value.item() == pytest.approx(expected, rel=1e-12)


@FEW
@given(batches())
def test_the_gradient_is_what_autograd_finds(batch):
    _, problem, start = batch
    expected = Problem.gradient(problem, start)
    found = problem.gradient(start)
    assert list(found.named) == list(start.named)
    for name, slope in found.named.items():
        torch.testing.assert_close(slope, expected.named[name], rtol=1e-11, atol=1e-13)


@FEW
@given(batches())
def test_no_problem_depends_on_its_neighbours(batch):
    _, problem, start = batch
    for place in range(problem.batch):
        index = slice(place, place + 1)
        alone = problem.select(index)
        own = start.map(lambda tensor, index=index: tensor[index])
        torch.testing.assert_close(alone.objective(own), problem.objective(start)[index])


def test_a_start_is_drawn_by_its_seed_with_one_over_the_inputs_as_variance():
    problem = build([config_of(classes=10, samples=100, depth=3, widths=[50, 200, 100])] * 2)
    start = problem.initial([3, 4], torch.tensor([1.0, 0.5], dtype=torch.float64))
    sizes = {"H": 1, "W1": 1 / 50, "W2": 1 / 200, "W3": 1 / 100}
    for name, variance in sizes.items():
        first, second = start.named[name]
        assert first.var().item() == pytest.approx(variance, rel=0.1)
        assert second.var().item() == pytest.approx(variance / 4, rel=0.1)
    again = problem.select(slice(1, 2)).initial([4], 0.5)
    assert torch.equal(again.features[0], start.features[1])


def test_a_network_that_blew_up_has_diverged_though_its_units_died_and_left_it_finite():
    settings = config_of(
        classes=10, samples=1, depth=4, widths=80, decay=0.004, feature_decay=0.004
    )
    problem = build([settings])
    start = problem.initial([6], 1.0)
    found = gradient_descent(problem, start, f64([0.5]), 0.0, 100, [0, 1, 12, 100])
    assert found.diverged_step.item() == 5 and found.valid.tolist() == [[True, True, False, False]]
    # What it would have recorded: no metric's squares of such layers are in float64's range.
    point = start
    for _ in range(12):
        slopes = iter(problem.gradient(point).tensors())
        point = point.map(lambda tensor, slopes=slopes: tensor - 0.5 * next(slopes))
    layers = [point.features]
    for weight in point.weights:
        layers.append(weight @ layers[-1].relu())
    assert problem.objective(point).isfinite()
    assert max(layer.abs().max() for layer in layers) > 1e140


def test_labels_are_grouped_by_class():
    assert answers(config_of(classes=3, samples=2)).tolist() == [0, 0, 1, 1, 2, 2]


# Collapsed starts


def graph_of(vertices):
    """The adjacency of disjoint edges of the complete graph."""
    edges = [set(edge) for edge in combinations(range(vertices), 2)]
    return np.array([[float(not a & b) for a in edges] for b in edges])


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("depth", [3, 4, 6])
@pytest.mark.parametrize(
    ("classes", "edges"), [(3, 0), (6, 6), (9, 6), (10, 0), (10, 10), (12, 10), (15, 15)]
)
def test_a_collapsed_start_has_the_loss_of_its_closed_form(classes, edges, depth, samples):
    decays = [1e-3 * (1 + layer / 5) for layer in range(depth)]
    shape = {"classes": classes, "samples": samples, "depth": depth, "widths": classes + 3}
    problem = build([config_of(**shape, decay=decays, feature_decay=5e-4)])
    start = problem.collapsed(edges)
    expected = collapsed_loss(
        edges,
        classes=classes,
        depth=depth,
        samples_per_class=samples,
        weight_decay=decays,
        feature_decay=5e-4,
    )
    assert problem.objective(start).item() == pytest.approx(expected, rel=1e-12)
    assert {name: tuple(t.shape[1:]) for name, t in start.named.items()} == problem.shapes


def test_ranks_of_a_graph_and_what_its_last_relu_makes_of_it():
    problem = build([config_of(classes=10, samples=2, depth=5, widths=[5, 5, 5, 6, 10])])
    means, *weights = (tensor[0] for tensor in problem.collapsed(10).tensors())
    values, ranks = weights[0] @ means, []
    for weight in weights[1:]:
        ranks.append(torch.linalg.matrix_rank(values).item())
        values = weight @ values.relu()
    assert ranks == [5, 5, 5, 5]
    last = weights[3] @ (weights[2] @ (weights[1] @ (weights[0] @ means).relu()).relu()).relu()
    behind = last.relu()[:, ::2].numpy()
    assert behind / behind.max() == pytest.approx(graph_of(5), abs=1e-12)
    outputs = values.numpy()
    assert outputs / outputs[0, 0] == pytest.approx(np.repeat(np.eye(10), 2, axis=1), abs=1e-12)


@pytest.mark.parametrize(("classes", "depth"), [(2, 2), (5, 3), (10, 4)])
def test_dnc_is_stationary_and_descent_with_noise_returns_to_it(classes, depth):
    shape = config_of(classes, 2, depth, classes + 2, decay=3e-3, feature_decay=2e-3)
    problem = build([shape])
    start = problem.collapsed(0)
    assert problem.gradient(start).norm().item() < 1e-14
    generator = torch.Generator().manual_seed(0)
    noisy = start.map(lambda t: t + 1e-2 * torch.randn(t.shape, generator=generator, dtype=t.dtype))
    end = lbfgs(problem, noisy, 1e-10, 2000)
    assert end.objective[0, -1].item() == pytest.approx(problem.objective(start).item(), rel=1e-6)


def test_problems_of_other_decays_have_other_scales():
    pair = [
        config_of(10, 1, 3, 10, decay=decay, feature_decay=1e-3) for decay in (1e-3, [1e-4] * 3)
    ]
    both = build(pair)
    for edges in (0, 10):
        start = both.collapsed(edges)
        for place, given_config in enumerate(pair):
            alone = build([given_config]).collapsed(edges)
            for one, other in zip(alone.tensors(), start.tensors(), strict=True):
                torch.testing.assert_close(one[0], other[place])


def test_decays_that_leave_only_zero_are_refused():
    with pytest.raises(InputError, match="only zero is stationary"):
        build([config_of(4, 1, 3, 6, decay=0.3, feature_decay=0.3)]).collapsed(0)


# From the config


def atlas_of(**changes):
    problem = {
        "kind": "dufm",
        "classes": 6,
        "samples_per_class": 2,
        "depth": 4,
        "widths": 8,
    } | changes.pop("problem", {})
    block = {
        "problem": problem,
        "start": {"kind": "collapsed"},
        "optimiser": [
            {"kind": "sgd", "learning_rate": 0.1, "steps": 1, "record": 2},
            {"kind": "lbfgs", "steps": 200, "tolerance": 1e-9},
        ],
        "weight_decay": 2e-3,
        "feature_decay": 1e-3,
        "seeds": 2,
    }
    user = {"scale": "smoke", "first_seed": 1, "dufm_lowrank": {"mine": block | changes}}
    return config.load(CONFIG, user, "my.yaml")


@pytest.mark.parametrize("key", ["weight_decay", "feature_decay"])
def test_a_collapsed_start_without_a_decay_is_refused(key):
    with pytest.raises(InputError, match=f"mine.{key}: 0.0 found, a collapsed start needs"):
        atlas_of(**{key: 0.0})


def test_an_experiment_begins_at_the_closed_form_and_is_measured_layer_by_layer(tmp_path):
    atlas = atlas_of(grid={"start.graph_classes": [0, 6]})
    rows = measured(tmp_path, atlas, "dufm_lowrank")
    given_settings = {
        "classes": 6,
        "depth": 4,
        "samples_per_class": 2,
        "weight_decay": 2e-3,
        "feature_decay": 1e-3,
    }
    first = rows[(rows["step"] == 0) & (rows["seed"] == 1)]
    for edges, found in first.groupby("graph_classes"):
        values = found.set_index(["layer", "metric"])["value"]
        expected = collapsed_loss(edges, **given_settings)
        assert values["all", "loss"] == pytest.approx(expected, rel=1e-12)
        assert values["H1", "rank"] == values["H2", "rank"] == (4 if edges else 6)
        assert values["H4", "rank"] == (3 if edges else 6)
        assert values["H4", "rank_rectified"] == 6
        assert values["all", "error"] == 0
        assert values["H2", "NC1_ratio"] < 1e-25
    alpha = predict(**given_settings)["alpha_dnc"]
    dnc = first[first["graph_classes"] == 0].set_index(["layer", "metric"])["value"]
    assert dnc["all", "fit"] == pytest.approx((1 - alpha) ** 2 / 2)
    assert dnc["Z", "singular_value[0]"] == pytest.approx(alpha)
    assert dnc["H3", "condition_number"] == pytest.approx(1)


def test_noise_is_of_the_seed_and_its_own_size(tmp_path):
    atlas = atlas_of(start={"kind": "collapsed", "noise": 0.02})
    measured(tmp_path, atlas, "dufm_lowrank")
    tensors, runs, _ = states_of(tmp_path, study="dufm_lowrank")
    exact = build([config_of(6, 2, 4, 8, decay=2e-3, feature_decay=1e-3)]).collapsed(0)
    noise = {
        run["id"]: tensors[f"{run['id']}/000000/W2"] - exact.named["W2"][0].numpy() for run in runs
    }
    one, other = noise.values()
    assert one.std() == pytest.approx(0.02, rel=0.2) and not np.allclose(one, other)


REFUSED = [
    ({"problem": {"classes": 1}}, ["problem.classes", "1", "2"]),
    ({"problem": {"depth": 1}}, ["problem.depth", "1", "2"]),
    ({"problem": {"widths": [8, 8]}}, ["problem.widths", "2 values", "depth 4"]),
    (
        {"problem": {"samples_per_class": 10**8}},
        ["samples_per_class", "100000000 found", "499 GB", "64 GB", "up to 12820512"],
    ),
    ({"problem": {"widths": [6, 5, 6, 6]}}, ["widths", "5 found for H_2", "6"]),
    ({"problem": {"widths": [8, 8, 8, 5]}}, ["widths", "5 found for H_4", "6"]),
    (
        {
            "problem": {"classes": 10, "widths": [5, 5, 4, 10]},
            "start": {"kind": "collapsed", "graph_classes": "all"},
        },
        ["widths", "4 found for H_3", "needed for this start are 5"],
    ),
    (
        {"start": {"kind": "collapsed", "graph_classes": 5}},
        ["start.graph_classes", "5 found", "6, 10, 15"],
    ),
    (
        {
            "problem": {"classes": 7, "widths": 9},
            "start": {"kind": "collapsed", "graph_classes": "all"},
        },
        ["start.graph_classes", "7 classes", "6, 10, 15"],
    ),
    (
        {"start": {"kind": "collapsed", "graph_classes": 10}},
        ["start.graph_classes", "10 found", "as many as there are classes, 6"],
    ),
    (
        {"problem": {"depth": 2}, "start": {"kind": "collapsed", "graph_classes": 6}},
        ["start.graph_classes", "at depth 2", "a graph takes 3 layers"],
    ),
    ({"weight_decay": [1e-3, 1e-3]}, ["weight_decay", "2 values", "depth 4"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_what_makes_no_problem_is_refused_at_planning_in_one_line(changes, words):
    with pytest.raises(InputError) as error:
        atlas_of(**changes)
    text = str(error.value)
    assert "\n" not in text and "dufm_lowrank.mine" in text
    assert all(word in text for word in words), text


def test_what_would_fill_more_memory_than_allowed_says_how_many_samples_fit():
    with pytest.raises(InputError) as error:
        atlas_of(problem={"samples_per_class": 10**8})
    allowed = int(str(error.value).rpartition(" ")[2])
    assert atlas_of(problem={"samples_per_class": allowed})
    with pytest.raises(InputError):
        atlas_of(problem={"samples_per_class": allowed + 1})


def test_another_problem_has_no_such_start():
    problem = {"kind": "deep_linear", "class_sizes": [2, 2], "widths": 4}
    block = {
        "problem": problem,
        "start": {"kind": "collapsed"},
        "optimiser": {"kind": "lbfgs", "steps": 10},
        "weight_decay": 1e-3,
        "feature_decay": 1e-3,
        "seeds": 1,
    }
    with pytest.raises(InputError, match="a deep_linear problem has no such solution"):
        config.load(CONFIG, {"scale": "smoke", "deep_linear": {"mine": block}}, "my.yaml")


def test_decays_without_a_start_end_the_job_in_one_line(tmp_path, capsys):
    atlas = atlas_of(weight_decay=0.5, feature_decay=0.5)
    (group,) = atlas.groups("dufm_lowrank", "mine")
    job = jobs.compute(atlas, "dufm_lowrank", "mine", group)
    path = f"dufm_lowrank/mine/{group}/states.safetensors"
    (tmp_path / path).parent.mkdir(parents=True)
    assert main(command(tmp_path, path, job)) == 2
    assert "only zero is stationary" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / path).exists()
