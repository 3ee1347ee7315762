"""Reading and writing of the files that the stages exchange.

Every artifact is written beside its place and renamed, and carries in its own metadata the
provenance that determines it, free attributes, and a digest of these and its content, which is
checked on reading. What does not determine it (wall time, host, date, commit) goes into a sidecar
``FILE.run.json`` that nothing hashes or compares.
"""

import datetime
import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from collapse.errors import InputError

Provenance = Mapping[str, Any]

_KEY = "collapse"
_REMEDY = "the file is damaged, delete it and run again"
_STARTED = time.time()
# The umask can only be read by setting it; once, before there are threads that might see zero.
_UMASK = os.umask(0)
os.umask(_UMASK)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed onto it when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # One name for all: what a killed process left is overwritten by its successor.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        # Some writers make private files; what a shared cache holds must be readable.
        temporary.chmod(0o666 & ~_UMASK)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_sidecar(path: str | Path) -> None:
    """Write ``PATH.run.json``: what is worth knowing of this run but does not determine `path`."""
    path = Path(path)
    facts = {
        "wall_seconds": round(time.time() - _STARTED, 3),
        "host": socket.gethostname(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
    }
    with replacing(path.with_name(path.name + ".run.json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")


@cache
def _commit() -> str | None:
    """Return the commit of this project's repository, None outside one."""
    home = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(home), "rev-parse", "--show-toplevel", "HEAD"]
    # Without git there is no commit to note: no reason to fail.
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    top, *commit = process.stdout.split("\n")
    # An archive of it may lie in a repository of something else.
    return commit[0] if process.returncode == 0 and Path(top) == home else None


def canonical_json(value: Any) -> str:
    """Return the one JSON spelling of `value` that digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _metadata(content: str, provenance: Provenance, attributes: Mapping[str, Any] | None) -> dict:
    told = {"provenance": provenance, "attributes": attributes or {}}
    # One key only: safetensors writes several in random order, and bytes must be the same.
    return {_KEY: canonical_json({"digest": _digest(content, told), **told})}


def _digest(content: str, told: Mapping[str, Any]) -> str:
    """Return the digest of a file: of its content, by the digest of that, and what it says."""
    whole = [content, told["provenance"], told["attributes"]]
    return hashlib.sha256(canonical_json(whole).encode()).hexdigest()


def _told(path: Path, text: str | bytes | None) -> dict[str, Any]:
    """Return what the metadata of a file of ours say: digest, provenance and attributes."""
    kinds = {"digest": str, "provenance": dict, "attributes": dict}
    try:
        told = json.loads(text or "null")
        whole = all(isinstance(told[key], kind) for key, kind in kinds.items())
    except (ValueError, TypeError, KeyError):
        whole = False
    if not whole:
        raise InputError(f"{path}: without a digest, or that is damaged: {_REMEDY}")
    return told


def _attributes(path: Path, content: str, text: str | bytes | None) -> dict[str, Any]:
    """Check content, by its digest, and metadata; return the attributes."""
    told = _told(path, text)
    try:
        found = _digest(content, told)
    except ValueError:
        # JSON of Python's may hold a NaN; ours never does.
        found = "none"
    if found != told["digest"]:
        raise InputError(
            f"{path}: digest {found[:12]} found, its metadata says {told['digest'][:12]}: {_REMEDY}"
        )
    return told["attributes"]


def _tensor_digest(tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        # Number format and shape too: the same bytes may spell other arrays.
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def write_tensors(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    provenance: Provenance,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write named arrays as safetensors, with `attributes` (JSON values) in the metadata."""
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    with replacing(path) as temporary:
        save_file(arrays, temporary, _metadata(_tensor_digest(arrays), provenance, attributes))
    write_sidecar(path)


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a safetensors file; return its arrays and its attributes.

    Raises
    ------
    InputError
        If the file is missing, truncated, not safetensors, or its content digest is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as handle:
            text = (handle.metadata() or {}).get(_KEY)
            # A handle cannot be iterated.
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: truncated or not a safetensors file ({first_line(error)})"
        ) from None
    return tensors, _attributes(path, _tensor_digest(tensors), text)


def _frame_digest(frame: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    for name in frame.columns:
        column = frame[name].to_numpy()
        # Text has several types in pandas: hashed by its values, not by their memory.
        numeric = column.dtype.kind in "biuf"
        digest.update(f"{name}|{column.dtype.str if numeric else 'text'}|{len(column)}|".encode())
        if numeric:
            digest.update(np.ascontiguousarray(column).view(np.uint8).data)
        else:
            digest.update("\0".join(str(value) for value in column).encode())
    return digest.hexdigest()


def write_table(
    path: str | Path,
    frame: pd.DataFrame,
    provenance: Provenance,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write a frame (its index is dropped) as parquet."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    # Of the frame that reading will give back, whose types may differ from those of `frame`.
    metadata = _metadata(_frame_digest(table.to_pandas()), provenance, attributes)
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(table.schema.metadata | metadata), temporary)
    write_sidecar(path)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a parquet table written by `write_table`; its attributes are in ``frame.attrs``.

    Raises
    ------
    InputError
        If the file is missing, truncated, not parquet, or its content digest is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        table = pq.read_table(path)
        frame = table.to_pandas()
        content = _frame_digest(frame)
        text = (table.schema.metadata or {}).get(_KEY.encode())
    # Damage reaches pandas' own metadata too, of which its readers expect anything but that.
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: truncated or not a parquet file ({first_line(error)})") from None
    frame.attrs = _attributes(path, content, text)
    return frame


def write_csv(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a frame as csv, numbers with all their digits."""
    with replacing(path) as temporary:
        # Not the platform's own line ends: the bytes are compared.
        frame.to_csv(temporary, index=False, lineterminator="\n")
    write_sidecar(path)


def _stored(path: Path) -> dict[str, Any] | None:
    """Return what a file of ours says of itself; None of a kind of file that cannot."""
    try:
        if path.suffix == ".parquet":
            return _told(path, (pq.read_schema(path).metadata or {}).get(_KEY.encode()))
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as handle:
                return _told(path, (handle.metadata() or {}).get(_KEY))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (pa.ArrowException, SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: truncated or damaged ({first_line(error)})") from None
    return None


def stored_digest(path: str | Path) -> str:
    """Return the digest of a file: its own metadata's where it has some, else of its bytes.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    path = Path(path)
    stored = _stored(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if stored is None else stored["digest"]


def stored_provenance(path: str | Path) -> dict[str, Any]:
    """Return what determines a file, as its metadata say; nothing of a kind that has none.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    stored = _stored(Path(path))
    return {} if stored is None else stored["provenance"]


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, for one-line errors."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
