"""The benchmark: that both sides compute the same, and what its tables and figures hold."""

import gc
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread
from torch.utils.flop_counter import FlopCounterMode

from collapse.artifacts import read_csv, write_csv, write_digests, write_tensors
from collapse.benchmarks import metrics, networks, precision, problems, scaling, suite, table
from collapse.benchmarks.sizes import (
    ADAM,
    CE,
    MIXUP,
    RESNET18,
    SGD,
    Descent,
    Features,
    Flows,
    Mixtures,
    Networks,
    Problems,
    Scaling,
    Sizes,
    section,
)
from collapse.benchmarks.textbook.metrics import by_batches, by_classes
from collapse.benchmarks.textbook.problems import (
    TextbookProblem,
    textbook_flow,
    textbook_minimum,
)
from collapse.cli import main
from collapse.data.dataset import Dataset
from collapse.models import mlp
from collapse.problems import mixup, perturbation
from collapse.problems.parameters import Parameters
from collapse.problems.solvers.flow import gradient_flow
from collapse.problems.solvers.lbfgs import lbfgs
from collapse.problems.solvers.sgd import gradient_descent
from collapse.specs import Spec
from collapse.stages import benchmark
from collapse.training import device
from collapse.training.order import Order
from conftest import needs_gpu, write_spec

CPU = torch.device("cpu")
GRID = Problems(batch=3, classes=3, per_class=4, dim=5, depth=3)
PERCEPTRON = section(mlp, hidden=[8, 6], normalisation="batch", ending="signed", init="uniform")
SMALL = {"images": 12, "classes": 3, "batch": 5, "epochs": 3, "record": 2}
TINY = Sizes(
    repeats=1,
    grid_core=Descent(GRID, (2, 4), 2, 10),
    grid_gpu=Descent(GRID, (4, 4), 2, 4),
    many_gpu=Descent(GRID, (2, 4), 2, 10),
    odd_gpu=Descent(GRID, (4, 4), 2, 4),
    many_odd_gpu=Descent(GRID, (2, 4), 2, 10),
    wide_gpu=Descent(replace(GRID, depth=1), (2, 4), 2, 10),
    resnet=Networks(RESNET18, SGD, shape=(3, 8, 8), **SMALL),
    mixed=Networks(PERCEPTRON, SGD, shape=(3, 4, 4), loss=CE, input=MIXUP, **SMALL),
    four=Networks(PERCEPTRON, SGD, members=2, shape=(1, 4, 4), stacked=False, **SMALL),
    nine=Networks(PERCEPTRON, SGD, members=2, shape=(1, 4, 4), stacked=False, **SMALL),
    flows=Flows(batch=2, classes=2, per_class=2, dim=3, last=1.0, record=3),
    mixtures=Mixtures(batch=2, classes=3, dim=3, nodes=3, tolerance=1e-6),
    mlp=Networks(PERCEPTRON, ADAM, members=2, shape=(1, 4, 4), **SMALL),
    features_cpu=Features(60, 8, 3, 1),
    features_gpu=Features(60, 8, 3, 1),
    scaling_cpu=Scaling(
        GRID, (1, 2), (9, 12), (4, 5), Features(60, 8, 3, 1), (60, 90), (8, 16), (2, 3), 8, 1e-4
    ),
)


@pytest.mark.parametrize("dim", [16, 512])
def test_timed_problems_converge_at_every_width(dim):
    problem, start = problems.make(Problems(4, per_class=10, dim=dim), CPU)
    rates = torch.full_like(problem.feature_decay, problems.LEARNING_RATE)
    found = gradient_descent(problem, start, rates, problems.MOMENTUM, 150, [0, 150])
    assert (found.objective[:, 1] < found.objective[:, 0]).all()


def test_a_divergence_is_no_timing(monkeypatch):
    monkeypatch.setattr(problems, "LEARNING_RATE", 1e9)
    problem, start = problems.make(GRID, CPU)
    with pytest.raises(ArithmeticError, match="diverged"):
        problems.solve(problem, start, 50)


@pytest.mark.parametrize("penalties_in_loss", [True, False])
@pytest.mark.parametrize("route", ["reduced", "samples"])
def test_textbook_gradient_descent_takes_the_solvers_steps(route, penalties_in_loss):
    problem, start = problems.make(GRID, CPU)
    if route == "samples":
        problem = problems.all_samples(problem)
    rates = torch.full_like(problem.feature_decay, 0.1)
    found = gradient_descent(problem, start, rates, 0.9, 60, [60])
    assert (found.basis is None) == (route == "samples")
    ends = found.state(0)
    for index in range(GRID.batch):
        textbook = TextbookProblem(problem, start, index, 0.1, 0.9, penalties_in_loss)
        textbook.descend(60)
        tensors = (ends.features, *ends.weights)
        for ours, theirs in zip(tensors, textbook.parameters, strict=True):
            torch.testing.assert_close(ours[index], theirs.detach(), rtol=1e-10, atol=1e-12)


@needs_gpu
def test_the_captured_textbook_problem_takes_the_same_steps():
    device = torch.device("cuda")
    problem, start = problems.make(GRID, device)
    eager, graphed = (TextbookProblem(problem, start, 0, 0.1, 0.9) for _ in range(2))
    eager.descend(20)
    replay = graphed.captured()
    for _ in range(20):
        replay()
    for one, other in zip(eager.parameters, graphed.parameters, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@needs_gpu
def test_a_graph_outlives_all_other_references_to_its_memory():
    problem, start = problems.make(GRID, torch.device("cuda"))
    replay = TextbookProblem(problem, start, 0, 0.1, 0.9).captured()
    gc.collect()
    others = [torch.ones_like(tensor[0]) for tensor in (start.features, *start.weights) * 8]
    replay()
    assert all((tensor == 1).all() for tensor in others)


def test_textbook_flows_go_where_ours_go():
    shape = {"classes": 3, "samples_per_class": 2, "dim": 4, "beta": None}
    decays = ((0.1, 0.03), (0.3, 0.0))
    problem = perturbation.build(
        [{"problem": shape, "weight_decay": w, "feature_decay": h} for w, h in decays]
    )
    start, times = problem.initial([0, 1], 1.0), [0.1, 1.0, 5.0]
    ours = gradient_flow(problem, start, times, 1e-11).parameters.features
    for index in range(2):
        theirs = textbook_flow(problem, start, times, 1e-11, index)
        np.testing.assert_allclose(ours[index, 1:].flatten(1), theirs, rtol=1e-7, atol=1e-9)


def test_the_textbook_minimum_of_mixup_is_ours():
    shape = {"classes": 3, "dim": 3, "nodes": 4, "alpha": 1.0, "loss": "ce", "classifier": "free"}
    problem = mixup.build([{"problem": shape, "weight_decay": 1e-2, "feature_decay": 1e-2}] * 2)
    start = problem.initial([0, 1], 1.0)
    ours = lbfgs(problem, start, 1e-9, 5_000).objective[:, 0]
    for index in range(2):
        features, weight = textbook_minimum(problem, start, 1e-9, 5_000, index)
        end = Parameters(H=features.unsqueeze(0), W1=weight.unsqueeze(0))
        found = problem.select(slice(index, index + 1)).objective(end)
        assert found.item() == pytest.approx(ours[index].item(), rel=1e-9)


@pytest.mark.parametrize("way", [by_classes, partial(by_batches, batch=7)])
def test_textbook_metrics_are_those_of_measure(way):
    sample = metrics.near_collapse(Features(120, 10, 4), CPU, nc1=0.3)
    features, labels, weight, bias = sample.of(torch.float64)
    weight = weight + 0.3 * torch.randn_like(weight)
    bias = torch.linspace(-0.3, 0.3, 4, dtype=torch.float64)
    found = way(features, labels, weight, bias)
    expected = metrics.study_metrics(features, labels, weight=weight, bias=bias)
    assert found == pytest.approx({name: expected[name] for name in found}, rel=1e-9)
    assert 0 < found["NC4"] < 0.5


@pytest.mark.parametrize("nc1", [1e-2, 1e-11])
def test_features_near_collapse_have_the_nc1_that_was_asked_for(nc1):
    sample = metrics.near_collapse(Features(4_000, 32, 5), CPU, nc1)
    assert metrics.compute(sample)["NC1"] == pytest.approx(nc1, rel=0.03)


@pytest.mark.parametrize(
    ("size", "optimiser", "annulled", "share"),
    [
        # Rounding turns a ReLU of ResNet18 on or off here and there.
        (TINY.resnet, SGD, None, 0.95),
        (replace(TINY.mlp, members=1), SGD, None, 1.0),
        # The last BatchNorm annuls a shift before it: its gradient is rounding, and to Adam, whose
        # first steps are signs, of any sign.
        (replace(TINY.mlp, members=1), ADAM, "backbone.layers.6.bias", 1.0),
    ],
    ids=["resnet18", "mlp", "adam"],
)
def test_the_textbook_loop_takes_the_trainers_steps(size, optimiser, annulled, share):
    # BatchNorm over few samples magnifies rounding: gentle steps, no batch of two.
    optimiser = optimiser | {"learning_rate": 1e-3}
    work = networks.Work(replace(size, batch=6, optimiser=optimiser, decay=0.1), CPU)
    training = work.training("float32")
    start = {name: tensor.clone() for name, tensor in training.member(0).items()}
    order = Order(work.images, [0], [], [])
    order.draw(1)
    textbook = work.textbook(workers=0, order=order.indices[0].tolist())
    loss = textbook.epoch()
    batches = training.epoch(1)
    assert len(batches) == 2 and loss == pytest.approx(batches[:, 1, 0].mean(), rel=1e-4)
    parts = {"0.": "backbone.layers.", "1.": "head."}
    ours = training.member(0)
    theirs = {parts[key[:2]] + key[2:]: value for key, value in textbook.model.state_dict().items()}
    assert ours.keys() == theirs.keys()
    names = dict(work.network(0).named_parameters()).keys() - {annulled}
    moved, apart = (
        torch.cat([(ours[name] - other[name]).flatten() for name in sorted(names)])
        for other in (start, theirs)
    )
    close = apart.abs() < 1e-3 * moved.abs().max()
    assert moved.norm() > 1e-3 and close.float().mean() >= share


def test_the_loader_yields_what_the_trainer_sees():
    work = networks.Work(TINY.resnet, CPU)
    batches = list(work.textbook(workers=0, order=range(12)).batches)
    assert [len(labels) for _, labels in batches] == [5, 5, 2]
    images = torch.cat([images for images, _ in batches])
    torch.testing.assert_close(images, work.images.take(slice(0, 12)))
    assert torch.equal(torch.cat([labels for _, labels in batches]), work.labels)


def test_batches_on_the_device_are_those_of_the_loader_in_another_order():
    work = networks.Work(TINY.resnet, CPU)
    batches = list(work.resident(networks.TextbookTraining).batches)
    assert [len(labels) for _, labels in batches] == [5, 5, 2]
    images = torch.cat([images for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    places = [
        (work.images.take(slice(0, 12)) == image).flatten(1).all(1).nonzero().item()
        for image in images
    ]
    assert sorted(places) == list(range(12)) and places != list(range(12))
    assert torch.equal(labels, work.labels[places])


def test_the_loader_mixes_a_batch_with_itself():
    work = networks.Work(TINY.mixed, CPU)
    images, labels = next(iter(work.textbook(workers=0, order=range(12)).batches))
    plain = work.images.take(slice(0, 5))
    # MixUp's partner is the sample before.
    share = ((images - plain.roll(1, 0)) / (plain - plain.roll(1, 0))).nanmedian()
    torch.testing.assert_close(images, share * plain + (1 - share) * plain.roll(1, 0))
    hard = torch.nn.functional.one_hot(work.labels[:5], 3).float()
    torch.testing.assert_close(labels, share * hard + (1 - share) * hard.roll(1, 0))


@needs_gpu
@pytest.mark.parametrize("size", [TINY.resnet, TINY.mlp], ids=["sgd", "adam"])
def test_a_captured_textbook_epoch_is_the_eager_one(size):
    # BatchNorm over a few images blows up what two ways round differently.
    size = replace(size, images=64, batch=16, optimiser=size.optimiser | {"learning_rate": 1e-3})
    work = networks.Work(size, torch.device("cuda"))
    ends = []
    for training in (networks.TextbookTraining, networks.CapturedTraining):
        torch.cuda.manual_seed(0)
        each = work.resident(training)
        with device.precision("float32"):
            losses = [each.epoch() for _ in range(2)]
        ends.append((losses, each.model.state_dict()))
    (eager, left), (graphed, right) = ends
    assert graphed == pytest.approx(eager, rel=1e-3)
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], rtol=1e-2, atol=1e-3)


def test_every_gpu_benchmark_runs_at_any_size():
    rows = [*problems.wide(CPU, TINY), *networks.mlps(CPU, TINY), *metrics.on_gpu(CPU, TINY)]
    rows += [*networks.resnet(CPU, TINY), *networks.mixed(CPU, TINY)]
    rows += networks.side_by_side(CPU, TINY)
    lines = [problems.WIDE, *networks.MLPS.values(), networks.MLP_SHARE]
    lines += [metrics.ON_GPU, metrics.ON_GPU_WHOLE, metrics.ERROR_GPU]
    for ways in networks.RESNET.values():
        lines += ways.values()
    lines += [networks.RESNET_SHARE, networks.MIXED, networks.FOUR, networks.NINE]
    # What is captured needs a GPU.
    lines = [line for line in lines if "CUDA graph" not in line.against or line is networks.NINE]
    assert [(row["work"], row["against"]) for row in rows] == [(x.work, x.against) for x in lines]
    assert all(row["ours"] > 0 for row in rows)


def test_a_row_says_how_the_times_compare():
    line = table.Line("work", "other", "ms per epoch", least=4)
    row = line.timed("device", [8.0, 10.0, 12.0], [2.0, 2.0, 4.0], "note")
    assert tuple(row) == table.COLUMNS
    assert (row["baseline"], row["ours"], row["ratio"]) == (10_000, 2_000, 5)
    assert row["spread"] == pytest.approx((5 - 3) / 4) and row["goal"] == ">= 4" and row["met"]
    assert not line.timed("device", [7.0], [2.0], "")["met"]
    assert replace(line, judged=False).timed("device", [9.0], [2.0], "")["met"] is None
    bounded = table.Line("work", "other", "relative error", most=1e-4)
    assert bounded.goal == "<= 0.0001" and not bounded.valued("device", 2e-4, "")["met"]
    assert line.left_out("GPU", "no GPU")["note"] == "left out: no GPU"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Both tables at tiny sizes on the CPU, as files."""
    folder = tmp_path_factory.mktemp("benchmarks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "acquire_device", lambda: CPU)
        spec = Spec("benchmark", (), {}, code="")
        benchmark.measure(str(folder / "speed.csv"), str(folder / "scaling.csv"), TINY, spec)
    return folder


def test_the_table_holds_every_row_or_why_it_is_left_out(measured):
    found = read_csv(measured / "speed.csv")
    assert tuple(found.columns) == table.COLUMNS
    lines = [line for each in suite.BENCHMARKS for line in each.lines]
    assert list(found["work"]) == [line.work for line in lines]
    kinds = np.array([each.kind for each in suite.BENCHMARKS for _ in each.lines])
    missing = found[kinds == "cuda"]
    assert set(missing["note"]) == {f"left out: {suite.NO_GPU}"}
    assert missing[["baseline", "ours", "ratio", "spread", "met"]].isna().all(axis=None)
    assert (missing["goal"].notna() == [line.goal is not None for line in lines][3:-3]).all()
    here = found[kinds == "cpu"]
    assert (here["ours"] > 0).all() and here["met"].notna().sum() == 3
    assert here["device"].str.contains("thread").all()
    assert found["goal"].iloc[0] == ">= 15"


def test_the_table_is_printed(measured):
    text = table.as_text(pd.read_csv(measured / "speed.csv"))
    lines = text.splitlines()
    assert len(lines) == 2 + sum(len(each.lines) for each in suite.BENCHMARKS)
    assert "left out: needs a CUDA GPU" in text and "nan" not in text.lower()
    assert lines[-1] == f"spread: {table.SPREAD}"


def test_too_little_memory_leaves_rows_out_with_the_reason(monkeypatch):
    def fail(device, sizes):
        raise torch.OutOfMemoryError("out of memory")

    one = replace(suite.BENCHMARKS[3], measure=fail)
    monkeypatch.setattr(suite, "BENCHMARKS", (one,))
    found = suite.run(TINY, torch.device("cuda"))
    assert list(found["note"]) == 4 * ["left out: not enough memory on the GPU"]


def test_growth_is_measured_by_every_size_beside_its_bounds(measured):
    found = pd.read_csv(measured / "scaling.csv")
    assert tuple(found.columns) == scaling.COLUMNS
    series = found.groupby(["work", "axis"], sort=False)["size"].apply(list).to_dict()
    assert series == {
        ("problems", "B"): [1, 2],
        ("problems", "N"): [9, 12],
        ("problems", "d"): [4, 5],
        ("metrics", "N"): [60, 90],
        ("metrics", "d"): [8, 16],
        ("metrics", "K"): [2, 3],
    }
    assert (found["low"] <= found["value"]).all() and (found["value"] <= found["high"]).all()
    assert (found[["value", "product_bound", "copy_bound"]] > 0).all(axis=None)


@pytest.mark.parametrize("per_class", [2, 40])
def test_the_operations_of_a_step_are_counted(per_class):
    size = Problems(1, 3, per_class, 7, 4)
    problem, start = problems.make(size, CPU)
    problem, start, _ = problem.reduced(start)
    assert start.features.shape[2] == scaling.columns_of(size)
    weights, features = start.weights, start.features
    with FlopCounterMode(display=False) as counter:
        products = [weights[-1]]
        for weight in reversed(weights[:-1]):
            products.insert(0, products[0] @ weight)
        residual = products[0] @ features - problem.targets
        products[0].mT @ residual
        inner = residual @ features.mT
        for weight, product in zip(weights[:-1], products[1:], strict=True):
            product.mT @ inner
            inner = inner @ weight.mT
    assert counter.get_total_flops() == scaling.problem_flops(size)
    entries = sum(tensor.numel() for tensor in start.tensors())
    assert scaling.problem_bytes(size) == 2 * 2 * 8 * entries


def draw(folder, figure, source):
    stem = folder / f"drawn_{figure}"
    files = [word for end in ("pdf", "png", "csv") for word in (f"--{end}", f"{stem}.{end}")]
    spec = write_spec(folder, "benchmark_figure", {"figure": figure})
    assert main(["benchmark_figure", *spec, *files, str(source)]) == 0
    assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    image = imread(stem.with_suffix(".png"))[..., :3]
    assert image.shape[1] >= 1_300 and (image.min(axis=2) < 0.9).mean() > 0.005
    return read_csv(stem.with_suffix(".csv"))


def test_figures_are_drawn_of_what_a_cpu_measured(measured):
    drawn = draw(measured, "speed", measured / "speed.csv")
    ratios = pd.read_csv(measured / "speed.csv")["ratio"].dropna()
    assert list(drawn["ratio"].dropna()) == list(ratios)
    assert "left out: needs a CUDA GPU" in set(drawn["note"])
    growth = pd.read_csv(measured / "scaling.csv")
    pd.testing.assert_frame_equal(draw(measured, "scaling", measured / "scaling.csv"), growth)


def test_the_speed_figure_shows_every_ratio_of_a_gpu(tmp_path):
    rows = [
        line.timed(each.kind, [2.0, 3.0], [0.01, 0.02], "note")
        if line.unit.split()[0] in table.SCALES
        else line.valued(each.kind, 0.01, "note")
        for each in suite.BENCHMARKS
        for line in each.lines
    ]
    write_csv(tmp_path / "speed.csv", pd.DataFrame(rows))
    write_digests([tmp_path / "speed.csv"], {})
    drawn = draw(tmp_path, "speed", tmp_path / "speed.csv")
    assert list(drawn["work"]) == [row["work"] for row in rows if row["ratio"]]


def test_drawing_a_figure_of_the_benchmark_imports_no_torch():
    program = "import sys, collapse.stages.benchmark_figure; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_an_unknown_figure_is_refused_in_one_line(tmp_path, capsys):
    out = [f"--{end}=x.{end}" for end in ("pdf", "png", "csv")]
    for figure in ("no", "speed"):
        spec = write_spec(tmp_path, "benchmark_figure", {"figure": figure})
        assert main(["benchmark_figure", *spec, *out, "missing.csv"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "no figure 'no'" in first and "missing.csv" in second


SEEDS = {"tf32": 2, "bf16": 1, "float32": 1}


@pytest.fixture
def toy():
    """A data set of 24 random images in three classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 1, 4, 4), dtype=np.uint8)
    labels = np.arange(24) % 3
    return Dataset(pixels, labels, pixels, labels, (0.5,), (0.3,), 255, ("a", "b", "c"))


def study(dataset, folder, identity):
    settings = precision.SETTINGS | {"epochs": 2, "batch_size": 8}
    choice = {"name": "toy", "samples_per_class": 4}
    return precision.study(
        dataset, folder, identity, CPU, PERCEPTRON, settings, choice, seeds=SEEDS
    )


def test_the_precision_study_continues_where_it_was_stopped(toy, tmp_path, monkeypatch):
    found = study(toy, tmp_path, {"code": "a"})
    assert tuple(found.columns) == precision.COLUMNS
    runs = found[["precision", "seed"]].drop_duplicates().itertuples(index=False, name=None)
    assert list(runs) == [(name, seed) for name, count in SEEDS.items() for seed in range(count)]
    assert set(found["metric"]) == {*precision.METRICS, "error"} and set(found["epoch"]) == {1, 2}
    assert not found.duplicated(["precision", "seed", "epoch", "metric"]).any()
    assert np.isfinite(found["value"]).all()

    trained = []
    monkeypatch.setattr(
        precision, "_measured", lambda *args: trained.append(args[-1]) or [(1, "NC1", 0.5)]
    )
    (tmp_path / "precision-bf16-0.parquet").unlink()
    damaged = tmp_path / "precision-tf32-1.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-50])
    again = study(toy, tmp_path, {"code": "a"})
    assert trained == [1, 0] and (again["value"] == 0.5).sum() >= 2
    kept = found[(found["precision"] == "tf32") & (found["seed"] == 0)]
    pd.testing.assert_frame_equal(
        again[(again["precision"] == "tf32") & (again["seed"] == 0)], kept
    )
    study(toy, tmp_path, {"code": "b"})
    assert len(trained) == 2 + 4


def seeds_of(values):
    """A table of one epoch in which each metric has the given values by precision."""
    rows = [
        (name, seed, 5, metric, value, "")
        for name, found in values.items()
        for seed, value in enumerate(found)
        for metric in (*precision.METRICS, "error")
    ]
    return pd.DataFrame(rows, columns=list(precision.COLUMNS))


def test_bf16_is_compared_with_the_spread_of_the_seeds(tmp_path):
    inside = seeds_of({"tf32": [1.0, 2.0, 3.0], "bf16": [3.0, 4.0, 9.0], "float32": [2.0]})
    found = precision.verdicts(inside)
    assert list(found["metric"]) == list(precision.METRICS)
    assert (found["difference"] == 2).all() and (found["tf32_range"] == 2).all()
    assert found["within"].all() and "in every metric" in precision.summary(inside)
    outside = inside.copy()
    chosen = (outside["precision"] == "bf16") & (outside["metric"] == "NC1")
    outside.loc[chosen, "value"] += 1
    assert precision.summary(outside).endswith("is not within it in NC1")
    write_csv(tmp_path / "precision.csv", inside)
    write_digests([tmp_path / "precision.csv"], {})
    drawn = draw(tmp_path, "precision", tmp_path / "precision.csv")
    last = drawn[(drawn["panel"] == "last epoch") & (drawn["metric"] == "NC1")]
    assert list(last["value"]) == [1, 2, 3, 3, 4, 9, 2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_the_precision_study_is_left_out_on_a_cpu(toy, tmp_path, capsys):
    arrays = {f"{part}_inputs": toy.inputs for part in ("train", "test")}
    arrays |= {f"{part}_labels": toy.targets for part in ("train", "test")}
    known = {"mean": [0.5], "std": [0.3], "maximum": 255, "classes": list(toy.outputs)}
    write_tensors(tmp_path / "data.safetensors", arrays, {}, known)
    out = tmp_path / "precision.csv"
    spec = write_spec(tmp_path, "benchmark_precision", {}, data=[tmp_path / "data.safetensors"])
    assert main(["benchmark_precision", *spec, "--out", str(out)]) == 0
    found = read_csv(out)
    assert tuple(found.columns) == precision.COLUMNS and found["value"].isna().all()
    assert set(found["note"]) == {"left out: needs a CUDA GPU"}
    assert "left out: needs a CUDA GPU" in capsys.readouterr().out
    assert draw(tmp_path, "precision", out)["value"].isna().all()
