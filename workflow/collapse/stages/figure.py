"""Draw one figure of a study as pdf, png and the csv of exactly what is drawn, with its caption."""

import argparse
from collections.abc import Mapping
from importlib import import_module

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

from collapse.artifacts import replacing, write_csv, write_digests, write_sidecar
from collapse.plotting import paper_style, save_all
from collapse.studies import Results, load, read_experiments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    for suffix in ("pdf", "png", "csv", "rst"):
        parser.add_argument(f"--{suffix}", required=True, metavar="FILE", help="file to write")


def run(args: argparse.Namespace) -> None:
    """Draw the figure."""
    study, name = args.spec.job["study"], args.spec.job["figure"]
    experiments = read_experiments(args.spec.reads["tables"], args.spec.job["experiments"], study)
    module = import_module(f"collapse.studies.{study}.{name}")
    with paper_style():
        figure, figure_rows = module.draw(experiments)
        say_what_diverged(figure, experiments)
        write(args, figure, figure_rows, caption(study, name, module.findings(figure_rows)))


def write(args: argparse.Namespace, figure: Figure, figure_rows: pd.DataFrame, text: str) -> None:
    """Write a figure, what is drawn in it and its caption, with their digests."""
    provenance = args.spec.provenance()
    save_all(figure, (args.pdf, args.png), provenance)
    write_csv(args.csv, figure_rows)
    with replacing(args.rst) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    write_sidecar(args.rst)
    write_digests((args.pdf, args.png, args.csv, args.rst), provenance)


def caption(study: str, name: str, findings: str) -> str:
    """Return what a figure shows, what it found and the study's objective, as reStructuredText."""
    replication = load(study)
    shown = replication.figures[name].caption
    return f"{shown}\n\n{findings}\n\nObjective: {replication.objective}.\n"


def say_what_diverged(figure: Figure, experiments: Mapping[str, Results]) -> None:
    """Say below a figure how many runs diverged, where it says nothing of them itself."""
    lost = {name: len(found.values("diverged")) for name, found in experiments.items()}
    notes = [f"{name}: {runs} diverged" for name, runs in lost.items() if runs]
    said = any("diverged" in text.get_text() for text in figure.findobj(Text))
    if notes and not said:
        # A figure that is laid out by hand has room there, or has to do without.
        if layout := figure.get_layout_engine():
            layout.set(rect=(0, 0.04, 1, 0.96))
        figure.text(0.5, 0.01, "; ".join(notes), ha="center", fontsize=6, color="firebrick")
