"""Join what is measured of an experiment's groups into tidy tables.

One row per run, step, layer and metric: the run's keys (one column per grid key, then
``seed``), ``step`` (optimisation step of a problem, epoch of a network), ``layer``, ``metric``,
``value``; and a table of samples, which has ``probe`` and the probes' columns instead.
"""

import argparse

import pandas as pd

from collapse.artifacts import read_table, write_table

LEADING = ("step", "layer")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    for name in ("metrics", "samples"):
        parser.add_argument(f"--{name}", required=True, metavar="FILE", help="parquet to write")


def run(args: argparse.Namespace) -> None:
    """Write the experiment's tables."""
    reads = args.spec.reads
    provenance = args.spec.provenance()
    for role, path in (("metrics", args.metrics), ("samples", args.samples)):
        frames = [read_table(file) for file in reads[role]]
        # An empty table says nothing of its columns' types.
        table = pd.concat([f for f in frames if len(f)] or frames, ignore_index=True)
        first = [*args.spec.job["keys"], *LEADING]
        columns = [*first, *(name for name in table if name not in first)]
        write_table(path, table[columns], provenance)
