"""Say what the code declares of a name.

NAME is a key of the config, dotted or its end (head.depth, depth), a kind that a key may choose
(mlp, adam, lbfgs, a probe, a procedure), a data set (fashion_mnist), a metric or a prediction of a
closed form as tables and JSON have it (NC1, feature_norm, loss_etf), a figure (network_mlp) or a
study. Without NAME all names are listed.
"""

import argparse

from collapse import describing
from collapse.config import command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    # The name comes first: --config takes every word that follows it.
    parser.usage = "%(prog)s [NAME] [OPTION ...]"
    parser.add_argument("name", nargs="?", metavar="NAME", help="what to describe")
    command_line.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print what is declared of everything of this name, or all names."""
    atlas = command_line.atlas(args)
    if args.name is None:
        entries = describing.entries(atlas.studies)
        for category, plural in describing.CATEGORIES.items():
            names = sorted({entry.name for entry in entries if entry.category == category})
            print(f"{plural} ({len(names)})", *names, sep="\n  ")
        return
    if args.name.endswith("_unweighted"):
        print("About the unweighted mean of the class means in the place of mu_G:\n")
    print(*describing.find(atlas.studies, args.name), sep="\n\n")
