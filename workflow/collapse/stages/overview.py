"""Write the first page of the report."""

import argparse
from pathlib import Path

from collapse import lineage, studies
from collapse.artifacts import replacing, verified, write_digests, write_sidecar
from collapse.overview_page import page
from collapse.stages.join_claims import beside_reference


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
    claims = beside_reference([path], args.reference)
    speed = verified(args.speed) if args.speed else None
    known = {name: studies.load(name) for name in args.spec.job["studies"]}
    with replacing(args.out) as temporary:
        text = page(claims, known, lineage.history(path), speed)
        Path(temporary).write_text(text, encoding="utf-8")
    write_sidecar(args.out)
    sources = [*args.reference, *([args.speed] if args.speed else [])]
    write_digests([args.out], args.spec.provenance(sources=sources))
