"""The config that a command is given: the same options as Snakemake's, read the same way."""

import argparse
from pathlib import Path

from snakemake.cli import parse_config
from snakemake.utils import update_config

from collapse import config
from collapse.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which config: the run's own."""
    parser.add_argument("--scale", help="scale to read the config at (the config's own)")
    parser.add_argument(
        "--results", metavar="FOLDER", help="folder of the results (the config's own)"
    )
    parser.add_argument(
        "--configfile", nargs="+", action="extend", default=[], metavar="FILE",
        help="your config, as for snakemake",
    )  # fmt: skip
    parser.add_argument(
        "--config", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="further settings, as for snakemake",
    )  # fmt: skip


def atlas(args: argparse.Namespace) -> config.Atlas:
    """Return the config that the options say, over the project's own in this folder.

    Raises
    ------
    InputError
        If this is not the workflow's folder, or the config is wrong.
    """
    if not Path("config/config.yaml").is_file():
        raise InputError("config/config.yaml: no such file: run this in the workflow's folder")
    user: dict = {}
    for file in args.configfile:
        update_config(user, config.read_yaml(Path(file)))
    config.check_settings(args.config)
    try:
        update_config(user, parse_config(args.config))
    except ValueError as error:
        raise InputError(f"--config: {error}") from None
    given = {"scale": args.scale, "results": args.results}
    user |= {key: value for key, value in given.items() if value}
    return config.load("config", user, ", ".join(args.configfile) or "--config")
