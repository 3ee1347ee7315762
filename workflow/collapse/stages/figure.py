"""Draw one figure of a study as pdf, png and the csv of exactly what is drawn."""

import argparse
from importlib import import_module
from pathlib import Path

from collapse import studies
from collapse.artifacts import read_table, replacing, write_csv, write_sidecar
from collapse.plotting import paper_style, save
from collapse.provenance import record
from collapse.studies import Experiment, along_axes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("inputs", nargs="+", metavar="FILE", help="tables of the experiments")
    for suffix in ("pdf", "png", "csv"):
        parser.add_argument(f"--{suffix}", required=True, metavar="FILE", help="file to write")


def read_experiments(
    paths: list[str], described: dict[str, dict], study: str
) -> dict[str, Experiment]:
    """Read the tables of a study's experiments from ``.../STUDY/EXPERIMENT/TABLE.parquet``."""
    files = {Path(path).parts[-3:]: path for path in paths}
    axes = studies.load(study).axes
    experiments = {}
    for name, config in described.items():
        tables = [
            read_table(files[study, name, f"{table}.parquet"])
            for table in ("metrics", "predictions")
        ]
        experiments[name] = along_axes(Experiment(config, *tables), axes)
    return experiments


def run(args: argparse.Namespace) -> None:
    """Draw the figure."""
    study, name = args.spec["study"], args.spec["figure"]
    experiments = read_experiments(args.inputs, args.spec["experiments"], study)
    with paper_style():
        figure, drawn = import_module(f"collapse.studies.{study}.{name}").draw(experiments)
        provenance = record("figure", args.spec, args.inputs)
        for path in (args.pdf, args.png):
            with replacing(path) as temporary:
                save(figure, temporary, Path(path).suffix, provenance)
            write_sidecar(path)
    write_csv(args.csv, drawn)
