"""Join the metrics of an experiment's runs into one tidy table.

One row per run, step, layer and metric: the run's keys (one column per grid key, then
``seed``), ``step`` (optimisation step of a problem, epoch of a network), ``layer``, ``metric``,
``value``.
"""

import argparse

import pandas as pd

from collapse.artifacts import read_table, write_table
from collapse.provenance import record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("inputs", nargs="+", metavar="FILE", help="metrics of runs or groups")
    parser.add_argument("--out", required=True, metavar="FILE", help="table to write (parquet)")


def run(args: argparse.Namespace) -> None:
    """Write the experiment's table."""
    joined = pd.concat([read_table(path) for path in args.inputs], ignore_index=True)
    columns = [*args.spec["keys"], "step", "layer", "metric", "value"]
    write_table(args.out, joined[columns], record("table", args.spec, args.inputs))
