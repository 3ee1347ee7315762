"""Reading and writing of the files that the stages exchange.

Every artifact is written beside its place and renamed, and carries in its own metadata a
digest of its content, which is checked on reading, the provenance that determines it and
free attributes. What does not determine it (wall time, host, date, commit) goes into a sidecar
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
    command = ["git", "rev-parse", "HEAD"]
    # Without git, or outside a checkout, there is no commit to note: no reason to fail.
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return process.stdout.strip() or None


def canonical_json(value: Any) -> str:
    """Return the one JSON spelling of `value` that digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _metadata(digest: str, provenance: Provenance, attributes: Mapping[str, Any] | None) -> dict:
    # One key only: safetensors writes several in random order, and bytes must be the same.
    content = {"digest": digest, "provenance": provenance, "attributes": attributes or {}}
    return {_KEY: canonical_json(content)}


def _attributes(path: Path, digest: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Check the content `digest` against the metadata; return the attributes."""
    content = json.loads(metadata.get(_KEY, "{}"))
    if content.get("digest", digest) != digest:
        raise InputError(
            f"{path}: content digest is {digest[:12]}, its metadata says "
            f"{content['digest'][:12]}: the file is damaged, delete it and run again"
        )
    return content.get("attributes", {})


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
            metadata = handle.metadata() or {}
            # A handle cannot be iterated.
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: truncated or not a safetensors file ({first_line(error)})"
        ) from None
    return tensors, _attributes(path, _tensor_digest(tensors), metadata)


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
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: truncated or not a parquet file ({first_line(error)})") from None
    metadata = {
        key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
    }
    frame = table.to_pandas()
    frame.attrs = _attributes(path, _frame_digest(frame), metadata)
    return frame


def write_csv(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a frame as csv, numbers with all their digits."""
    with replacing(path) as temporary:
        # Not the platform's own line ends: the bytes are compared.
        frame.to_csv(temporary, index=False, lineterminator="\n")
    write_sidecar(path)


def _stored(path: Path) -> dict[str, Any]:
    """Return what a file of ours says of itself; nothing of another file."""
    text = None
    if path.suffix == ".parquet":
        text = (pq.read_schema(path).metadata or {}).get(_KEY.encode())
    if path.suffix == ".safetensors":
        with safe_open(path, framework="numpy") as handle:
            text = (handle.metadata() or {}).get(_KEY)
    return json.loads(text) if text else {}


def stored_digest(path: str | Path) -> str:
    """Return the digest of a file: its own metadata's where it has one, else of its bytes."""
    path = Path(path)
    return _stored(path).get("digest") or hashlib.sha256(path.read_bytes()).hexdigest()


def stored_provenance(path: str | Path) -> dict[str, Any]:
    """Return what determines a file, as its metadata say; nothing where it has none.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    try:
        return _stored(Path(path)).get("provenance", {})
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (pa.ArrowException, SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: truncated or damaged ({first_line(error)})") from None


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, for one-line errors."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
