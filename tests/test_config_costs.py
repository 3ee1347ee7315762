"""What jobs ask for follows from their experiment."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from collapse import config
from collapse.config.costs import Work, asked
from collapse.config.slots import kinds

IMAGES = [(1, 28, 28), (3, 32, 32), (2, 7, 5)]
MODELS = [
    ({"kind": "mlp", "hidden": [30, 20]}, IMAGES),
    ({"kind": "mlp", "hidden": [30, 20], "normalisation": "none"}, IMAGES),
    ({"kind": "mlp", "hidden": [30], "normalisation": "none", "ending": "relu"}, IMAGES),
    ({"kind": "cnn", "channels": [8, 12, 10]}, IMAGES),
    ({"kind": "cnn", "channels": [8], "feature_normalisation": "none"}, [*IMAGES, (9, 1, 1)]),
    ({"kind": "resnet18"}, IMAGES),
    ({"kind": "resnet18", "stem": "imagenet", "feature_normalisation": "none"}, IMAGES),
    ({"kind": "wideresnet", "depth": 16, "width": 2}, IMAGES),
    ({"kind": "cifar_resnet", "depth": 20}, IMAGES),
    ({"kind": "vgg16"}, [(1, 32, 32), (3, 40, 33)]),
    ({"kind": "vit", "layers": 2, "heads": 2, "width": 32, "mlp_width": 48}, IMAGES[:2]),
]
NETWORK = {
    "data": {"name": "fashion_mnist"},
    "model": {"kind": "mlp", "hidden": [64, 64, 64]},
    "head": {},
    "loss": "mse",
    "weight_decay": 1e-3,
    "feature_decay": 1e-5,
    "training": {"optimiser": "adam", "learning_rate": 1e-3, "epochs": 20, "batch_size": 128},
    "seeds": 1,
}
PROBLEM = {
    "problem": {"kind": "deep_linear", "class_sizes": [100] * 4, "widths": 64, "depth": 3},
    "optimiser": {"kind": "sgd", "learning_rate": 0.1, "steps": 30000},
    "weight_decay": 1e-3,
    "feature_decay": 1e-3,
    "seeds": 10,
}


@pytest.mark.parametrize(("section", "shapes"), MODELS)
def test_a_models_size_is_that_of_its_module(section, shapes):
    asked_for = kinds("model")[section["kind"]](**section)
    module = import_module(f"collapse.models.{section['kind']}")
    for shape in shapes:
        network = module.build(config.plain(asked_for), shape)
        size = asked_for.size(shape)
        assert size.parameters == sum(each.numel() for each in network.parameters())
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(3, *shape))
        # Two operations each; torch counts neither adding a bias nor normalising.
        assert 3 * 2 * size.products == counter.get_total_flops()
        assert size.activations >= asked_for.dim


def resources(section, **changes):
    settings = {"scale": "smoke", "deep_linear": {"mine": section | changes}}
    atlas = config.load("config", settings)
    experiment = atlas.experiment("deep_linear", "mine")
    (group, *_) = atlas.groups("deep_linear", "mine").values()
    configs, data_set = [run.config for run in group.runs], atlas.data_set(experiment)
    first = configs[0]
    return first.resources(configs, data_set), first.measure_resources(configs, data_set)


def test_a_gpu_is_asked_for_where_it_pays():
    training = NETWORK["training"]
    resnet = {"model": {"kind": "resnet18"}}
    small = {"data": {"name": "digits"}, "training": training | {"epochs": 1}}
    for section, changes, gpus in (
        (NETWORK, {}, (0, 0)),
        (PROBLEM, {}, (0, 0)),
        (NETWORK, resnet, (1, 1)),
        (NETWORK, resnet | small, (0, 0)),
        # In half precision a CPU is slower than it would be otherwise.
        (NETWORK, resnet | small | {"training": training | {"precision": "bf16"}}, (1, 0)),
        (NETWORK, {"training": training | {"epochs": 2000}}, (1, 0)),
    ):
        assert tuple(each.gpus for each in resources(section, **changes)) == gpus


@pytest.mark.parametrize(
    ("section", "more"),
    [
        (NETWORK, {"training": NETWORK["training"] | {"epochs": 60}}),
        (NETWORK, {"seeds": 3}),
        (NETWORK, {"model": {"kind": "mlp", "hidden": [128, 128, 128]}}),
        (PROBLEM, {"seeds": 1_000}),
        (PROBLEM, {"optimiser": PROBLEM["optimiser"] | {"steps": 300_000}}),
        (PROBLEM, {"problem": PROBLEM["problem"] | {"widths": 512}}),
    ],
    ids=["epochs", "networks", "width", "problems", "steps", "dimension"],
)
def test_more_work_gets_more_time(section, more):
    (less, _), (larger, _) = resources(section), resources(section, **more)
    assert larger.minutes > less.minutes
    assert larger.memory >= less.memory


def test_what_a_job_holds_it_asks_for():
    work = Work("float32", 1e12, 10, 5e9, 3e9)
    base = asked(replace(work, host_bytes=0, device_bytes=0))
    assert not base.gpus and asked(work).memory - base.memory == 8000
    heavy = replace(work, units=1e15)
    # On a GPU the machine's memory holds no activations.
    assert asked(heavy).gpus == 1
    assert asked(heavy).memory - asked(replace(heavy, host_bytes=0)).memory == 5000


def test_a_layerwise_training_is_one_for_each_layer():
    layers = {"kind": "mlp", "hidden": [8] * 10, "normalisation": "none", "ending": "relu"}
    whole, _ = resources(NETWORK, model=layers)
    parts, _ = resources(NETWORK, model=layers, procedure="layerwise")
    assert parts.minutes > whole.minutes


def problem(solver, **problem):
    told = {"kind": "perturbation", "classes": 10, "samples_per_class": 30, "dim": 16, "beta": 1.0}
    return PROBLEM | {"problem": told | problem, "optimiser": solver, "weight_decay": 0.1}


def test_solvers_that_take_problems_one_by_one_ask_for_the_time_of_all_and_for_no_gpu():
    flow = {"kind": "flow", "first": 1e-3, "last": 1e3, "record": 20}
    small = {"classes": 3, "samples_per_class": 4, "dim": 5, "beta": None}
    many, measuring = resources(problem(flow, **small), seeds=5000)
    # Measured: 1.4 s each.
    assert 2 * 117 < many.minutes < 10 * 117 and many.gpus == measuring.gpus == 0
    lbfgs = {"kind": "lbfgs", "steps": 5000}
    assert resources(PROBLEM, optimiser=lbfgs, seeds=2000)[0].gpus == 0


def test_a_problem_is_as_long_as_the_steps_of_its_solvers():
    for solver, steps in (
        ({"kind": "adam", "steps": 30, "learning_rate": 0.1}, 30),
        ({"kind": "lbfgs", "steps": 30}, 30),
        ({"kind": "newton"}, 100),
    ):
        mine = {"scale": "smoke", "deep_linear": {"mine": problem(solver)}}
        experiment = config.load("config", mine).experiment("deep_linear", "mine")
        assert experiment.length() == (steps, "steps")


def test_second_derivatives_are_held_and_factorised():
    # Measured at 4800 numbers: 1.28 GB more than without, 70 s.
    (needed, _) = resources(problem({"kind": "newton"}), seeds=1)
    assert 1280 < needed.memory - 2000 < 2600 and needed.minutes > 10 + 2
    (larger, _) = resources(problem({"kind": "newton"}, samples_per_class=60), seeds=1)
    assert larger.memory - 2000 > 3.9 * (needed.memory - 2000)


def test_the_work_of_a_problem_grows_with_its_classes():
    sizes = PROBLEM["problem"] | {"class_sizes": [5] * 1000, "widths": 512, "depth": 1}
    (needed, _) = resources(PROBLEM, problem=sizes, seeds=1)
    # Measured on a core: 56 minutes; a GPU is faster.
    assert needed.gpus == 1 or needed.minutes > 2 * 56


def test_cores_have_a_bound():
    wide = PROBLEM["problem"] | {"widths": 256, "depth": 2}
    assert resources(PROBLEM, problem=wide, seeds=200)[0].cores == 8


def test_small_data_sets_ask_for_little():
    training = NETWORK["training"] | {"epochs": 20000, "batch_size": 16}
    changes = {"data": {"name": "linnerud"}, "training": training}
    # Measured: 48 s.
    assert resources(NETWORK, **changes)[0].minutes < 60


def test_a_tables_rows_are_estimated_by_its_size(tmp_path):
    section = kinds("source")["table"]
    path = tmp_path / "own.csv"
    path.write_text("a,b\n" + "0.25,1.5\n" * 100_000)
    found = section(table=str(path), targets=["b"])
    assert found.train_count == pytest.approx(80_000, rel=0.01)
    assert section(table=str(tmp_path / "no.csv"), targets=["b"]).train_count is None
