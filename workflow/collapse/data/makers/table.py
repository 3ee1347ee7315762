"""Regressions in tables of the user's."""

import difflib
import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse.data.regressions import Array, check_targets, held_out, split
from collapse.data.spec import required
from collapse.data.tensors import Tensors
from collapse.errors import InputError, first_line

# Variances of larger numbers leave float64.
LARGEST = 1e140


def make(spec: Mapping[str, Any], path: str | None) -> Tensors:
    """Return the table that the data job is told to read; see `from_file`."""
    name, *settings = required(
        spec, name=str, targets=list, inputs=list | None, test_share=float | int
    )
    if path is None:
        raise InputError(f"{name}: needs the file of the table (--source)")
    return from_file(name, path, *settings)


def from_file(
    name: str,
    path: str,
    targets: Sequence[str],
    inputs: Sequence[str] | None,
    test_share: float,
) -> Tensors:
    """Return the regression in a user's table.

    The file is csv or parquet. `targets` and `inputs` name the columns to predict, and to predict
    from, None for all others; `test_share` of the rows is kept for testing, see `held_out`.

    Raises
    ------
    InputError
        If the file cannot be read, a column is not there, not a number or named twice, or has no
        name where all others are inputs, a value is missing or infinite, a target does not vary, or
        fewer than two rows are left for training.
    """
    frame = _read(path)
    input_names = list(inputs) if inputs else _others(path, frame, targets)
    _check_columns(path, frame, list(targets), input_names)
    test = held_out(len(frame), test_share)
    if (~test).sum() < 2:
        raise InputError(f"{path}: {(~test).sum()} rows for training, allowed are 2 or more")
    if test_share and not test.any():
        raise InputError(
            f"{path}: test_share {test_share:g} keeps none of {len(frame)} rows for testing, "
            f"allowed are 0, or {1 / len(frame):.2g} and more"
        )
    arrays = split(_numbers(path, frame, input_names), _numbers(path, frame, list(targets)), test)
    check_targets(path, arrays["train_targets"], list(targets))
    # The file has no version and no source but its content.
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    attributes = {
        "name": name,
        "inputs": input_names,
        "targets": list(targets),
        "source": f"table {Path(path).name}, sha256 {digest}",
    }
    return Tensors(arrays, attributes)


# What columns without a name are called: an index that was written too, by R, pandas or arrow.
_NAMELESS = re.compile(r"\s*|Unnamed: \d+|__index_level_\d+__")


def _others(path: str, frame: pd.DataFrame, targets: Sequence[str]) -> list[str]:
    """Return all columns but the targets, which must have names."""
    others = [column for column in frame if column not in targets]
    for place, column in enumerate(frame):
        if column in others and _NAMELESS.fullmatch(column):
            # A row's number foretells much in a sorted table.
            raise InputError(
                f"{path}: column {place + 1} has no name, it may be the rows' names: "
                "say by `inputs` which columns to predict from"
            )
    return others


def _read_csv(path: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Rows longer than the header would lose what does not fit.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(path, index_col=False)
    # Pandas renames a column whose name is there already: look at the line itself.
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
    separators = [mark for mark in ";\t" if len(header) == 1 and mark in header[0]]
    if separators:
        raise ValueError(f"separated by {separators[0]!r}, allowed is ','")
    duplicates = header[header.duplicated() & (header != "")]
    if len(duplicates):
        raise ValueError(f"two columns are named {duplicates.iloc[0]!r}")
    return frame.set_axis(header, axis=1)


def _read_parquet(path: str) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    if frame.columns.nlevels > 1:
        raise ValueError("columns with names of several levels")
    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None:
        return frame
    # In the file an index is a column as any other.
    names = ["" if name is None else name for name in frame.index.names]
    return frame.reset_index(names=names)


READERS = {".csv": _read_csv, ".parquet": _read_parquet}


def _read(path: str) -> pd.DataFrame:
    reader = READERS.get(Path(path).suffix)
    if reader is None:
        raise InputError(f"{path}: allowed are files named {' or '.join(READERS)}")
    try:
        # A folder would be read as the parquet files in it.
        with open(path, "rb"):
            frame = reader(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    # Damage reaches what pandas notes in a parquet file, of which it expects anything but that.
    except (
        OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError,
        pd.errors.ParserWarning,
    ) as error:  # fmt: skip
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from None
    # Those of a parquet file may be numbers; the config's are text.
    return frame.rename(columns=str)


def _check_columns(
    path: str, frame: pd.DataFrame, targets: Sequence[str], inputs: Sequence[str]
) -> None:
    columns = Counter([*targets, *inputs])
    for column, count in columns.items():
        if column not in frame:
            close = difflib.get_close_matches(column, list(frame), 1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{path}: no column {column!r}{hint} (it has {', '.join(frame)})")
        if count > 1:
            raise InputError(f"{path}: column {column!r} is asked for twice")
    if not inputs:
        raise InputError(f"{path}: no column is left for the inputs")


def _numbers(path: str, frame: pd.DataFrame, columns: Sequence[str]) -> Array:
    for column in columns:
        values: Any = frame[column]
        # Booleans count as numeric, but hardly mean a quantity.
        if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            row = _first_of_no_number(values)
            raise InputError(
                f"{path}: column {column!r} holds {values.dtype}, {values.iloc[row]} in row {row} "
                "(counted from 0), allowed are numbers: name by `inputs` the columns to use"
            )
        # NaN too is not below.
        bad = ~(np.abs(values.to_numpy(dtype=float, na_value=np.nan)) <= LARGEST)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{path}: column {column!r} is NaN, infinite or beyond {LARGEST:g} in row {row} "
                "(counted from 0), allowed are finite numbers"
            )
    return frame[list(columns)].to_numpy(dtype=float)


def _first_of_no_number(values: pd.Series) -> int:
    """Return the first row that is no number, or one of more digits than numbers have here."""
    for row, value in enumerate(values):
        try:
            held = float(value)
        except (TypeError, ValueError, OverflowError):
            return row
        if abs(held) >= 2**63:
            return row
    return 0
