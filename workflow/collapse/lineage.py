"""What the files under a folder of results were made from, back to the data set."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from collapse.artifacts import (
    MARK,
    check,
    digests_path,
    holds_digests,
    parsed_json,
    says_itself,
    sidecar,
    stored_digest,
    stored_provenance,
)
from collapse.errors import InputError
from collapse.specs import json_digest

KINDS = (".parquet", ".safetensors", ".csv", ".png", ".pdf", ".rst", ".html", ".gif", ".ipynb")
"""Suffixes of the files that hold a digest, or have one beside them."""
_OF_A_RUN = ("wall_seconds", "host", "date", "commit")


def files_under(folder: str | Path) -> list[Path]:
    """Return the files of a folder that have a digest, and the files of digests.

    Links count as files, wherever they lead. What is hidden is left out.

    Raises
    ------
    InputError
        If a folder in it cannot be read.
    """
    found = []
    # Also behind links, as to a larger disk; a link to a folder around it would have no end.
    seen = set()
    for top, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        seen.add(os.path.realpath(top))
        folders[:] = [
            name for name in folders
            if name[0] != "." and os.path.realpath(os.path.join(top, name)) not in seen
        ]  # fmt: skip
        found += [Path(top, name) for name in names if name[0] != "."]
    return sorted(path for path in found if path.suffix in KINDS or holds_digests(path))


def _refuse(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename}: {error.strerror}")


def inputs(path: str | Path) -> Iterator[tuple[str, str, Path | None]]:
    """Yield the inputs of a file: name, digest, and where it lies, None if it is not there.

    Names are relative to the folder of the results, one of those that the file lies in.

    Raises
    ------
    InputError
        If the file is missing or damaged, or has no digest.
    """
    try:
        inputs = stored_provenance(path).get("inputs", ())
        pairs = [(str(name), str(digest)) for name, digest in inputs]
    except (TypeError, ValueError):
        raise InputError(f"{path}: its inputs are no pairs of name and digest") from None
    for name, digest in pairs:
        places = (folder / name for folder in _roots(path))
        yield name, digest, next((place for place in places if place.is_file()), None)


def _roots(path: str | Path) -> list[Path]:
    """Return the folders that may be the results which a file lies in, the nearest first.

    Up to the first that says it is: one around it may be another's, with files of the same names.
    """
    folders = list(Path(path).absolute().parents)
    ends = (place for place, folder in enumerate(folders, 1) if (folder / MARK).is_file())
    return folders[: next(ends, None)]


def root(path: str | Path) -> Path:
    """Return the folder of the results that a file lies in."""
    return _roots(path)[-1]


def check_inputs(path: str | Path) -> None:
    """Refuse a file whose inputs are no longer those that it was made from.

    Raises
    ------
    InputError
        Names the first of them.
    """
    others = [
        name
        for name, digest, place in inputs(path)
        if place is not None and _ours(place) and stored_digest(place) != digest
    ]
    if others:
        raise InputError(f"{path}: made from another {some(others)} than there is now: run again")


def some(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def missing_inputs(path: str | Path) -> list[str]:
    """Return the names of inputs that are no longer there."""
    return [name for name, _, place in inputs(path) if place is None]


def _ours(path: Path) -> bool:
    return says_itself(path) or digests_path(path).is_file()


def history(path: str | Path) -> dict[str, Any]:
    """Return what determines a file and all that it was made from, by name.

    Raises
    ------
    InputError
        If the file is missing or damaged, or has no digest.
    """
    check(path)
    upstream, pending = {}, [Path(path)]
    whole = _facts(Path(path))
    while pending:
        for name, _, place in inputs(pending.pop()):
            if name not in upstream:
                upstream[name] = _facts(place) if place and _ours(place) else None
                pending += [place] if upstream[name] else []
    return {"file": str(path), **whole, "upstream": upstream}


def _facts(path: Path) -> dict[str, Any]:
    """Return what is known of a file: what determines it, and how it was made."""
    provenance = dict(stored_provenance(path))
    known = provenance.get("stage"), provenance.get("code"), provenance.get("config")
    return {
        "digest": stored_digest(path),
        **provenance,
        "config": {"digest": known[2], "values": _config(path, *known)},
        **_sidecar(path),
    }


def _sidecar(path: Path) -> dict[str, Any]:
    """Return what is noted of the run that made a file, and of what it may say nothing else."""
    try:
        noted = dict(parsed_json(sidecar(path).read_bytes()))
    # It is not declared: a cache for several checkouts leaves it behind.
    except (OSError, ValueError, TypeError):
        noted = {}
    return {key: noted.get(key) for key in _OF_A_RUN}


def _config(path: Path, *known: Any) -> Any:
    """Return the part of the config that a file's job was told, None where its spec is gone."""
    logs = next((p / "logs" for p in path.absolute().parents if (p / "logs").is_dir()), None)
    return _specs(logs).get(known) if logs else None


@cache
def _specs(logs: Path) -> dict[tuple[Any, ...], Any]:
    """Return what jobs were told, by stage, code and the digest of it, as the driver wrote it."""
    told = {}
    for path in sorted(logs.rglob("*.log.json")):
        try:
            spec = parsed_json(path.read_bytes())
            told[spec["stage"], spec["code"], json_digest(spec["job"])] = spec["job"]
        except (OSError, ValueError, TypeError, LookupError):
            # A log is nobody's input: one that is damaged is one less.
            continue
    return told
