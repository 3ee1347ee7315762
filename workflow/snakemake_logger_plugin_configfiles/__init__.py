"""Say in one line what is wrong with a command line's config before Snakemake reads it.

Of a config file that is missing, no YAML or not in UTF-8, and of a setting that is none, Snakemake
prints a traceback, and no rule of a workflow has run by then. Of packages whose names begin as this
one's it imports each at its start: that is the only place before. It takes them for plugins; this
one logs nothing.
"""

import argparse
import sys
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase as LogHandler

from collapse.config.reading import read_yaml
from collapse.errors import InputError

__all__ = ["LogHandler"]


def _config(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the config files and the settings that Snakemake's command line names."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", default=[])
    parser.add_argument("--config", "-C", nargs="*", default=[])
    try:
        known, _ = parser.parse_known_args(arguments)
    # An option without a file, which Snakemake refuses itself.
    except argparse.ArgumentError:
        return [], []
    return known.configfile, known.config


def _check(arguments: list[str]) -> None:
    files, settings = _config(arguments)
    for file in map(Path, files):
        if file.is_fifo():
            raise InputError(f"{file}: a pipe, which can be read once only; name a file")
        # Snakemake wants something in it.
        if not read_yaml(file):
            raise InputError(f"{file}: should be a mapping, found nothing")
    for setting in settings:
        if "=" not in setting:
            raise InputError(
                f"--config: {setting}: should be KEY=VALUE (targets go before it, or behind --)"
            )


try:
    _check(sys.argv[1:])
except InputError as error:
    print(f"collapse: error: {error}", file=sys.stderr)
    sys.exit(2)
