"""Say as JSON what determines a file and everything that it was made from.

Of the file, and under "upstream" of each file behind it back to the data set: digest, stage, code,
config (its digest, and its values where the job's spec is still beside its log), inputs, versions
of packages and Python, device and seed; and wall time, host, date and commit, null where they are
not known.
"""

import argparse
import json

from collapse import lineage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="file of the results")


def run(args: argparse.Namespace) -> None:
    """Print what is known of the file."""
    print(json.dumps(lineage.history(args.file), indent=2))
