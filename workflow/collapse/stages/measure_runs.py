"""Measure the states of runs: of a whole experiment, or of a group.

Writes tidy rows (the run's keys, ``step``, ``layer``, ``metric``, ``value``); points, matrices and
curves (the run's keys, ``step``, ``layer``, ``probe`` and the probe's columns); and, where asked
for, features: their file holds ``{run}/{step:06d}/{name}`` and what all states share, and has the
states' attributes and ``layers``, the names of the feature layers.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from collapse import grid
from collapse.artifacts import read_table, write_table, write_tensors
from collapse.errors import InputError
from collapse.procedures import JobContext, Measured, States
from collapse.progress import Progress
from collapse.training import device
from collapse.upstream import Upstream

ROWS = ("step", "layer", "metric", "value")
POINTS = ("step", "layer", "probe")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    for name in ("metrics", "samples"):
        parser.add_argument(f"--{name}", required=True, metavar="FILE", help="parquet to write")
    parser.add_argument("--features", metavar="FILE", help="safetensors to write")
    device.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Measure all groups; write rows, points and features."""
    device.hide_unasked(args)
    spec, reads = args.spec.job, args.spec.reads
    upstream = Upstream(spec["references"], reads)
    rows, points, features, attributes = [], [], {}, {"runs": []}
    with JobContext(args.spec, 1, frame=_frames(reads["frames"][0])) as job:
        for keys, measurement, states in _measured(spec, reads, upstream, job):
            rows.append(pd.DataFrame(measurement.rows, columns=list(ROWS)).assign(**keys))
            points += [_keyed(frame, keys) for frame in measurement.points]
            if args.features:
                # What all states share comes with each run, under one name: it is kept once.
                features |= {n: tensor.cpu().numpy() for n, tensor in measurement.features.items()}
                attributes = dict(states.attributes) | {"layers": list(measurement.layers)}
        provenance = job.provenance
    table = pd.concat(rows, ignore_index=True)[[*spec["keys"], *ROWS]]
    write_table(args.metrics, table, provenance)
    write_table(args.samples, _points(points, spec["keys"]), provenance)
    if args.features:
        write_tensors(args.features, features, provenance, attributes)


def _measured(
    spec: Mapping[str, Any], reads: Mapping[str, list[str]], upstream: Upstream, job: JobContext
) -> Iterator[tuple[dict[str, Any], Measured, States]]:
    procedure = import_module(f"collapse.procedures.{spec['procedure']}.measure")
    groups = [grid.expand(group) for group in spec["groups"]]
    progress, done = Progress(sum(map(len, groups)), unit="run"), 0
    for runs, path, history in zip(groups, reads["states"], reads["histories"], strict=True):
        states = States(path, read_table(history))
        for run, measurement in zip(
            runs, procedure.measure(runs, states, upstream, job), strict=True
        ):
            done += 1
            progress.update(done)
            yield run["keys"], measurement, states


def _keyed(points: pd.DataFrame, keys: dict[str, Any]) -> pd.DataFrame:
    for name in keys.keys() & set(points):
        raise InputError(f"samples: column {name} is a key of the run, name the probe's otherwise")
    return points.assign(**keys)


def _points(frames: list[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """Return all points as one table, the columns that every table has first."""
    table = (
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*keys, *POINTS])
    )
    columns = [name for name in table if name not in (*keys, *POINTS)]
    return table[[*keys, *POINTS, *columns]]


def _frames(path: str) -> Callable[[Mapping[str, Any], int], dict[str, np.ndarray]]:
    """Return what looks up the frame of a run's state in the table that theory wrote."""
    table = read_table(path)
    keys = [name for name in table if name not in ("step", "quantity", "index", "value")]
    frames = {
        _place(names): {
            name: np.array(values["value"]) for name, values in rows.groupby("quantity")
        }
        for names, rows in table.groupby([*keys, "step"], dropna=False)
    }

    def frame(run: Mapping[str, Any], step: int) -> dict[str, np.ndarray]:
        place = _place(run[key] for key in keys)
        # -1: the same at every step. A theory need not have a frame, nor a run one at every step.
        return frames.get((*place, -1)) or frames.get((*place, step)) or {}

    return frame


def _place(names: Iterable[Any]) -> tuple[Any, ...]:
    """Return a run's keys so that two are equal: a key that is null is NaN in some tables."""
    # NaN is not equal to itself.
    return tuple(None if pd.isna(name) else name for name in names)
