"""Compute the closed forms of an experiment's runs, and the frames they are measured against.

Predictions: one tidy row per run and predicted number. Frames: what theory says of each class of a
run (``quantity``, ``index``, ``value``) that features and weights are measured against, at a
``step`` of the run or at every one (-1).
"""

import argparse
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from collapse.artifacts import write_table
from collapse.data.dataset import load
from collapse.data.facts import facts_of
from collapse.errors import InputError

EVERY_STEP = -1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    for name in ("predictions", "frames"):
        parser.add_argument(f"--{name}", required=True, metavar="FILE", help="parquet to write")


def run(args: argparse.Namespace) -> None:
    """Write the experiment's predictions and frames."""
    spec = args.spec.job
    theory = import_module(spec["theory"]) if spec["theory"] else None
    data = args.spec.reads["data"]
    dataset = load(data[0]) if data else None
    predictions, frames = [], []
    for entry in spec["runs"] if theory else ():
        config, facts = entry["config"], dict(entry["facts"])
        if dataset is not None:
            facts |= facts_of(dataset, config["data"])
        # What theory says is the same for all seeds: it is computed once and written for each.
        keys = [{**entry["keys"], "seed": seed} for seed in entry["seeds"]]
        numbers = list(_predicted(theory, config, facts))
        predictions += [{**key, "metric": m, "value": v} for m, v in numbers for key in keys]
        for step, changes in entry["stages"]:
            frame = list(_framed(theory, config | changes, facts))
            place = EVERY_STEP if step is None else step
            frames += [{**key, "step": place, **row} for key in keys for row in frame]
    provenance = args.spec.provenance()
    for path, rows, columns in (
        (args.predictions, predictions, ["metric", "value"]),
        (args.frames, frames, ["step", "quantity", "index", "value"]),
    ):
        # Without a theory there are no rows, from which a column could take its type.
        table = pd.DataFrame(rows, columns=[*spec["keys"], *columns]).astype({"value": float})
        write_table(path, table, provenance)


def _predicted(
    theory: ModuleType, config: Mapping[str, Any], facts: Mapping[str, Any]
) -> Iterator[tuple[str, float]]:
    # A run outside what a theory covers has no prediction; that is no error of the experiment.
    try:
        yield from _flat(theory.of_run(config, facts))
    except InputError as reason:
        print(f"no closed form: {reason}")


def _framed(
    theory: ModuleType, config: Mapping[str, Any], facts: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run's frame; a theory need not have one."""
    frame = getattr(theory, "frame_of_run", lambda *_: {})(config, facts)
    for quantity, values in frame.items():
        for index, value in enumerate(values):
            yield {"quantity": quantity, "index": index, "value": float(value)}


def _flat(prediction: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield numbers by name; null is left out.

    Those of lists are ``name[0]``, ``name[1]``, those of symmetric matrices ``name[0,1]`` with
    the smaller index first.
    """
    for name, value in prediction.items():
        values = value if isinstance(value, list | tuple | np.ndarray) else None
        # A list of changing length would be other metrics in every run: its length is one number.
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
