"""What a config may not say: one line that names the key."""

import math
import re

import pytest

from collapse.errors import InputError
from conftest import DESCENT, PROBLEM, reading, study_deep_linear, study_regression


def sizes(class_sizes):
    return {"samples_per_class": None, "class_sizes": class_sizes}


CNN = {"kind": "cnn", "channels": [4]}
NETWORKS = [
    (
        study_deep_linear(network_mlp={"traning": {}}),
        ["network_mlp.traning", "did you mean 'training'"],
    ),
    (study_deep_linear(network_mlp={"training": {"epoch": 3}}), ["training.epoch", "'epochs'"]),
    (study_deep_linear(network_mlp={"weight_decay": -1}), ["network_mlp.weight_decay", "-1"]),
    # More than single precision holds, or anybody waits for.
    (
        study_deep_linear(network_mlp={"training": {"learning_rate": 1e39}}),
        ["network_mlp.training.learning_rate", "1e+39"],
    ),
    (
        study_deep_linear(network_mlp={"training": {"epochs": 10**400}}),
        ["network_mlp.training.epochs", "less than or equal to"],
    ),
    (
        study_deep_linear(network_mlp={"model": {"kind": "wideresnet", "depth": 12, "width": 1}}),
        ["network_mlp.model.depth", "12 found", "10, 16, 22"],
    ),
    (
        study_deep_linear(network_mlp={"model": {"kind": "vit", "patch": 3}}),
        ["network_mlp.model.patch", "3 found", "side: 8x8"],
    ),
    (
        study_deep_linear(network_mlp={"model": {"kind": "vgg16"}, "data": {"size": 16}}),
        ["network_mlp.model.kind", "images of 16x16 found, needed are 32x32"],
    ),
    (
        study_deep_linear(network_mlp={"model": {"kind": "vit", "patch": 4}, "data": {"size": 10}}),
        ["network_mlp.model.patch", "4 found", "side: 10x10"],
    ),
    (
        study_deep_linear(network_mlp={"model": {"kind": "vit", "width": 10, "heads": 4}}),
        ["network_mlp.model.heads", "4 found", "divisors of width, 10"],
    ),
    (
        study_deep_linear(network_mlp={"data": {"size": 7}}),
        ["network_mlp.data.size", "7 found", "8x8", "8 or more"],
    ),
    (study_regression(reacher={"data": {"size": 32}}), ["reacher.data.size", "is a table"]),
    (
        study_deep_linear(network_mlp={"head": {"frozen": True, "depth": 3}, "grid": {}}),
        ["network_mlp.head.depth", "3 found", "frozen"],
    ),
    (
        study_deep_linear(network_mlp={"decayed": "all_and_head_bias", "grid": {}}),
        ["network_mlp.decayed", "allowed without head.bias is all"],
    ),
    (
        study_deep_linear(network_mlp={"head": {"frozen": True}, "grid": {}}),
        ["network_mlp.weight_decay", "allowed is 0", "frozen"],
    ),
    (
        study_deep_linear(network_mlp={"head": {"activation": "relu"}, "grid": {}}),
        ["network_mlp.head.depth", "1 found", "with relu are 2 or more"],
    ),
    (
        study_deep_linear(network_mlp={"head": {"width": 9}}),
        ["network_mlp.head.width", "9 found", "allowed in a linear head is null"],
    ),
    (
        study_deep_linear(
            network_mlp={
                "head": {"activation": "relu", "depth": 2},
                "probes": ["mixed_curves"],
                "grid": {},
            }
        ),
        ["network_mlp.probes.0.kind", "mixed_curves found with a relu head"],
    ),
    (
        study_deep_linear(direct_optimisation={"probes": ["classifier", "nfa"]}),
        ["direct_optimisation.probes.1.kind", "nfa found", "networks alone"],
    ),
    (
        study_deep_linear(mine={"problem": {"depth": 2}, "seeds": 1}),
        ["deep_linear.mine.problem.kind: is missing"],
    ),
    (
        study_deep_linear(network_mlp={"model": {"kind": "cifar_resnet", "depth": 18}}),
        ["network_mlp.model.depth", "18 found", "8, 14, 20"],
    ),
    (
        study_deep_linear(network_mlp={"head": {"init": "etf", "depth": 2}, "grid": {}}),
        ["network_mlp.head.depth", "2 found", "etf"],
    ),
    (
        study_deep_linear(
            network_mlp={
                "model": {"kind": "vit"},
                "grid": {"data.size": [8, 12, 14]},
            }
        ),
        ["network_mlp.model.patch", "4 found", "side: 14x14"],
    ),
    (
        study_deep_linear(
            network_mlp={
                "head": {"init": "etf"},
                "model": {"kind": "cnn", "channels": [8], "feature_normalisation": "none"},
                "grid": {},
            }
        ),
        ["network_mlp.head.init", "8 features", "9"],
    ),
    (
        study_deep_linear(network_mlp={"procedure": "layerwise"}),
        ["network_mlp.model: no chain of hidden layers, allowed is an mlp with ending relu: MLP"],
    ),
    (
        study_deep_linear(
            network_mlp={
                "procedure": "layerwise",
                "model": {"normalisation": "none", "ending": "relu"},
                "training": {"augmentation": ["flip"]},
            }
        ),
        ["network_mlp.training.augmentation: ['flip'] found, allowed is []: features are no"],
    ),
    (
        study_deep_linear(network_mlp={"procedure": "layerwise", "model": CNN}),
        ["network_mlp.model: no chain of hidden layers, allowed is an mlp with ending relu: CNN"],
    ),
    (
        study_deep_linear(network_mlp={"data": {"class_sizes": [3, 2]}}),
        ["network_mlp.data", "class_sizes and samples_per_class are both", "other to null"],
    ),
    (
        study_deep_linear(
            network_mlp={"data": {"class_sizes": [3, 2.5], "samples_per_class": None}}
        ),
        ["network_mlp.data.class_sizes", "2.5"],
    ),
    (
        study_deep_linear(network_mlp={"data": {"imbalance_ratio": 0.5}}),
        ["data.imbalance_ratio", "0.5"],
    ),
    (
        study_deep_linear(network_mlp={"data": {"imbalance_ratio": 20.5}}),
        ["data.imbalance_ratio: 20.5 found", "samples_per_class, 20"],
    ),
    (
        study_deep_linear(network_mlp={"grid": {"data.imbalance_ratio": [1, 20, 21]}}),
        ["grid.data.imbalance_ratio: 21 found", "samples_per_class, 20"],
    ),
    (
        study_deep_linear(network_mlp={"data": sizes([5])}),
        ["data.class_sizes", "at least 2", "[5]"],
    ),
    (
        study_deep_linear(network_mlp={"data": sizes("many")}),
        ["data.class_sizes", "list", "'many'"],
    ),
    (study_deep_linear(network_mlp={"data": sizes([5, 0])}), ["data.class_sizes.1", "1, found 0"]),
    (study_deep_linear(network_mlp={"data": sizes([True, 2])}), ["data.class_sizes.0", "boolean"]),
    (
        study_deep_linear(network_mlp={"data": sizes([5, 2])}),
        ["network_mlp.data.class_sizes", "2 sizes found, digits has 10 classes"],
    ),
    (
        study_deep_linear(
            network_mlp={"data": sizes(None), "grid": {"data.class_sizes": [[9] * 10, [5, 2]]}}
        ),
        ["network_mlp.grid.data.class_sizes", "2 sizes found, digits has 10 classes"],
    ),
    (
        study_deep_linear(
            network_mlp={"data": {"name": "shuttle"}, "training": {"augmentation": ["crop"]}}
        ),
        ["training.augmentation: ['crop'] found", "allowed is []: shuttle is a table"],
    ),
    (
        study_deep_linear(
            network_mlp={
                "data": {"name": "shuttle"},
                "grid": {"training.augmentation": [[], ["crop", "flip"]]},
            }
        ),
        ["grid.training.augmentation: ['crop', 'flip'] found", "shuttle is a table"],
    ),
    (study_deep_linear(network_mlp={"weight_decay": float("nan")}), ["network_mlp.weight_decay"]),
    (
        study_deep_linear(network_mlp={"feature_decay": True}),
        ["network_mlp.feature_decay", "boolean"],
    ),
    (
        study_deep_linear(network_mlp={"grid": {"head.depth": []}}),
        ["grid.head.depth", "at least one"],
    ),
    (
        study_deep_linear(network_mlp={"grid": {"head.dept": [1]}}),
        ["grid.head.dept", "unknown key"],
    ),
    (study_deep_linear(network_mlp={"grid": {"head.depth": [1, 1]}}), ["grid.head.depth", "twice"]),
    # Written in two ways, read as one.
    (
        study_deep_linear(network_mlp={"grid": {"weight_decay": [0.01, "1e-2"]}}),
        ["grid.weight_decay", "twice"],
    ),
    (
        study_deep_linear(network_mlp={"grid": {"head.bias": [True, 1]}}),
        ["grid.head.bias", "twice"],
    ),
    # Not twice, but in one folder.
    (
        study_deep_linear(network_mlp={"grid": {"weight_decay": ["1e-2", 0.010000001]}}),
        ["grid.weight_decay", "0.01 and 0.010000001 found", "first six digits"],
    ),
    (study_deep_linear(network_mlp={"grid": {"problem.depth": [1]}}), ["grid.problem.depth"]),
    (
        study_deep_linear(network_mlp={"grid": {"data.name": ["digits", "mnist"]}}),
        ["grid.data.name"],
    ),
    (
        study_deep_linear(network_mlp={"grid": {"training.schedule.step": [5, 9]}}),
        ["grid.training.schedule.step", "two columns", "'step'"],
    ),
    (
        study_deep_linear(network_mlp={"training": {"schedule": {"step": 5, "at": [0.5]}}}),
        ["training.schedule", "one of step and at"],
    ),
    (
        study_deep_linear(network_mlp={"training": {"schedule": {"step": None, "at": [1.5]}}}),
        ["training.schedule.at", "less than 1", "1.5"],
    ),
    (study_deep_linear(network_mlp={"input": {"kind": "mixup", "alpha": 0}}), ["alpha", "0"]),
    (
        study_regression(reacher={"input": "mixup"}),
        ["reacher.input", "mixup", "has real targets"],
    ),
    (
        study_deep_linear(network_mlp={"probes": [{"kind": "mixed_points", "classes": [0, 1, 1]}]}),
        ["probes.0.classes", "three different", "[0, 1, 1]"],
    ),
    (
        study_deep_linear(
            network_mlp={"probes": [{"kind": "mixed_points", "classes": [0, 1, 12]}]}
        ),
        ["probes.0.classes", "no class 12", "0 (0) to 9 (9)"],
    ),
    (
        study_deep_linear(
            network_mlp={"probes": [{"kind": "mixed_points", "views": ["train_augmented"]}]}
        ),
        ["probes.0.views", "train_augmented found", "augmentation too"],
    ),
    (
        study_deep_linear(
            network_mlp={"probes": ["calibration", {"kind": "calibration", "bins": 20}]}
        ),
        ["network_mlp.probes", "one setting of each kind, calibration has another"],
    ),
    (
        study_deep_linear(
            network_mlp={"probes": [{"kind": "mixed_curves", "layers": "all", "pairs": 1}]}
        ),
        ["probes.0.pairs", "1 found", "2 or more"],
    ),
    (
        study_deep_linear(network_mlp={"probes": [{"kind": "mixed_curves", "mixes": 6}]}),
        ["probes.0.mixes", "odd", "6"],
    ),
    (
        study_deep_linear(network_mlp={"probes": [{"kind": "mixed_curves", "mixes": 3}]}),
        ["probes.0.mixes", "3", "5"],
    ),
    (
        study_deep_linear(network_mlp={"probes": ["mixed_labels"]}),
        ["probes.0.kind", "mixed_labels", "not plain"],
    ),
    (
        study_regression(reacher={"probes": ["calibration"]}),
        ["reacher.probes.0.kind", "calibration", "has no labels"],
    ),
    (
        study_deep_linear(network_mlp={"probes": ["feature_space"]}),
        ["network_mlp.probes.0.kind", "feature_space", "has labels, no real targets"],
    ),
    (
        study_deep_linear(network_mlp={"probes": ["residuals"]}),
        ["network_mlp.probes.0.kind", "residuals", "has labels, no real targets"],
    ),
    (
        study_regression(reacher={"head": {"depth": 2}, "probes": ["residuals"]}),
        ["residuals found, the head has 2 layers, needed is one"],
    ),
    (
        study_regression(reacher={"probes": ["classifier"]}),
        ["reacher.probes.0.kind", "classifier", "has real targets, no labels"],
    ),
    (
        study_deep_linear(
            direct_optimisation={"problem": {"widths": 10**6, "depth": 1000}, "grid": {}}
        ),
        [
            "direct_optimisation.problem: 1e+15 numbers found in one problem's variables, ",
            "allowed are 1e+11",
        ],
    ),
    (
        {"datasets": {"reacher": {"action_noise": -0.1}}},
        ["datasets.reacher.action_noise", "found -0.1"],
    ),
    (
        {"datasets": {"reacher": {"action_noise": 1e39}}},
        ["datasets.reacher.action_noise", "1000", "found 1e+39"],
    ),
    (
        study_regression(
            reacher={"model": {"normalisation": "batch_before", "ending": "linear", "hidden": [8]}}
            | {"grid": {}}
        ),
        ["reacher.model.hidden: [8] found: no ReLU"],
    ),
    (
        study_deep_linear(network_mlp={"grid": {"model": [{"kind": "mlp", "hidden": [4]}]}}),
        ["grid.model", "not sections"],
    ),
    (
        study_deep_linear(network_mlp={"grid": {"weight_decay": [1e-3, [1e-3]]}}),
        ["grid.weight_decay", "either lists or single values"],
    ),
    (study_deep_linear(network_mlp={"grid": {1: [2]}}), ["network_mlp.grid.1", "text, found 1"]),
    (study_deep_linear(network_mlp={"seeds": 0}), ["network_mlp.seeds", "0"]),
    (study_deep_linear(network_mpl={"seeds": 1}), ["network_mpl", "did you mean 'network_mlp'"]),
    (study_deep_linear(network_mlp=3), ["network_mlp", "mapping"]),
    (study_deep_linear(network_mlp={"data": {"name": "cifar11"}}), ["data.name", "cifar10"]),
    (study_deep_linear(network_mlp={"model": {"kind": "vgg"}}), ["model", "vgg", "mlp"]),
    (study_deep_linear(direct_optimisation={"grid": {"problem.depth": [1, -3]}}), ["depth", "-3"]),
    (
        study_deep_linear(direct_optimisation={"optimiser": {"stepz": 4}}),
        ["optimiser.stepz", "'steps'"],
    ),
    (
        study_deep_linear(network_mlp={"weight_decay": [1, 2]}),
        ["network_mlp.weight_decay: 2 values found", "one per layer (depth 3)"],
    ),
    (
        study_deep_linear(network_mlp={"weight_decay": [1, 2], "grid": {"head.depth": [2, 4]}}),
        ["network_mlp.weight_decay: 2 values found", "one per layer (depth 4)"],
    ),
    (
        study_deep_linear(network_mlp={"weight_decay": [1, -2], "grid": {"head.depth": [2]}}),
        ["network_mlp.weight_decay.1", "found -2"],
    ),
    (
        study_deep_linear(direct_optimisation={"weight_decay": [1, 2]}),
        ["direct_optimisation.weight_decay: 2 values found", "one per layer (depth 3)"],
    ),
    (
        study_deep_linear(direct_optimisation={"grid": {"weight_decay": [[1, 2, 3]]}}),
        ["direct_optimisation.grid.weight_decay: 3 values found", "(depth 1)"],
    ),
    (
        study_deep_linear(direct_optimisation={"problem": {"widths": [9, 9]}}),
        ["direct_optimisation.problem.widths: 2 values found", "(depth 3)"],
    ),
    (
        study_deep_linear(direct_optimisation={"grid": {"weight_decay": [-1]}}),
        ["grid.weight_decay", "-1"],
    ),
    (
        study_deep_linear(collapse_threshold={"weight_decay": 0}),
        ["collapse_threshold", "sweep", "be 0"],
    ),
    (
        study_deep_linear(collapse_threshold={"feature_decay": 0}),
        ["collapse_threshold", "sweep", "be 0"],
    ),
    (
        study_deep_linear(
            direct_optimisation={"grid": {"problem.kind": ["x"], "optimiser.kind": ["x"]}}
        ),
        ["grid.problem.kind", "two columns", "'kind'"],
    ),
]


def with_optimisers(*optimisers):
    return study_deep_linear(mine={**PROBLEM, "optimiser": list(optimisers)})


PROBLEMS = [
    (
        study_deep_linear(mine={**PROBLEM, "grid": {"probes": [[], ["residuals"]]}}),
        ["grid.probes", "not a"],
    ),
    (
        study_deep_linear(mine={**PROBLEM, "procedure": "problm"}),
        ["mine.procedure", "did you mean 'prob"],
    ),
    (with_optimisers(), ["optimiser: [] found, allowed is an optimiser, or a list of them"]),
    (with_optimisers(DESCENT, {"kind": "lbfgs"}), ["optimiser.1.steps: is missing"]),
    (
        with_optimisers(DESCENT | {"tolerance": 1e-3}),
        ["optimiser.0.tolerance: unknown key", "momentum"],
    ),
    (with_optimisers(DESCENT, {"kind": "nadam", "steps": 3}), ["optimiser.1", "nadam", "lbfgs"]),
    (study_deep_linear(mine={**PROBLEM, "probes": ["x"]}), ["mine.probes", "x", "classifier"]),
    (
        study_deep_linear(mine={key: PROBLEM[key] for key in PROBLEM if key != "weight_decay"}),
        ["mine.weight_decay: is missing"],
    ),
    (
        study_deep_linear(mine={key: PROBLEM[key] for key in PROBLEM if key != "feature_decay"}),
        ["mine.feature_decay: is missing"],
    ),
    ({"first_seed": -1}, ["first_seed", "-1"]),
    (
        {"largest": 10},
        ["direct_optimisation", "expands to", "allowed are 10:", "--config largest="],
    ),
    ({"deep_linear": {"network_mlp": {"seeds": math.inf}}}, ["network_mlp.seeds", "finite"]),
    (
        {"deep_linear": {"network_mlp": {"seeds": 10**10}}},
        ["deep_linear.network_mlp: 10,000,000,000 of", "allowed are 10,000"],
    ),
    (
        {"deep_linear": {"network_mlp": {"grid": {f"a{n}": [*range(100)] for n in range(6)}}}},
        ["deep_linear.network_mlp: 1,000,000,000,000 of", "allowed are 10,000"],
    ),
    ({"results": ""}, ["results", "at least 1"]),
    ({"result": "x"}, ["result", "did you mean 'results'"]),
]


MIXED = {"kind": "mixup", "classes": 4, "dim": 3, "classifier": "free"}
FIXED = {"classifier": "fixed", "classifier_norm": 1}


def mixed(feature_decay=1e-3, weight_decay=1e-3, **changes):
    """An experiment of the mixup problem."""
    block = {**PROBLEM, "problem": MIXED | changes, "feature_decay": feature_decay}
    return study_deep_linear(mine=block | {"weight_decay": weight_decay})


MIXUPS = [
    (mixed(classes=2), ["problem.classes: 2 found, allowed is 3 or more: two have no channel"]),
    (mixed(dim=2), ["problem.dim: 2 found, allowed is 3 or more, classes - 1"]),
    (mixed(alpha=0), ["problem.alpha", "greater than 0, found 0"]),
    (mixed(alpha=1e-9), ["problem.alpha", "0.000001, found 1e-09"]),
    (mixed(alpha=1e4), ["problem.alpha", "1000, found 10000"]),
    (mixed(nodes=201), ["problem.nodes", "200, found 201"]),
    (mixed(nodes=0), ["problem.nodes", "equal to 1, found 0"]),
    (mixed(loss="l1"), ["problem.loss", "'l1'"]),
    (mixed(classifier="frozen"), ["problem.classifier", "'frozen'"]),
    (mixed(classifier_norm=1), ["problem.classifier_norm: 1 found, allowed is null: W is free"]),
    (mixed(weight_decay=None, classifier="fixed"), ["classifier_norm: null found", "W is fixed"]),
    (mixed(**FIXED | {"classifier_norm": 0}), ["problem.classifier_norm", "than 0, found 0"]),
    (mixed(**FIXED), ["mine.weight_decay: found, a mixup problem has no such penalty"]),
    (mixed(weight_decay=None), ["mine.weight_decay: null found, allowed is a number"]),
    (mixed(weight_decay=0), ["mine.weight_decay: 0.0 found, allowed are numbers above 0"]),
    (mixed(weight_decay=[1e-3]), ["mine.weight_decay: [0.001] found, allowed is a number"]),
    (mixed(feature_decay=0), ["mine.feature_decay: 0.0 found, allowed are numbers above 0"]),
    (mixed(feature_decay=-1), ["mine.feature_decay", "found -1"]),
    (
        mixed(feature_decay=None, weight_decay=None, **FIXED),
        ["mine.feature_decay: null found, allowed is a number: W has no decay"],
    ),
]


def free(sigma=((1, 0.3), (0.3, 0.5)), **changes):
    problem = {"target_covariance": [list(row) for row in sigma], **changes}
    return study_regression(free_features={"problem": problem, "grid": {}})


DECAY_ONLY = {"grid": {"model.ending": ["relu"]}}
REGRESSIONS = [
    (free([[1, 0.3], [0.2, 1]]), ["problem.target_covariance: found 0.3 at [0][1]", "symmetric"]),
    (free([[1, 2], [2, 1]]), ["problem.target_covariance", "smallest eigenvalue -1", "at least 0"]),
    (free([[1, 2], [2]]), ["problem.target_covariance: found 1 numbers in row 1", "square"]),
    (free([[1, 0]]), ["problem.target_covariance: found 2 numbers in row 0", "square"]),
    (free([[1, 0], [0, 0]]), ["target_covariance: target 1 has zero variance"]),
    (free([]), ["problem.target_covariance", "at least 1", "[]"]),
    (free([[]]), ["problem.target_covariance: found 0 numbers in row 0", "square"]),
    (free([[1, float("nan")], [0, 1]]), ["target_covariance.0.1", "finite"]),
    (free([[True]]), ["target_covariance.0.0", "boolean"]),
    (free(dim=1), ["problem.dim: 1 found, allowed is 2 or more: 2 targets"]),
    (free(dim=0), ["problem.dim", "found 0"]),
    (free(samples=2), ["problem.samples: 2 found, allowed is 3 or more: 2 targets"]),
    (free(target_mean=[1.0]), ["problem.target_mean: 1 numbers found", "each target, 2"]),
    (free(target_mean=1.0), ["problem.target_mean", "list", "found 1.0"]),
    (free(target_mean=[0, float("nan")]), ["problem.target_mean.1", "finite"]),
    (free(init_scale=0), ["problem.init_scale", "greater than 0, found 0"]),
    (free(depth=2), ["problem.depth: unknown key", "target_covariance"]),
    (free(dimm=2), ["problem.dimm: unknown key", "did you mean 'dim'"]),
    (
        study_regression(free_features={"grid": {"problem.dim": [4, 1]}}),
        ["grid.problem.dim: 1 found, allowed is 2 or more"],
    ),
    (
        study_regression(
            free_features={
                "grid": {"problem.target_covariance": [[[1, 0], [0, 1]], [[1, 2], [2, 1]]]}
            }
        ),
        ["grid.problem.target_covariance: found the smallest eigenvalue -1"],
    ),
    (study_regression(free_features={"feature_decay": -1}), ["feature_decay", "found -1"]),
    (
        study_regression(free_features={"weight_decay": [1, 2], "grid": {}}),
        ["weight_decay: 2 values found", "one per layer (depth 1)"],
    ),
    (
        study_regression(free_features={"weight_decay": [1], "feature_decay": None, "grid": {}}),
        ["free_features.feature_decay: null found with a list of weight decays"],
    ),
    (
        study_regression(no_decay={"sweep": {"scaled_decay": [0.1]}}),
        ["no_decay.sweep: found with a regression problem, allowed is null"],
    ),
    (
        study_regression(
            reacher={"weight_decay": [0.1], "backbone_decay": 0, "feature_decay": None} | DECAY_ONLY
        ),
        ["reacher.feature_decay: null found with a list of weight decays"],
    ),
    (
        study_regression(reacher={"weight_decay": [0.1], "backbone_decay": None} | DECAY_ONLY),
        ["reacher.backbone_decay: null found with a list of weight decays"],
    ),
    (study_regression(reacher={"backbone_decay": -1}), ["reacher.backbone_decay", "found -1"]),
    (study_regression(reacher={"decayed": "biases"}), ["reacher.decayed", "'weights'", "'biases'"]),
    (
        study_regression(reacher={"loss": "ce"}),
        ["reacher.loss: ce found, allowed is mse", "real targets"],
    ),
    (
        study_regression(reacher={"grid": {"loss": ["mse", "ce"]}}),
        ["reacher.grid.loss: ce found, allowed is mse"],
    ),
    (
        study_regression(reacher={"head": {"depth": 2}}),
        ["reacher.head.depth: 2 found, allowed is 1"],
    ),
    (
        study_regression(reacher={"head": {"init": "etf"}}),
        ["reacher.head.init: etf found, reacher has no classes"],
    ),
    (
        study_regression(reacher={"model": {"kind": "vit"}, "grid": {}}),
        ["reacher.model.patch: 4 found", "side: 1x1"],
    ),
    (
        study_regression(reacher={"data": {"class_sizes": [1, 2]}}),
        ["reacher.data.class_sizes: [1, 2] found, reacher has no classes"],
    ),
    (
        study_regression(reacher={"data": {"samples_per_class": 3}}),
        ["reacher.data.samples_per_class: 3 found, reacher has no classes"],
    ),
    (
        study_regression(reacher={"data": {"imbalance_ratio": 3}}),
        ["reacher.data.imbalance_ratio: 3.0 found, reacher has no classes"],
    ),
    (study_regression(reacher={"data": {"samples": 0}}), ["reacher.data.samples", "found 0"]),
    (study_regression(reacher={"data": {"standardise": ["all"]}}), ["data.standardise.0", "'all'"]),
    (
        study_regression(reacher={"data": {"name": "reecher"}}),
        ["data.name: no such data set", "reacher"],
    ),
    (
        study_regression(reacher={"training": {"augmentation": ["crop"]}}),
        ["training.augmentation: ['crop'] found", "reacher is a table"],
    ),
    (
        study_regression(reacher={"model": {"normalisation": "batch"}}),
        ["model.ending: relu found, with BatchNorm allowed is signed"],
    ),
    (
        {"deep_linear": {"network_mlp": {"model": {"ending": "linear"}}}},
        ["network_mlp.model.ending: linear found, with BatchNorm allowed is signed"],
    ),
    (
        {"deep_linear": {"network_mlp": {"data": {"standardise": ["inputs"]}}}},
        ["network_mlp.data.standardise: ['inputs'] found, digits is no regression"],
    ),
    (
        {"deep_linear": {"network_mlp": {"data": {"samples": 9, "samples_per_class": None}}}},
        ["network_mlp.data.samples: 9 found, digits is no regression"],
    ),
]
DATA_AND_STUDIES = [
    (
        study_deep_linear(network_mpl=None),
        ["deep_linear.network_mpl: null found", "did you mean 'network_mlp'"],
    ),
    ({"deep_liner": {}}, ["deep_liner", "did you mean 'deep_linear'"]),
    ({"datasets": {"mnist": {"sources": ["ftp"]}}}, ["datasets.mnist.sources", "ftp"]),
    ({"datasets": {"minst": {"sources": ["package"]}}}, ["datasets.minst", "'mnist'"]),
    ({"datasets": ["mnist"]}, ["datasets", "mapping"]),
    ({1: {}}, ["my.yaml: 1: a key should be text"]),
    ({"datasets": {"mine": {"sources": ["package"]}}}, ["datasets.mine: no such data set"]),
    ({"datasets": {"mine": {"table": "a.csv"}}}, ["datasets.mine.targets: is missing"]),
    ({"datasets": {"mine": {"table": "a.csv", "targets": []}}}, ["mine.targets", "at least 1"]),
    (
        {"datasets": {"mine": {"table": "a.csv", "targets": ["y"], "test_share": 0.7}}},
        ["datasets.mine.test_share", "0.5, found 0.7"],
    ),
    ({"results": "a{b}"}, ["results: allowed is a folder without { and }", "a{b}"]),
    ({"results": "-x"}, ["results: allowed is a folder", "'-x'"]),
    ({"results": "a\nb"}, ["results: allowed is a folder", "a\\nb"]),
    ({"first_seed": 16**4000}, ["first_seed: a number of more than 4,000 digits"]),
    ({"deep_linear": {16**4000: {}}}, ["deep_linear: a number of more than 4,000 digits"]),
    (
        study_deep_linear(network_mlp={"grid": {"weight_decay": [[16**4000]]}}),
        ["network_mlp.grid.weight_decay.0.0: a number of more than 4,000 digits"],
    ),
    ({"Scale": "smoke"}, ["Scale: no such study", "did you mean 'scale'", "datasets"]),
    (study_deep_linear(mine={**PROBLEM, "seeds": 10**10}), ["10,000,000,0", "largest="]),
    (study_deep_linear(mine={**PROBLEM, "seeds": "1e10"}), ["10,000,000,0", "largest="]),
    ({"datasets": {"hopper": {"policy": "best"}}}, ["datasets.hopper.policy", "'best'"]),
    ({"datasets": {"hopper": {"seed": -1}}}, ["datasets.hopper.seed", "found -1"]),
]


@pytest.mark.parametrize(
    ("user", "words"), NETWORKS + PROBLEMS + MIXUPS + REGRESSIONS + DATA_AND_STUDIES
)
def test_a_bad_config_is_one_line_that_names_the_file_and_the_key(load, user, words):
    with pytest.raises(InputError) as caught:
        load(user)
    message = str(caught.value)
    assert "\n" not in message and message.split(": ")[0].endswith(".yaml")
    assert all(word in message for word in words), message


# Where a name goes, and the wrong end of it.
NAMES = [
    ("my exp", "' ' in a name"),
    ("a/b", "'/' in a name"),
    ("../../evil", "'/' in a name"),
    ("a,b", "',' in a name"),
    ("a=b", "'=' in a name"),
    ("a{b}", "'{' in a name"),
    ("two\nlines", "\\n"),
    ("x²", "'²' in a name"),
    (".hidden", "begins with '.'"),
    ("..", "begins with '.'"),
    ("-option", "begins with '-'"),
    ("", "an empty name"),
    ("ü" * 51, "102 bytes"),
    ("ab" * 20, "twenty times over"),
]


@pytest.mark.parametrize(("name", "words"), NAMES)
def test_a_name_that_makes_no_file_is_refused(load, name, words):
    for user in (
        study_deep_linear(**{name: PROBLEM}),
        {"datasets": {name: {"table": "a.csv", "targets": ["y"]}}},
    ):
        with pytest.raises(InputError, match=re.escape(words)) as caught:
            load(user)
        assert str(caught.value).splitlines() == [str(caught.value)]


@pytest.mark.parametrize("name", ["mnist", "linnerud", "reacher", "hopper"])
def test_a_table_may_not_be_named_as_a_known_data_set(load, name):
    with pytest.raises(InputError) as caught:
        load({"datasets": {name: {"table": "a.csv", "targets": ["y"]}}})
    message = str(caught.value)
    assert message.startswith(f"my.yaml: datasets.{name}") and "\n" not in message
    assert "name the table otherwise" in message


def with_start(**of):
    first = {**PROBLEM, "grid": {"weight_decay": [0.1, 0.2]}}
    return study_deep_linear(first=first, second=reading(**of))


READS = [
    (
        with_start(),
        ["2 runs of deep_linear.first with seed=0, allowed is one (its keys: weight_decay"],
    ),
    (
        with_start(run={"weight_decay": 3}),
        ["no run of deep_linear.first with weight_decay=3, seed=0"],
    ),
    (with_start(run={"depth": 1}), ["no run of deep_linear.first with depth=1, seed=0"]),
    (with_start(run={"weight_decay": 0.1}, seed=7), ["no run of deep_linear.first with", "seed=7"]),
    (with_start(run={"seed": 2}), ["second.start.of.run: a seed found among its keys, allowed is"]),
    (with_start(experiment="fist"), ["did you mean 'first'?"]),
    (with_start(study="deep_liner"), ["did you mean 'deep_linear'?"]),
    (with_start(experiment="second", run={}), ["deep_linear.second reads deep_linear.second"]),
    (
        with_start(run={"weight_decay": 0.1}, read="features"),
        ["second.start.of: problem experiments write no features"],
    ),
    (
        with_start(studyy="x"),
        ["second.start.of.studyy: unknown key, did you mean 'study'"],
    ),
    (
        study_deep_linear(
            first={**reading(experiment="second"), "seeds": 1}, second={**reading(), "seeds": 1}
        ),
        ["read each other in a circle", "deep_linear.first reads deep_linear.second reads"],
    ),
]


@pytest.mark.parametrize(("user", "words"), READS)
def test_a_start_that_leads_to_no_run_is_one_line(load, user, words):
    with pytest.raises(InputError) as caught:
        load(user)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message
