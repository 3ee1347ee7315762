"""Draw a figure of the benchmark as pdf, png and the csv of exactly what is drawn.

The spec is {"figure": NAME}, where a name is "speed", "scaling" or "precision".
"""

import argparse

import pandas as pd

from collapse.artifacts import write_csv
from collapse.benchmarks.figures import FIGURES
from collapse.errors import InputError
from collapse.plotting import paper_style, save_all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument("table", metavar="FILE", help="csv of what was measured")
    for suffix in ("pdf", "png", "csv"):
        parser.add_argument(f"--{suffix}", required=True, metavar="FILE", help="file to write")


def run(args: argparse.Namespace) -> None:
    """Draw the figure that ``args.spec`` names."""
    name = args.spec.job.get("figure")
    if name not in FIGURES:
        raise InputError(f"--spec: no figure {name!r} (there are: {', '.join(FIGURES)})")
    try:
        table = pd.read_csv(args.table)
    except OSError as error:
        raise InputError(f"{args.table}: {error.strerror}") from None
    with paper_style():
        figure, figure_rows = FIGURES[name](table)
        provenance = args.spec.provenance(further=[args.table])
        save_all(figure, (args.pdf, args.png), provenance)
    write_csv(args.csv, figure_rows)
