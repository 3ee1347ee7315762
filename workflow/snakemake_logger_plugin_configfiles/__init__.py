"""Say in one line what is wrong with a command line's config before Snakemake reads it.

Of a config file that is missing, no YAML or not in UTF-8, and of a setting that is none, Snakemake
prints a traceback, and no rule of a workflow has run by then. Of packages whose names begin as this
one's it imports each at its start: that is the only place before. It takes them for plugins; this
one logs nothing.
"""

import argparse
import re
import sys
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase as LogHandler

from collapse.config.reading import check_settings, read_yaml
from collapse.errors import InputError

__all__ = ["LogHandler"]


_KEY = re.compile(r"[a-zA-Z_][\w-]*\w")
"""What Snakemake allows as the key of a setting."""


def _config(arguments: list[str]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the config files and the settings that each option of a command line names."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="append", default=[])
    parser.add_argument("--config", "-C", nargs="*", action="append", default=[])
    parser.add_argument("--help", "-h", "--version", "-v", action="store_true", dest="told")
    try:
        known, _ = parser.parse_known_args(arguments)
    # An option without a file, which Snakemake refuses itself.
    except argparse.ArgumentError:
        return [], []
    return ([], []) if known.told else (known.configfile, known.config)


def _check(arguments: list[str]) -> None:
    files, settings = _config(arguments)
    for name, given in (("--configfile", files), ("--config", settings)):
        if len(given) > 1:
            raise InputError(f"{name}: given twice, Snakemake reads the last; give all in one")
    for file in (Path(file) for given in files for file in given):
        if file.is_fifo():
            raise InputError(f"{file}: a pipe, which can be read once only; name a file")
        # Snakemake wants something in it.
        if not read_yaml(file):
            raise InputError(f"{file}: should be a mapping, found nothing")
    for setting in (setting for given in settings for setting in given):
        key, separator, _ = setting.partition("=")
        if not separator:
            raise InputError(
                f"--config: {setting}: should be KEY=VALUE (targets go before it, or behind --)"
            )
        if not _KEY.fullmatch(key):
            raise InputError(f"--config: {setting}: a key is a word of two letters or more")
    check_settings(setting for given in settings for setting in given)


try:
    _check(sys.argv[1:])
except InputError as error:
    print(f"collapse: error: {error}", file=sys.stderr)
    sys.exit(2)
