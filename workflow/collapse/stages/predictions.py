"""Compute the closed forms of an experiment's runs, one tidy row per run and predicted number."""

import argparse
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from collapse.artifacts import write_table
from collapse.data.dataset import load, subset
from collapse.errors import InputError
from collapse.provenance import record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--data", metavar="FILE", help="training data of a network experiment")
    parser.add_argument("--out", required=True, metavar="FILE", help="table to write (parquet)")


def run(args: argparse.Namespace) -> None:
    """Write the experiment's predictions."""
    theory = import_module(f"collapse.theory.{args.spec['study']}")
    labels = load(args.data).labels if args.data else None
    rows = [
        {**each["keys"], "seed": seed, "metric": metric, "value": value}
        for each in args.spec["runs"]
        for metric, value in _predict(theory, each["config"], labels)
        for seed in each["seeds"]
    ]
    columns = [*args.spec["keys"], "metric", "value"]
    frame = pd.DataFrame(rows, columns=columns).astype({"value": float})
    inputs = [args.data] if args.data else []
    write_table(args.out, frame, record("predictions", args.spec, inputs))


def _predict(
    theory: ModuleType, config: dict[str, Any], labels: np.ndarray | None
) -> Iterator[tuple[str, float]]:
    """Yield what theory says of a run: of a sweep its thresholds only, it has many decays."""
    if config.get("sweep"):
        depth = config["problem"]["depth"]
        yield "threshold", float(theory.threshold(depth))
        yield "metastable_threshold", float(theory.metastable_threshold(depth))
        return
    try:
        yield from _flat(theory.predict(**_hyperparameters(config, labels)))
    except InputError as reason:
        print(f"no closed form: {reason}")


def _hyperparameters(config: dict[str, Any], labels: np.ndarray | None) -> dict[str, Any]:
    shared = {key: config[key] for key in ("weight_decay", "feature_decay")}
    if labels is None:
        problem = config["problem"]
        names = ("class_sizes", "depth", "widths", "loss", "bias")
        return shared | {name: problem[name] for name in names}
    choice = {key: value for key, value in config["data"].items() if key != "name"}
    sizes = np.bincount(labels[subset(labels, **choice)]).tolist()
    head = config["head"]
    return shared | {"class_sizes": sizes, "loss": config["loss"], **head}


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
