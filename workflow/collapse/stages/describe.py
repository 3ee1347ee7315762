"""Say what the code declares of a key of the config, a metric or a figure.

NAME is a key of the config, dotted or its end (head.depth, depth), a metric as tables and JSON
have it (NC1, NC2_W, feature_norm), or a figure (network_mlp). Without NAME all names are listed.
"""

import argparse

from collapse import describing
from collapse.config import command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="key, metric or figure")
    command_line.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print what is declared of everything of this name, or all names."""
    atlas = command_line.atlas(args)
    if args.name is None:
        entries = describing.entries(atlas.studies)
        for category in describing.CATEGORIES:
            names = sorted({entry.name for entry in entries if entry.category == category})
            print(f"{category}s ({len(names)})", *names, sep="\n  ")
        return
    if args.name.endswith("_unweighted"):
        print("About the unweighted mean of the class means in the place of mu_G:\n")
    print(*describing.find(atlas.studies, args.name), sep="\n\n")
