"""Write the first page of the report."""

import argparse
from pathlib import Path

import pandas as pd

from collapse import lineage, studies
from collapse.artifacts import read_csv, replacing, verified, write_digests, write_sidecar
from collapse.overview_page import page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the stage's arguments."""
    parser.add_argument("--out", required=True, metavar="FILE", help="html to write")
    parser.add_argument(
        "--reference", nargs="*", default=[], metavar="FILE", help="claims of the reference runs"
    )
    parser.add_argument("--speed", metavar="FILE", help="picture of the benchmark")


def run(args: argparse.Namespace) -> None:
    """Write the page of the claims, the reference runs' verdicts beside them."""
    (path,) = args.spec.reads["claims"]
    claims = read_csv(path)
    # A study of the user's own is in no reference run.
    shipped = [read_csv(file)[["study", "claim", "verdict"]] for file in args.reference]
    reference = pd.concat(shipped).rename(columns={"verdict": "reference"}) if shipped else None
    if reference is not None:
        claims = claims.merge(reference, on=["study", "claim"], how="left")
    speed = verified(args.speed) if args.speed else None
    known = {name: studies.load(name) for name in args.spec.job["studies"]}
    with replacing(args.out) as temporary:
        text = page(claims, known, lineage.history(path), speed)
        Path(temporary).write_text(text, encoding="utf-8")
    write_sidecar(args.out)
    sources = [*args.reference, *([args.speed] if args.speed else [])]
    write_digests([args.out], args.spec.provenance(sources=sources))
