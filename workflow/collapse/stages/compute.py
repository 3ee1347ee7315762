"""Compute the states of a group of runs: solve problems, train networks, or as a procedure does.

The states at the recorded steps are written as tensors ``{run}/{step:06d}/{name}``; the attribute
``runs`` says of each run its ``id``, ``keys``, recorded ``steps`` and ``status``: a run that
diverges succeeds, and says so there. A killed job continues from the folder ``checkpoints`` beside
the states where its procedure keeps checkpoints.
"""

import argparse
from importlib import import_module
from pathlib import Path

from collapse import grid
from collapse.artifacts import write_table, write_tensors
from collapse.procedures import JobContext
from collapse.training import device
from collapse.upstream import Upstream


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--states", required=True, metavar="FILE", help="safetensors to write")
    parser.add_argument("--history", required=True, metavar="FILE", help="parquet to write")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU cores to use")
    device.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Compute the group; write its states and history."""
    device.hide_unasked(args)
    spec = args.spec.job
    upstream = Upstream(spec["references"], args.spec.reads)
    procedure = import_module(f"collapse.procedures.{spec['procedure']}.compute")
    with JobContext(args.spec, args.threads, Path(args.states).parent) as job:
        result = procedure.compute(grid.expand(spec), upstream, job)
        write_tensors(args.states, result.tensors, job.provenance, {"runs": result.runs})
        # Without attributes: pandas would copy those of so many runs at every operation.
        write_table(args.history, result.history, job.provenance)
        # Only now may checkpoints go: a job that is killed while it writes continues from them.
        job.written()
