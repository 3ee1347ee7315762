"""Write the page of all that the code declares."""

import argparse
from pathlib import Path

from collapse import describing
from collapse.artifacts import replacing, write_digests, write_sidecar
from collapse.errors import InputError
from collapse.reference_page import page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--out", required=True, metavar="FILE", help="html to write")


def run(args: argparse.Namespace) -> None:
    """Write the page."""
    told = args.spec.job
    # The code digest, which has been looked at, does not cover what is shown here.
    if (found := describing.docstrings()) != told["docstrings"]:
        raise InputError(
            f"docstrings changed since this job was planned (planned {told['docstrings']}, found "
            f"{found}): start the workflow again"
        )
    with replacing(args.out) as temporary:
        text = page(describing.entries(told["studies"]))
        Path(temporary).write_text(text, encoding="utf-8")
    write_sidecar(args.out)
    write_digests([args.out], args.spec.provenance())
