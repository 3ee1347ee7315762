"""Regressions in tables: those that scikit-learn holds, and the user's own."""

import difflib
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collapse.artifacts import first_line
from collapse.data.fetch import Tensors
from collapse.data.registry import PACKAGE_TABLES
from collapse.data.spec import required
from collapse.errors import InputError

Array = NDArray[np.float64]


def from_spec(spec: Mapping[str, Any], path: str | None) -> Tensors:
    """Return the table that the data stage is told to read, or that of scikit-learn by its name."""
    (name,) = required(spec, name=str)
    if path is not None:
        told = required(spec, targets=list, inputs=list | None, test_share=float | int)
        return from_file(name, path, *told)
    if name not in PACKAGE_TABLES:
        raise InputError(f"{name}: needs the file of the table (--source)")
    return from_package(name)


def from_package(name: str) -> Tensors:
    """Return a regression of scikit-learn, all of whose samples are for training.

    Parameters
    ----------
    name
        ``linnerud`` (20 samples, 3 inputs, 3 targets) or ``diabetes`` (442, 10, 1), unscaled.
    """
    from sklearn import datasets

    if name == "linnerud":
        loaded = datasets.load_linnerud()
        names = loaded.target_names
    else:
        loaded = datasets.load_diabetes(scaled=False)
        names = ["progression"]
    inputs, targets = np.asarray(loaded.data, float), np.asarray(loaded.target, float)
    targets = targets.reshape(len(inputs), -1)
    arrays = _split(inputs, targets, np.zeros(len(inputs), dtype=bool))
    attributes = {
        "name": name,
        "inputs": list(loaded.feature_names),
        "targets": list(names),
        "source": "package scikit-learn",
    }
    return Tensors(arrays, attributes)


def from_file(
    name: str,
    path: str,
    targets: Sequence[str],
    inputs: Sequence[str] | None,
    test_share: float,
) -> Tensors:
    """Return the regression in a user's table.

    Parameters
    ----------
    name
        The data set's name.
    path
        A csv or parquet file.
    targets, inputs
        Columns to predict, and to predict from; None for all others.
    test_share
        Share of the rows kept for testing: every k-th, k the nearest whole number to its inverse.

    Returns
    -------
    Tensors
        ``train_inputs`` (M x F), ``train_targets`` (M x n) and the same of ``test_``, float64.

    Raises
    ------
    InputError
        If the file cannot be read, a column is not there, not a number or named twice, a value is
        missing or infinite, a target does not vary, or fewer than two rows are left for training.
    """
    frame = _read(path)
    chosen = list(inputs) if inputs else [each for each in frame if each not in targets]
    _check_columns(path, frame, list(targets), chosen)
    test = np.zeros(len(frame), dtype=bool)
    if test_share:
        every = round(1 / test_share)
        test[every - 1 :: every] = True
    if (~test).sum() < 2:
        raise InputError(f"{path}: {(~test).sum()} rows for training, allowed are 2 or more")
    arrays = _split(_numbers(path, frame, chosen), _numbers(path, frame, list(targets)), test)
    check_targets(path, arrays["train_targets"], list(targets))
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    attributes = {
        "name": name,
        "inputs": chosen,
        "targets": list(targets),
        "source": f"table {Path(path).name}, sha256 {digest}",
    }
    return Tensors(arrays, attributes)


def check_targets(where: str, targets: Array, names: Sequence[str]) -> None:
    """Refuse targets that are not finite or do not vary.

    Parameters
    ----------
    where
        What they belong to, for the message.
    targets
        M x n.
    names
        Their names.

    Raises
    ------
    InputError
        Names the first target that is wrong.
    """
    for name, values in zip(names, targets.T, strict=True):
        bad = ~np.isfinite(values)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(f"{where}: target {name!r} is {values[row]} in row {row}")
        if np.ptp(values) == 0:
            raise InputError(
                f"{where}: target {name!r} has zero variance, it is {values[0]:g} in every row; "
                "allowed are targets that vary"
            )


def _read_csv(path: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Rows longer than the header would lose what does not fit.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(path, index_col=False)
    header = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0]
    twice = header[header.duplicated() & header.notna()]
    if len(twice):
        raise ValueError(f"two columns are named {twice.iloc[0]!r}")
    return frame


READERS = {".csv": _read_csv, ".parquet": pd.read_parquet}


def _read(path: str) -> pd.DataFrame:
    reader = READERS.get(Path(path).suffix)
    if reader is None:
        raise InputError(f"{path}: allowed are files named {' or '.join(READERS)}")
    try:
        frame = reader(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from None
    return frame.rename(columns=str)


def _check_columns(
    path: str, frame: pd.DataFrame, targets: Sequence[str], inputs: Sequence[str]
) -> None:
    wanted = [*targets, *inputs]
    for column in wanted:
        if column not in frame:
            close = difflib.get_close_matches(column, list(frame), 1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{path}: no column {column!r}{hint} (it has {', '.join(frame)})")
        if wanted.count(column) > 1:
            raise InputError(f"{path}: column {column!r} is asked for twice")
    if not inputs:
        raise InputError(f"{path}: no column is left for the inputs")


def _numbers(path: str, frame: pd.DataFrame, columns: Sequence[str]) -> Array:
    for column in columns:
        values: Any = frame[column]
        if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            wrong = pd.to_numeric(values, errors="coerce").isna() & values.notna()
            row = int(np.flatnonzero(wrong)[0]) if wrong.any() else 0
            raise InputError(
                f"{path}: column {column!r} holds {values.dtype}, {values.iloc[row]} in row {row} "
                "(counted from 0), allowed are numbers"
            )
        bad = ~np.isfinite(values.to_numpy(dtype=float, na_value=np.nan))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{path}: column {column!r} is NaN or infinite in row {row} (counted from 0), "
                "allowed are finite numbers"
            )
    return frame[list(columns)].to_numpy(dtype=float)


def _split(inputs: Array, targets: Array, test: NDArray[np.bool_]) -> dict[str, Array]:
    return {
        f"{part}_{kind}": values[rows]
        for part, rows in (("train", ~test), ("test", test))
        for kind, values in (("inputs", inputs), ("targets", targets))
    }
