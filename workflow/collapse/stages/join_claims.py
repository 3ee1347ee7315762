"""Join the claims of the studies into one table, and show them as a page."""

import argparse
import csv
from pathlib import Path

import pandas as pd

from collapse.artifacts import replacing, verified, write_csv, write_digests
from collapse.claims_page import page
from collapse.errors import InputError, first_line
from collapse.studies.verdicts import COLUMNS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--out", required=True, metavar="FILE", help="csv to write")
    parser.add_argument("--page", required=True, metavar="FILE", help="html to write")
    parser.add_argument(
        "--reference", nargs="*", default=[], metavar="FILE", help="claims of the reference runs"
    )


def run(args: argparse.Namespace) -> None:
    """Write the rows of the studies one below the other, in the order given."""
    claims = beside_reference(args.spec.reads["claims"], args.reference)
    write_csv(args.out, claims[COLUMNS])
    with replacing(args.page) as temporary:
        Path(temporary).write_text(page(claims), encoding="utf-8")
    write_digests([args.out, args.page], args.spec.provenance(sources=args.reference))


def beside_reference(paths: list[str], reference: list[str]) -> pd.DataFrame:
    """Return the claims of files as text, with the verdict of other files as ``reference``.

    It is empty where those decide none.

    Raises
    ------
    InputError
        If a file is damaged, cannot be read, or its columns are not those of claims.
    """
    keys = ["study", "claim"]
    shipped = _joined(reference).rename(columns={"verdict": "reference"})
    return _joined(paths).merge(shipped[[*keys, "reference"]], on=keys, how="left").fillna("")


def _joined(paths: list[str]) -> pd.DataFrame:
    return pd.DataFrame([row for path in paths for row in _rows(path)], columns=COLUMNS)


def _rows(path: str) -> list[list[str]]:
    """Return the claims of a study, every value as the text that the file spells.

    Pandas would read numbers, and might write them back with other digits.

    Raises
    ------
    InputError
        If the file is damaged, cannot be read, or its columns are not those of claims.
    """
    try:
        with verified(path).open(encoding="utf-8", newline="") as file:
            # An empty file has no header: [] is none of the columns below.
            header, *rows = list(csv.reader(file, strict=True)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as csv ({first_line(error)})") from None
    if header != COLUMNS:
        raise InputError(f"{path}: columns are {header}, should be {', '.join(COLUMNS)}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(COLUMNS):
            raise InputError(f"{path}: row {number} has {len(row)} of {len(COLUMNS)} columns")
    return rows
