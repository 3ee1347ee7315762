"""Decide the claims of a study from its tables."""

import argparse
from importlib import import_module

import pandas as pd

from collapse.artifacts import write_csv, write_digests
from collapse.studies import read_experiments
from collapse.studies.verdicts import COLUMNS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--out", required=True, metavar="FILE", help="csv to write")


def run(args: argparse.Namespace) -> None:
    """Write one row per claim."""
    study, scale = args.spec.job["study"], args.spec.job["scale"]
    experiments = read_experiments(args.spec.reads["tables"], args.spec.job["experiments"], study)
    decisions = import_module(f"collapse.studies.{study}.claims").decide(experiments)
    rows = [{"study": study, "scale": scale, **decision} for decision in decisions]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    write_csv(args.out, frame)
    write_digests([args.out], args.spec.provenance())
    print(frame[["claim", "measured", "verdict"]].to_string(index=False))
