"""Train at several precisions and seeds and say whether bf16 lies within the seeds' spread.

Finished runs are kept beside the table as ``precision-PRECISION-SEED.parquet``: the command
called again continues. Without a GPU the study is left out, and the table says so.
"""

import argparse
from pathlib import Path

from collapse.artifacts import write_csv, write_digests
from collapse.benchmarks import precision
from collapse.benchmarks.suite import NO_GPU
from collapse.data.dataset import load
from collapse.training.device import acquire_device, device_class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument("--out", required=True, metavar="FILE", help="csv to write")


def run(args: argparse.Namespace) -> None:
    """Write the table and print what it says."""
    (data,) = args.spec.reads["data"]
    dataset = load(data)
    device = acquire_device()
    identity = args.spec.provenance(device_class(device))
    if device.type == "cuda":
        table = precision.study(dataset, Path(args.out).parent, identity, device)
    else:
        table = precision.left_out(NO_GPU)
    write_csv(args.out, table)
    write_digests([args.out], identity)
    print(precision.summary(table))
