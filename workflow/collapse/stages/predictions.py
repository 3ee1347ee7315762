"""Compute the closed forms of an experiment's runs, one tidy row per run and predicted number."""

import argparse
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from collapse.artifacts import write_table
from collapse.data.dataset import Dataset, load, prepare
from collapse.errors import InputError
from collapse.provenance import record
from collapse.stages.closed_form import hyperparameters, of_regression


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--data", metavar="FILE", help="training data of a network experiment")
    parser.add_argument("--out", required=True, metavar="FILE", help="table to write (parquet)")


def run(args: argparse.Namespace) -> None:
    """Write the experiment's predictions."""
    theory = import_module(f"collapse.theory.{args.spec['study']}")
    dataset = load(args.data) if args.data else None
    rows = [
        {**each["keys"], "seed": seed, "metric": metric, "value": value}
        for each in args.spec["runs"]
        for metric, value in _predict(theory, each["config"], dataset)
        for seed in each["seeds"]
    ]
    columns = [*args.spec["keys"], "metric", "value"]
    frame = pd.DataFrame(rows, columns=columns).astype({"value": float})
    inputs = [args.data] if args.data else []
    write_table(args.out, frame, record("predictions", args.spec, inputs))


def _predict(
    theory: ModuleType, config: dict[str, Any], dataset: Dataset | None
) -> Iterator[tuple[str, float]]:
    """Yield what theory says of a run: of a sweep its thresholds only, it has many decays."""
    if config.get("sweep"):
        depth = config["problem"]["depth"]
        yield "threshold", float(theory.threshold(depth))
        yield "metastable_threshold", float(theory.metastable_threshold(depth))
        return
    try:
        yield from _flat(theory.predict(**_hyperparameters(config, dataset)))
    except InputError as reason:
        print(f"no closed form: {reason}")


def _hyperparameters(config: dict[str, Any], dataset: Dataset | None) -> dict[str, Any]:
    if dataset is None:
        problem = config["problem"]
        if problem["kind"] == "regression":
            mean, covariance = problem["target_mean"], problem["target_covariance"]
            return of_regression(config, _moment(covariance, mean, problem["bias"]))
        return hyperparameters(config, problem["class_sizes"])
    targets = prepare(dataset, config["data"]).targets
    if dataset.regression:
        covariance = np.atleast_2d(np.cov(targets.T, ddof=0))
        return of_regression(config, _moment(covariance, targets.mean(0), config["head"]["bias"]))
    return hyperparameters(config, np.bincount(targets).tolist())


def _moment(covariance: ArrayLike, mean: ArrayLike | None, bias: bool) -> NDArray[np.float64]:
    """Return the covariance, or without a bias the second moment."""
    covariance = np.asarray(covariance, dtype=float)
    return covariance if bias or mean is None else covariance + np.outer(mean, mean)


def _flat(prediction: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield numbers by name; null is left out.

    Those of lists are ``name[0]``, ``name[1]``, those of symmetric matrices ``name[0,1]`` with
    the smaller index first.
    """
    for name, value in prediction.items():
        values = value if isinstance(value, list | tuple | np.ndarray) else None
        if name == "collapsed_classes" and values is not None:
            yield name, float(len(values))
        elif values is not None and np.ndim(values) == 2:
            matrix = np.asarray(values)
            rows, columns = np.triu_indices(len(matrix))
            for row, column in zip(rows, columns, strict=True):
                yield f"{name}[{row},{column}]", float(matrix[row, column])
        elif values is not None:
            yield from ((f"{name}[{index}]", float(item)) for index, item in enumerate(values))
        elif value is not None:
            yield name, float(value)
