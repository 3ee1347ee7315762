"""Draw the metrics of one experiment as pdf, png and the csv of what is drawn, with its caption."""

import argparse
from pathlib import Path

from collapse.plotting import paper_style
from collapse.stages.figure import add_arguments, say_what_diverged, write
from collapse.studies import load, read_results
from collapse.studies.picture import caption, describe, draw
from collapse.studies.picture_panels import picture

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> None:
    """Draw the picture."""
    told = args.spec.job
    study, name = told["study"], told["experiment"]
    tables = {Path(path).stem: path for path in args.spec.reads["tables"]}
    experiment = read_results(tables, told["config"])
    drawn = picture(experiment, told["clock"])
    # In a caption the underscores of a name would mean something.
    heading = describe(f"``{study}``", f"``{name}``", told["config"])
    text = caption(drawn, experiment, heading, f"{study}/{name}/metrics.parquet")
    with paper_style():
        figure = draw(drawn, describe(study, name, told["config"]))
        say_what_diverged(figure, {name: experiment})
        write(args, figure, drawn.rows, f"{text}\n\nObjective: {load(study).objective}.\n")
