"""Fetch or make a data set, verify it and store it as tensors; print where it came from.

The spec is one of
  {"name": NAME, "sources": [SOURCE, ...], "directory": DIRECTORY or null}, where a source is
    "directory", "package", "debian" or "download";
  {"name": TASK, "seed": SEED}: demonstrations of an expert, of the policy --source where the task
    has one;
  {"name": NAME, "targets": [COLUMN, ...], "inputs": [COLUMN, ...] or null, "test_share": SHARE}:
    the table --source.
"""

import argparse
from typing import Any

from collapse.artifacts import write_tensors
from collapse.data.registry import PACKAGE_TABLES
from collapse.data.tasks import TASKS
from collapse.errors import InputError
from collapse.provenance import record

_TABLE = {"targets": list, "inputs": list | None, "test_share": float | int}
_FETCHED = {"sources": list, "directory": str | None}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage's options."""
    parser.add_argument(
        "--source", nargs="?", metavar="FILE", help="the policy or table it is made from"
    )
    parser.add_argument("--out", required=True, help="the safetensors file to write")


def run(args: argparse.Namespace) -> None:
    """Write the data set that ``args.spec`` asks for to ``args.out``."""
    tensors = _made(args.spec, args.source)
    inputs = [args.source] if args.source and args.spec["name"] in TASKS else []
    provenance = record("data", args.spec, inputs)
    write_tensors(args.out, tensors.arrays, provenance, tensors.attributes)


def _made(spec: dict[str, Any], source: str | None) -> Any:
    """Return the tensors; only what makes them is imported."""
    _check(spec, {"name": str})
    name = spec["name"]
    if name in TASKS:
        from collapse.data import demonstrations

        _check(spec, {"seed": int})
        return demonstrations.make(name, source, spec["seed"])
    if source is not None:
        from collapse.data import tables

        _check(spec, _TABLE)
        columns = spec["targets"], spec["inputs"]
        return tables.from_file(name, source, *columns, spec["test_share"])
    if name in PACKAGE_TABLES:
        from collapse.data import tables

        return tables.from_package(name)
    from collapse.data.fetch import fetch

    _check(spec, _FETCHED)
    return fetch(name, spec["sources"], spec["directory"])


def _check(spec: dict[str, Any], keys: dict[str, Any]) -> None:
    for key, kind in keys.items():
        if not isinstance(spec.get(key), kind):
            raise InputError(f"--spec: {key} is {spec.get(key)!r} (see `collapse data --help`)")
