"""Time the engine against the textbook ways; print the table.

Writes one row per piece of work: times of the baseline and of ours (medians), their ratio, its
spread over the repeats, the goal and whether it is met; and how the cost grows with size. What
this machine cannot measure stands there with the reason.
"""

import argparse

from collapse.artifacts import write_csv, write_digests
from collapse.benchmarks import scaling, suite, table
from collapse.benchmarks.sizes import Sizes
from collapse.specs import Spec
from collapse.training.device import acquire_device, device_class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument("--out", required=True, metavar="FILE", help="csv of the ratios to write")
    parser.add_argument("--scaling", required=True, metavar="FILE", help="csv of growth to write")


def run(args: argparse.Namespace) -> None:
    """Time everything and write both tables."""
    measure(args.out, args.scaling, Sizes(), args.spec)


def measure(out: str, growth: str, sizes: Sizes, spec: Spec) -> None:
    """Write both tables at the given sizes and print the first."""
    device = acquire_device()
    ratios = suite.run(sizes, device)
    write_csv(out, ratios)
    print(table.as_text(ratios), flush=True)
    write_csv(growth, scaling.run(sizes, device))
    for path in (out, growth):
        write_digests([path], spec.provenance(device_class(device)))
