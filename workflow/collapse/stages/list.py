"""List studies, experiments, figures or claims."""

import argparse
from pathlib import Path

from collapse import config, studies
from collapse.artifacts import read_csv
from collapse.config import command_line
from collapse.errors import InputError
from collapse.grid import format_value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "what", nargs="?", default="studies", metavar="WHAT", help=f"one of {', '.join(_LISTS)}"
    )
    command_line.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print the list."""
    if args.what not in _LISTS:
        raise InputError(f"nothing to list called '{args.what}' (there are: {', '.join(_LISTS)})")
    _LISTS[args.what](command_line.atlas(args))


def _studies(atlas: config.Atlas) -> None:
    for name in atlas.studies:
        study = studies.load(name)
        print(f"{name}\n  {study.paper}\n  objective: {study.objective}")


def _experiments(atlas: config.Atlas) -> None:
    for study, experiments in atlas.studies.items():
        for name, experiment in experiments.items():
            varied = "  ".join(
                f"{path} = {', '.join(map(format_value, values))}"
                for path, values in experiment.grid.items()
            )
            runs = len(atlas.runs(study, name))
            how = f"{experiment.procedure}, {runs} runs at {atlas.scale} scale"
            print(f"{study} {name}  ({how})  {varied}")


def _figures(atlas: config.Atlas) -> None:
    for study in atlas.studies:
        for name, figure in studies.load(study).figures.items():
            print(f"{atlas.results}/figures/{study}/{name}.pdf\n  {figure.caption}")


def _claims(atlas: config.Atlas) -> None:
    path = Path(atlas.results) / "claims.csv"
    if not path.is_file():
        raise InputError(f"{path}: no such file: `snakemake` decides the claims")
    claims = read_csv(path)
    # Results may be older than the code that lists them.
    if "bound" not in claims:
        raise InputError(f"{path}: has no column bound, an older version made it: run `snakemake`")
    for _, claim in claims.iterrows():
        print(f"{claim.study} {claim.claim}: {claim.verdict.upper()} ({claim.scale} scale)")
        print(f"  {claim.statement} [{claim.source}]")
        print(f"  expected: {claim.expected} (tolerance {claim.tolerance:g}, set by {claim.bound})")
        print(f"  measured: {claim.measured} ({claim.seeds} seeds)")


_LISTS = {
    "studies": _studies,
    "experiments": _experiments,
    "figures": _figures,
    "claims": _claims,
}
