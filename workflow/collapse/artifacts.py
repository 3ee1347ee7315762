"""Reading and writing of the files that the stages exchange.

Every artifact is written beside its place and renamed, and carries in its own metadata the
provenance that determines it, free attributes, and a digest of these and its content, which is
checked on reading. Files that can carry none (csv, pictures, pages) have provenance and digests in
``STEM.digest.json`` beside them. What does not determine a file (wall time, host, date, commit)
goes into a sidecar ``FILE.run.json`` that nothing hashes or compares.
"""

import datetime
import hashlib
import io
import json
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from collapse.errors import InputError, first_line

Provenance = Mapping[str, Any]

MARK = "scale.txt"
"""The file that says of a folder that it is one of results, and of which scale and seeds."""
_KEY = "collapse"
# Of all bytes of a parquet file, many of which its readers never look at; taken with zeros in its
# place.
_BYTES_KEY, _NO_DIGEST = b"collapse-bytes", b"0" * 64
_DIGESTS = ".digest.json"
_STARTED = time.time()
# The umask can only be read by setting it; once, before there are threads that might see zero.
_UMASK = os.umask(0)
os.umask(_UMASK)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed onto it when the block succeeds.

    Raises
    ------
    InputError
        If it cannot be written: the disk is full, or read-only.
    """
    path = Path(path)
    # One name for all: what a killed process left is overwritten by its successor.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        # Some writers make private files; what a shared cache holds must be readable.
        temporary.chmod(0o666 & ~_UMASK)
        os.replace(temporary, path)
    # The writer of safetensors has an error of its own.
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be written ({first_line(error)})") from error
    finally:
        # What cannot be removed could not be written either, which is said already.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_sidecar(path: str | Path) -> None:
    """Write ``PATH.run.json``: what is worth knowing of this run but does not determine `path`."""
    facts = {
        "wall_seconds": round(time.time() - _STARTED, 3),
        "host": socket.gethostname(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
    }
    with replacing(sidecar(path)) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")


def sidecar(path: str | Path) -> Path:
    """Return where it is noted how a file was made: ``FILE.run.json``."""
    return Path(f"{path}.run.json")


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


def parsed_json(text: str | bytes) -> Any:
    """Return the value that JSON spells; ValueError where it is none, or nested without end."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _metadata(content: str, provenance: Provenance, attributes: Mapping[str, Any] | None) -> dict:
    told = {"provenance": provenance, "attributes": attributes or {}}
    # One key only: safetensors writes several in random order, and bytes must be the same.
    return {_KEY: canonical_json({"digest": _digest(content, told), **told})}


def _digest(content: str, told: Mapping[str, Any]) -> str:
    """Return the digest of a file: of its content, by the digest of that, and what it says."""
    whole = [content, told["provenance"], told["attributes"]]
    return _sha256(canonical_json(whole).encode())


def _told(path: Path, text: str | bytes | None) -> dict[str, Any]:
    """Return what the metadata of a file of ours say: digest, provenance and attributes."""
    if text is None:
        raise InputError(f"{path}: without a digest: {_foreign(path)}")
    kinds = {"digest": str, "provenance": dict, "attributes": dict}
    try:
        told = parsed_json(text)
        whole = all(isinstance(told[key], kind) for key, kind in kinds.items())
    except (ValueError, TypeError, KeyError):
        whole = False
    if not whole:
        raise InputError(f"{path}: without a digest, or that is damaged: {_remedy(path)}")
    return told


def _check_file(path: Path) -> None:
    """Refuse what is no file, or one that this user may not read: it need not be damaged."""
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: no file{', but a folder' if path.is_dir() else ''}")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: this user may not read it")


def check_links(places: Iterable[str]) -> None:
    """Refuse files, and folders with files, that are links, into a cache say, that lead nowhere.

    Raises
    ------
    InputError
        Names the first, where it leads, and the cure.
    """
    lost: dict[str, list[str]] = {}
    for place in places:
        found = [place]
        for parent, folders, files in os.walk(place):
            found += [os.path.join(parent, name) for name in (*folders, *files)]
        if gone := sorted(
            each for each in found if os.path.islink(each) and not os.path.exists(each)
        ):
            lost[place] = gone
    if lost:
        first, *others = (each for gone in lost.values() for each in gone)
        more = f" (and {len(others)} more like it)" if others else ""
        raise InputError(
            f"{first}: a link to {os.readlink(first)}, where nothing is any more{more}: "
            f"`find {shlex.join(lost)} -xtype l -delete` clears the way to make it anew"
        )


def _remedy(path: Path) -> str:
    """Return what to do about a damaged file."""
    # What comes from a cache for several checkouts is a link into it, and would come again.
    original = f", and {path.resolve()} in the cache," if path.is_symlink() else ""
    return f"the file is damaged, delete it{original} and run again"


def _foreign(path: Path) -> str:
    """Return the same of a file without a digest, which need not be ours."""
    remedy = _remedy(path).split(", ", 1)[1]
    return f"not a file of the workflow, or damaged (one of its own: {remedy})"


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
            f"{path}: digest {found[:12]} found, its metadata says {told['digest'][:12]}: "
            f"{_remedy(path)}"
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
    _check_file(path)
    try:
        with safe_open(path, framework="numpy") as handle:
            text = (handle.metadata() or {}).get(_KEY)
            # A handle cannot be iterated.
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: truncated or not a safetensors file ({first_line(error)}): {_remedy(path)}"
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
    table = table.replace_schema_metadata(table.schema.metadata | metadata)
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_BYTES_KEY: _NO_DIGEST})
    content = buffer.getvalue()
    # The last: a value of the table may look like it.
    before, _, after = content.rpartition(_NO_DIGEST)
    with replacing(path) as temporary:
        temporary.write_bytes(before + _sha256(content).encode() + after)
    write_sidecar(path)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _whole(path: Path, content: bytes) -> pq.ParquetFile:
    """Return a parquet file of ours, after a look that each byte is as it was written."""
    file = pq.ParquetFile(pa.BufferReader(content))
    said = (file.metadata.metadata or {}).get(_BYTES_KEY)
    if said is None:
        raise InputError(f"{path}: without a digest: {_foreign(path)}")
    if len(said) != len(_NO_DIGEST):
        raise InputError(f"{path}: without a digest, or that is damaged: {_remedy(path)}")
    before, _, after = content.rpartition(said)
    digest = _sha256(before + _NO_DIGEST + after)
    if digest.encode() != said:
        raise InputError(
            f"{path}: digest {digest[:12]} of its bytes found, its metadata says "
            f"{said[:12].decode(errors='replace')}: {_remedy(path)}"
        )
    return file


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a parquet table written by `write_table`; its attributes are in ``frame.attrs``.

    Raises
    ------
    InputError
        If the file is missing, truncated, not parquet, or its content digest is wrong.
    """
    path = Path(path)
    _check_file(path)
    try:
        table = _whole(path, path.read_bytes()).read()
        frame = table.to_pandas()
        content = _frame_digest(frame)
        text = (table.schema.metadata or {}).get(_KEY.encode())
    # Damage reaches pandas' own metadata too, of which its readers expect anything but that.
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(
            f"{path}: truncated or not a parquet file ({first_line(error)}): {_remedy(path)}"
        ) from None
    frame.attrs = _attributes(path, content, text)
    return frame


def write_csv(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a frame as csv, numbers with all their digits."""
    with replacing(path) as temporary:
        # Not the platform's own line ends: the bytes are compared.
        frame.to_csv(temporary, index=False, lineterminator="\n")
    write_sidecar(path)


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a csv file of ours.

    Raises
    ------
    InputError
        As `verified`.
    """
    return pd.read_csv(verified(path))


def says_itself(path: str | Path) -> bool:
    """Return whether a file of this kind holds its own digest."""
    return Path(path).suffix in (".parquet", ".safetensors")


def digests_path(path: str | Path) -> Path:
    """Return where the digest of a file lies that can hold none: ``STEM.digest.json``."""
    return Path(path).with_suffix(_DIGESTS)


def holds_digests(path: str | Path) -> bool:
    """Return whether a file is one of digests, by its name."""
    return Path(path).name.endswith(_DIGESTS)


def write_digests(files: Sequence[str | Path], provenance: Provenance) -> None:
    """Write the digests of a job's files of one stem, and what determines them, beside them."""
    content = {Path(file).name: bytes_digest(file) for file in files}
    told = {"provenance": provenance, "attributes": {}}
    whole = {"digest": _digest(canonical_json(content), told), "files": content, **told}
    with replacing(digests_path(files[0])) as temporary:
        temporary.write_text(json.dumps(whole, indent=1, sort_keys=True, allow_nan=False) + "\n")


def verified(path: str | Path) -> Path:
    """Return the path of a file whose digest lies beside it, after a look that it is that file.

    Raises
    ------
    InputError
        If the file or its digest is missing, or the digest is another.
    """
    path = Path(path)
    found, digest = bytes_digest(path), stored_digest(path)
    if found != digest:
        raise InputError(
            f"{path}: digest {found[:12]} found, {digests_path(path).name} says {digest[:12]}: "
            f"{_remedy(path)}"
        )
    return path


def bytes_digest(path: str | Path) -> str:
    """Return the digest of a file's bytes.

    Raises
    ------
    InputError
        If there is no such file, or it cannot be read.
    """
    path = Path(path)
    _check_file(path)
    try:
        return _sha256(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def listed_files(path: str | Path) -> dict[str, str]:
    """Return the digests that a file of digests holds, by the names of the files beside it.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    return _digests(Path(path))["files"]


def _digests(path: Path) -> dict[str, Any]:
    """Return what a file of digests says, after a look that it is whole."""
    _check_file(path)
    try:
        text = path.read_text(encoding="utf-8")
        told = parsed_json(text)
        content = canonical_json({str(name): str(said) for name, said in told["files"].items()})
    except (ValueError, TypeError, LookupError, AttributeError):
        raise InputError(f"{path}: without digests, or they are damaged: {_remedy(path)}") from None
    _attributes(path, content, text)
    return told


def _stored(path: Path) -> dict[str, Any]:
    """Return what a file of ours says of itself, or the file of digests beside it."""
    _check_file(path)
    try:
        if path.suffix == ".parquet":
            return _told(path, (pq.read_schema(path).metadata or {}).get(_KEY.encode()))
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as handle:
                return _told(path, (handle.metadata() or {}).get(_KEY))
    except (pa.ArrowException, SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: truncated or damaged ({first_line(error)}): {_remedy(path)}"
        ) from None
    if holds_digests(path):
        return _digests(path)
    beside = digests_path(path)
    told = _digests(beside) if beside.is_file() else {"files": ()}
    if path.name not in told["files"]:
        raise InputError(f"{path}: without a digest in {beside.name} beside it: {_foreign(path)}")
    return told | {"digest": told["files"][path.name]}


def stored_digest(path: str | Path) -> str:
    """Return the digest of a file of ours: its own metadata's, or that which lies beside it.

    Raises
    ------
    InputError
        If the file or its digest is missing or damaged.
    """
    return _stored(Path(path))["digest"]


def stored_provenance(path: str | Path) -> dict[str, Any]:
    """Return what determines a file of ours, as its metadata or the digest beside it say.

    Raises
    ------
    InputError
        If the file or its digest is missing or damaged.
    """
    return _stored(Path(path))["provenance"]


def check(path: str | Path) -> None:
    """Compare a file of ours with its digest.

    Raises
    ------
    InputError
        If the file is missing or damaged, or has no digest.
    """
    readers = {".parquet": read_table, ".safetensors": read_tensors}
    read = readers.get(Path(path).suffix, verified)
    (listed_files if holds_digests(path) else read)(path)
