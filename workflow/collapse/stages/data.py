"""Fetch or make a data set, verify it and store it as tensors; print where it came from.

The job is told {"name": NAME, "kind": KIND, ...}; by kind, the module that makes it,
  "files": {"sources": [SOURCE, ...], "directory": DIRECTORY or null}, where a source is
    "directory", "package", "debian" or "download";
  "demonstrations": {"seed": SEED, "action_noise": STANDARD_DEVIATION}, of an expert, whose policy
    --source is where the task has one;
  "generated": nothing more;
  "table": {"targets": [COLUMN, ...], "inputs": [COLUMN, ...] or null, "test_share": SHARE} of the
    table --source.
"""

import argparse
import pkgutil
from importlib import import_module

from collapse.artifacts import write_tensors
from collapse.data import makers
from collapse.data.spec import required
from collapse.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument(
        "--source", nargs="?", metavar="FILE", help="the policy or table it is made from"
    )
    parser.add_argument("--out", required=True, help="the safetensors file to write")


def run(args: argparse.Namespace) -> None:
    """Write the data set that ``args.spec`` asks for to ``args.out``."""
    _, kind = required(args.spec.job, name=str, kind=str)
    kinds = [module.name for module in pkgutil.iter_modules(makers.__path__)]
    if kind not in kinds:
        raise InputError(f"--spec: kind is {kind!r}, allowed are {', '.join(kinds)}")
    # Loaded by name: its code is part of what determines the data, that of other makers is not.
    tensors = import_module(f"{makers.__name__}.{kind}").make(args.spec.job, args.source)
    provenance = args.spec.provenance(sources=[args.source] if args.source else [])
    write_tensors(args.out, tensors.arrays, provenance, tensors.attributes)
