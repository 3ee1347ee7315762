"""Compare every file with its digest, and with what it was made from; name those that differ.

Checked are tables, tensors, csv files, pictures, pages and notebooks. One that is damaged or has no
digest differs, and so does one whose inputs are no longer those that it was made from. The exit
code is 1 if any does. Inputs that are no longer there, which may be on purpose, are named.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from collapse import lineage
from collapse.artifacts import check, holds_digests, listed_files, says_itself
from collapse.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "path", nargs="?", default="results", metavar="PATH", help="file or folder (results)"
    )


def run(args: argparse.Namespace) -> int:
    """Print what differs, and a count; return the exit code."""
    path = Path(args.path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    files = lineage.files_under(path) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: holds no file with a digest")
    # Several files may have their digest in one that is damaged.
    found, gone = set(), set()
    for file in tqdm(files, unit=" files", disable=not sys.stderr.isatty(), leave=False):
        for reason in _differs(file):
            if reason not in found:
                print(reason)
            found.add(reason)
        gone.update(_gone(file))
    if gone:
        print(f"no longer there, though files were made from them: {lineage.some(sorted(gone))}")
    count = len(found)
    print(f"{len(files)} files, {count or 'no'} difference{'' if count == 1 else 's'}")
    return int(count > 0)


def _differs(path: Path) -> Iterator[str]:
    """Yield in what a file differs from what it says."""
    try:
        check(path)
        if holds_digests(path):
            missing = (path.with_name(name) for name in listed_files(path))
            yield from (f"{file}: no such file" for file in missing if not file.is_file())
        # Of files that hold no digest it is said once, of those that lie beside them.
        if holds_digests(path) or says_itself(path):
            lineage.check_inputs(path)
    except InputError as error:
        yield str(error)


def _gone(path: Path) -> list[str]:
    """Return what is no longer there of that which a file was made from."""
    try:
        return [os.path.relpath(lineage.root(path) / name) for name in lineage.missing_inputs(path)]
    except InputError:
        # Which is said of the file itself.
        return []
