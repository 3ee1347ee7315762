"""What a job reads beside its spec: data sets, and the runs of other experiments."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from collapse.artifacts import read_tensors
from collapse.data.dataset import Dataset, load
from collapse.errors import InputError


class Upstream:
    """The files that a job reads.

    Parameters
    ----------
    references
        For each run, by the path of a reference in its config, which file it is about, and the run
        in it.
    reads
        The job's files by role: ``data``, the data set or none, and ``references``, those that
        references are about.
    """

    def __init__(self, references: Mapping[str, Any], reads: Mapping[str, Sequence[str]]) -> None:
        self._references = references
        self._data, self._files = reads["data"], reads["references"]
        # Several runs may refer to one file: it is read once.
        self._read = cache(read_tensors)

    def data_set(self) -> Dataset | None:
        """Return the data set that the job reads, None where it reads none."""
        return load(self._data[0]) if self._data else None

    def last_state(self, run: str, reference: str) -> dict[str, np.ndarray]:
        """Return the last recorded state, or features, of the run that a run refers to, by name.

        `run` is the id of the run that reads, `reference` the path of the reference in its config.
        Free features have a column per sample.
        """
        index, name = self._references[run][reference]
        arrays, attributes = self._read(self._files[index])
        return state_at(self._files[index], arrays, attributes, name)


def run_attributes(path: str, attributes: Mapping[str, Any], run: str) -> dict[str, Any]:
    """Return what a file of states says of a run: its id, keys, recorded steps and status.

    Raises
    ------
    InputError
        If the file holds no such run.
    """
    for entry in attributes.get("runs", ()):
        if entry["id"] == run:
            return entry
    raise InputError(f"{path}: holds no run '{run}'")


def state_at(
    path: str,
    arrays: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
    run: str,
    step: int | None = None,
) -> dict[str, np.ndarray]:
    """Return a run's state at a recorded step, or at its last, as arrays by name.

    Tensors are ``{run}/{step:06d}/{name}`` in `arrays`. Free features ``H`` that were reduced to
    fewer columns are expanded by ``{run}/basis``. `path` is the file, for messages.

    Raises
    ------
    InputError
        If the file holds no such state.
    """
    steps = run_attributes(path, attributes, run)["steps"]
    # A start that is not finite leaves no state at all.
    if not steps:
        raise InputError(f"{path}: {run} diverged before a state was recorded")
    prefix = f"{run}/{steps[-1] if step is None else step:06d}/"
    state = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    if not state:
        raise InputError(f"{path}: holds no state {prefix}")
    if f"{run}/basis" in arrays:
        # As the solver does it: another library's product differs in the last bits.
        columns, basis = (torch.from_numpy(array) for array in (state["H"], arrays[f"{run}/basis"]))
        state["H"] = (columns @ basis).numpy()
    return state
