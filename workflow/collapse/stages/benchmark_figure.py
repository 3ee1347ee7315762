"""Draw a figure of the benchmark as pdf, png and the csv of exactly what is drawn.

The spec is {"figure": NAME}, where a name is "speed", "scaling" or "precision".
"""

import argparse

from collapse.artifacts import read_csv, write_csv, write_digests
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
    table = read_csv(args.table)
    provenance = args.spec.provenance(sources=[args.table])
    with paper_style():
        figure, figure_rows = FIGURES[name](table)
        save_all(figure, (args.pdf, args.png), provenance)
    write_csv(args.csv, figure_rows)
    write_digests((args.pdf, args.png, args.csv), provenance)
