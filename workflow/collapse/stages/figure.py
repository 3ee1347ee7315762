"""Draw one figure of a study as pdf, png and the csv of exactly what is drawn."""

import argparse
from importlib import import_module

from collapse.artifacts import write_csv
from collapse.plotting import paper_style, save_all
from collapse.studies import read_experiments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    for suffix in ("pdf", "png", "csv"):
        parser.add_argument(f"--{suffix}", required=True, metavar="FILE", help="file to write")


def run(args: argparse.Namespace) -> None:
    """Draw the figure."""
    study, name = args.spec.job["study"], args.spec.job["figure"]
    experiments = read_experiments(args.spec.reads["tables"], args.spec.job["experiments"], study)
    with paper_style():
        figure, figure_rows = import_module(f"collapse.studies.{study}.{name}").draw(experiments)
        save_all(figure, (args.pdf, args.png), args.spec.provenance())
    write_csv(args.csv, figure_rows)
