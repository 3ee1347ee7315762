"""Compute the closed forms of an experiment's runs, one tidy row per run and predicted number."""

import argparse
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from collapse.artifacts import write_table
from collapse.data.dataset import Dataset, load, subset
from collapse.errors import InputError
from collapse.provenance import record
from collapse.stages.closed_form import hyperparameters


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
    sizes = _sizes(config, dataset)
    try:
        yield from _flat(theory.predict(**hyperparameters(config, sizes)))
    except InputError as reason:
        print(f"no closed form: {reason}")


def _sizes(config: dict[str, Any], dataset: Dataset | None) -> list[int]:
    if dataset is None:
        return config["problem"]["class_sizes"]
    choice = {key: value for key, value in config["data"].items() if key != "name"}
    chosen = subset(dataset.labels, classes=dataset.classes, **choice)
    return np.bincount(dataset.labels[chosen]).tolist()


def _flat(prediction: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield numbers by name, those of lists as ``name[0]``, ``name[1]``; null is left out."""
    for name, value in prediction.items():
        values = value if isinstance(value, list | tuple | np.ndarray) else None
        if name == "collapsed_classes" and values is not None:
            yield name, float(len(values))
        elif values is not None:
            yield from ((f"{name}[{index}]", float(item)) for index, item in enumerate(values))
        elif value is not None:
            yield name, float(value)
