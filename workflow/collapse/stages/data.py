"""Fetch a data set, verify it and store it as tensors; print one line per source tried.

The spec is {"name": NAME, "sources": [SOURCE, ...], "directory": DIRECTORY or null}, where
a source is "directory", "package", "debian" or "download".
"""

import argparse

from collapse.artifacts import write_tensors
from collapse.data.fetch import fetch
from collapse.errors import InputError
from collapse.provenance import record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument("--out", required=True, help="the safetensors file to write")


def run(args: argparse.Namespace) -> None:
    """Write the data set that ``args.spec`` asks for to ``args.out``."""
    spec = args.spec
    for key, kind in {"name": str, "sources": list, "directory": str | None}.items():
        if not isinstance(spec.get(key), kind):
            raise InputError(f"--spec: {key} is {spec.get(key)!r} (see `collapse data --help`)")
    tensors = fetch(spec["name"], spec["sources"], spec.get("directory"))
    write_tensors(args.out, tensors.arrays, record("data", spec), tensors.attributes)
