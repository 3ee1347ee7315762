"""Fetch or make a data set, verify it and store it as tensors; print where it came from.

The spec is {"name": NAME, "maker": MAKER, ...}; by maker, which is "fetch" where none is named,
  "fetch": {"sources": [SOURCE, ...], "directory": DIRECTORY or null}, where a source is
    "directory", "package", "debian" or "download";
  "demonstrations": {"seed": SEED}, of an expert, whose policy --source is where the task has one;
  "tables": {"targets": [COLUMN, ...], "inputs": [COLUMN, ...] or null, "test_share": SHARE} of the
    table --source; without it a regression of scikit-learn.
"""

import argparse
from importlib import import_module

from collapse.artifacts import write_tensors
from collapse.data.spec import required
from collapse.errors import InputError
from collapse.provenance import record

MAKERS = ("fetch", "demonstrations", "tables")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument(
        "--source", nargs="?", metavar="FILE", help="the policy or table it is made from"
    )
    parser.add_argument("--out", required=True, help="the safetensors file to write")


def run(args: argparse.Namespace) -> None:
    """Write the data set that ``args.spec`` asks for to ``args.out``."""
    required(args.spec, name=str)
    maker = args.spec.get("maker", "fetch")
    if maker not in MAKERS:
        raise InputError(f"--spec: maker is {maker!r}, allowed are {', '.join(MAKERS)}")
    # Its code is part of what determines the data, that of the other makers is not.
    made = import_module(f"collapse.data.{maker}").from_spec(args.spec, args.source)
    provenance = record("data", args.spec, [args.source] if args.source else [])
    write_tensors(args.out, made.arrays, provenance, made.attributes)
